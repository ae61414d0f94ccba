"""Export, restore and erase over HTTP and from the command line: one file out, the same file in, and nothing left."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from api.client import Client
from api.guards import MAX_BODY_BYTES
from personal_data.errors import BackendError, Conflict, InvalidInput, NotFound, Unauthorized
from tests.api.conftest import Person, Platform, user

SECRET = "The spare key lies beneath the third flower pot from the left."


def cli(platform: Platform, person: Person, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FOLKMOOT_URL": platform.url, "FOLKMOOT_KEY": person.key}
    command = [sys.executable, "-m", "api.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, input="")


def test_what_one_account_takes_along_another_brings_in(platform: Platform, ada: Person, tmp_path: Path) -> None:
    ada.client.remember(SECRET)
    ada.client.chat(user("say hello to the world"))
    ada.client.export(tmp_path / "ada.zip")
    with zipfile.ZipFile(tmp_path / "ada.zip") as archive:
        assert archive.testzip() is None
        assert SECRET.encode() in archive.read("memories.jsonl")
        assert ada.key.rpartition("_")[2].encode() not in b"".join(archive.read(name) for name in archive.namelist())
    cleo = platform.add("cleo")
    added = cleo.client.restore(tmp_path / "ada.zip")["added"]
    assert added["messages"] == 2 and added["conversations"] == 1
    assert SECRET in [row["text"] for row in cleo.client.memories()]
    assert cleo.client.recall("Where does the spare key lie?", k=1)[0]["text"] == SECRET
    assert cleo.client.restore(tmp_path / "ada.zip")["added"] == {}
    assert [row["text"] for row in ada.client.memories()].count(SECRET) == 1


def test_an_archive_may_be_larger_than_any_other_body(platform: Platform, ada: Person, tmp_path: Path) -> None:
    big = tmp_path / "big.zip"
    ada.client.export(big)
    big.write_bytes(os.urandom(MAX_BODY_BYTES + 2**20) + big.read_bytes())  # zips are read from their end
    ada.client.restore(big)


@pytest.mark.parametrize("body", [b"", b"hello", b"PK\x03\x04" + b"\0" * 100])
def test_what_is_no_archive_is_one_line(platform: Platform, ada: Person, tmp_path: Path, body: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(body)
    with pytest.raises(InvalidInput, match="cannot be restored"):
        ada.client.restore(tmp_path / "x.zip")


def test_nothing_is_left_of_an_upload(platform: Platform, ada: Person, tmp_path: Path) -> None:
    before = set(platform.settings.data_dir.iterdir())
    ada.client.export(tmp_path / "ada.zip")
    ada.client.restore(tmp_path / "ada.zip")
    assert set(platform.settings.data_dir.iterdir()) == before


def test_a_memory_is_erased_with_a_receipt(platform: Platform, ada: Person, ben: Person) -> None:
    (memory_id,) = ada.client.remember("The tide took my yellow boat at dawn.")
    begun = ada.client.erase(memory=memory_id)
    receipt = ada.client.erased(begun)
    assert receipt["removed"]["memories"] == 1 and receipt["residue"] == {} and receipt["could_not"]
    assert memory_id not in [row["id"] for row in ada.client.memories()]
    with pytest.raises(NotFound):
        ben.client.erasure(begun["id"])


def test_everything_must_be_meant(ada: Person) -> None:
    for wrong in ({"confirm": ""}, {"confirm": "somebody-else"}):
        with pytest.raises(InvalidInput, match="your own handle"):
            ada.client.erase(everything=True, **wrong)
    with pytest.raises(InvalidInput, match="say what to erase"):
        ada.client.erase()
    assert ada.client.me()["handle"] == ada.handle


def test_after_everything_the_key_is_dead_and_the_administrator_reads_the_receipt(
    platform: Platform, ada: Person, ben: Person
) -> None:
    ada.client.remember("The mayor's parrot knows the password of the town hall.")
    slug = platform.moot(ada, ben)
    debate = ada.client.ask(slug, "solve 2 + 2")
    ada.client.debate_end(debate["id"])
    receipt = ada.client.erase(everything=True, confirm=ada.handle)
    assert receipt["state"] == "done" and receipt["residue"] == {}
    with pytest.raises(Unauthorized):
        ada.client.me()
    assert platform.admin.erasure(receipt["id"])["removed"] == receipt["removed"]
    with pytest.raises(NotFound):
        ben.client.erasure(receipt["id"])
    assert [(one["slug"], one["owner"]) for one in ben.client.societies()] == [(slug, True)]
    files = [path for path in platform.settings.data_dir.rglob("*") if path.is_file()]
    assert not [path for path in files if b"mayor's parrot" in path.read_bytes()]


def test_the_administrator_cannot_be_erased(platform: Platform) -> None:
    with pytest.raises(Conflict, match="administrator"):
        platform.admin.erase(everything=True, confirm="admin")


def test_the_command_line_takes_along_brings_in_and_erases(platform: Platform, ada: Person, tmp_path: Path) -> None:
    (memory_id,) = ada.client.remember("Seven herons nest behind the brewery of Little Fenwick.")
    out = cli(platform, ada, "export", str(tmp_path / "mine.zip"))
    assert out.returncode == 0, out.stderr
    assert oct((tmp_path / "mine.zip").stat().st_mode)[-3:] == "600"
    again = cli(platform, ada, "export", str(tmp_path / "mine.zip"))
    assert again.returncode == 1 and "exists" in again.stderr
    asked = cli(platform, ada, "erase", "--memory", memory_id)
    assert asked.returncode == 1 and "--yes" in asked.stderr
    gone = cli(platform, ada, "erase", "--memory", memory_id, "--yes")
    assert gone.returncode == 0 and "erased 1 memories" in gone.stdout and "could not" in gone.stdout, gone.stderr
    back = cli(platform, platform.add("dora"), "restore", str(tmp_path / "mine.zip"))
    assert back.returncode == 0 and "1 memories" in back.stdout, back.stderr
    refused = cli(platform, ada, "restore", str(tmp_path / "nothing.zip"))
    assert refused.returncode == 1 and "no such file" in refused.stderr


def test_an_export_that_broke_off_leaves_no_file(ada: Person, tmp_path: Path) -> None:
    with Client("http://127.0.0.1:1", ada.key) as away, pytest.raises(BackendError):
        away.export(tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()

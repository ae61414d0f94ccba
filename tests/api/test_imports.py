"""Imports through the API, a real worker and the command line: look, choose, follow, undo; faults, and kill -9."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from api.commands import importing as commands
from api.routes.imports import STREAMED
from personal_data.errors import Conflict, InvalidInput, NotFound
from personal_data.uploads import safe_name
from tests.api.conftest import Person, Platform
from tests.personal_data.test_importing import WHATSAPP, chatgpt
from tests.personal_data.test_source import packed
from training.jobs import worker_command

Json = dict[str, Any]
LONG = "".join(f"13/05/2023, 18:{n % 60:02} - Ana: My number {n} is {n * 7}.\n" for n in range(3000))


def start_worker(platform: Platform) -> subprocess.Popen[bytes]:
    settings = platform.settings
    told = {
        "FOLKMOOT_DATA_DIR": str(settings.data_dir),
        "FOLKMOOT_EMBEDDING_URL": str(settings.embedding_url),
        "FOLKMOOT_INDEX_URL": str(settings.index_url),
        "FOLKMOOT_SWEEP_S": "0.2",
        "FOLKMOOT_LEASE_S": "3",
    }
    with (settings.logs_dir / "worker.log").open("ab") as log:
        return subprocess.Popen(worker_command(), stdout=log, stderr=log, env=os.environ | told)


@pytest.fixture(scope="module")
def worker(platform: Platform) -> Iterator[None]:
    """A worker beside the API."""
    process = start_worker(platform)
    yield
    process.terminate()
    process.wait()


def ended(person: Person, import_id: str) -> Json:
    """The import, once nothing happens to it any more."""
    *_, last = person.client.watch_import(import_id)
    return last


def looked(person: Person, name: str, content: bytes, **options: str) -> Json:
    return ended(person, person.client.upload(name, io.BytesIO(content), **options)["id"])


def imported(person: Person, name: str, content: bytes, **choice: Any) -> Json:
    ready = looked(person, name, content)
    person.client.run_import(ready["id"], **choice)
    return ended(person, ready["id"])


def texts(person: Person) -> set[str]:
    return {memory["text"] for memory in person.client.memories(limit=500)}


def asked(platform: Platform, *paths: Path, **options: Any) -> Namespace:
    silent = {"me": None, "scope": None, "timezone": None, "date_order": None, "dry_run": False, "yes": True}
    return Namespace(paths=list(paths), url=platform.url, **{"json": True, **silent, **options})


def test_look_choose_run_and_undo(platform: Platform, ada: Person, worker: None) -> None:
    content = packed({"chat.txt": WHATSAPP.encode(), "photo.jpg": b"\xff\xd8\xff"})
    ready = looked(ada, "../../etc/export.zip", content, timezone="UTC")
    assert (ready["state"], ready["totals"]["items"], ready["totals"]["speakers"]) == ("ready", 3, {"Ana": 2, "Ben": 1})
    assert [(part["name"], part["status"]) for part in ready["parts"]] == [
        ("chat.txt", "ready"),
        ("photo.jpg", "skipped"),
    ]
    assert texts(ada) == set()
    ada.client.run_import(ready["id"], me=["Ben"], scope="society:moot", timezone="UTC")
    done = ended(ada, ready["id"])
    assert (done["state"], done["totals"]["statuses"], done["error"]) == ("done", {"indexed": 1, "skipped": 1}, None)
    assert {memory["speaker"] for memory in ada.client.memories()} == {"Ana", ada.client.me()["name"]}
    assert {memory["scope"] for memory in ada.client.memories()} == {"society:moot"}
    assert not (platform.settings.uploads_dir / ready["id"]).exists()
    assert [one["id"] for one in ada.client.imports()] == [ready["id"]]
    with pytest.raises(Conflict, match="is done"):
        ada.client.run_import(ready["id"])
    assert ada.client.undo_import(ready["id"])["forgotten"] == 3
    assert texts(ada) == set()
    assert ada.client.import_(ready["id"])["state"] == "undone"


def test_what_cannot_be_read_is_told_and_can_be_chosen_anew(ada: Person, worker: None) -> None:
    broken = looked(ada, "export.zip", packed({"chat.txt": WHATSAPP.encode()})[:200])
    assert broken["state"] == "failed" and "zip" in broken["error"]
    ambiguous = WHATSAPP.replace("13/05", "03/05").replace("14/05", "04/05").encode()
    vague = imported(ada, "chat.txt", ambiguous)
    assert vague["totals"]["statuses"] == {"failed": 1}
    assert "date" in vague["parts"][0]["error"]
    clear = looked(ada, "chat.txt", ambiguous, date_order="dmy", timezone="UTC")
    assert clear["totals"]["statuses"] == {"ready": 1}


def test_foreign_imports_do_not_exist(platform: Platform, ada: Person, worker: None) -> None:
    ready = looked(ada, "a.json", chatgpt(("user", "I sail.")))
    eve = platform.add("eve")
    for act in (eve.client.import_, eve.client.run_import, eve.client.undo_import):
        with pytest.raises(NotFound):
            act(ready["id"])
    assert eve.client.imports() == []
    assert ada.client.import_(ready["id"])["state"] == "ready"


def test_a_body_is_read_after_its_sender_is_known_and_no_further_than_allowed(
    platform: Platform, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, path = STREAMED
    there = set(platform.settings.uploads_dir.iterdir())
    stranger = platform.http.request(method, path, params={"name": "a"}, content=b"x" * 100)
    assert stranger.status_code == 401
    monkeypatch.setattr(platform.settings, "max_upload_bytes", 1000)
    for content in (io.BytesIO(b"x" * 1001), iter([b"x" * 600, b"x" * 600])):
        with pytest.raises(InvalidInput, match="at most 1,000 bytes"):
            ada.client.upload("a", content)
    monkeypatch.setattr(platform.settings, "min_free_bytes", 2**60)
    with pytest.raises(Exception, match="no room"):
        ada.client.upload("a", io.BytesIO(b"x"))
    with pytest.raises(InvalidInput, match="timezone"):
        monkeypatch.undo()
        ada.client.upload("a", io.BytesIO(b"x"), timezone="Mars/Olympus")
    assert set(platform.settings.uploads_dir.iterdir()) == there


def test_the_command_line_brings_files_and_folders(
    platform: Platform, ada: Person, worker: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("FOLKMOOT_KEY", ada.key)
    folder = tmp_path / "exports"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "chat.txt").write_text(WHATSAPP)
    single = tmp_path / "conversations.json"
    single.write_bytes(chatgpt(("user", "I bake."), ("assistant", "Nice.")))
    assert commands.bring(asked(platform, folder, single, me=["Ben"], timezone="UTC", json=False)) == 0
    told = capsys.readouterr().out
    assert "deep/chat.txt" in told and "conversations.json: done" in told
    assert len(texts(ada)) == 5
    commands.listing(Namespace(url=platform.url, json=True))
    newest, *_ = json.loads(capsys.readouterr().out)
    commands.undo(Namespace(url=platform.url, json=False, id=newest["id"]))
    assert capsys.readouterr().out == "forgotten: 2 memories\n"
    assert commands.bring(asked(platform, single, dry_run=True)) == 0
    assert len(texts(ada)) == 3
    with pytest.raises(InvalidInput, match="nobody in it is called 'Zoe'; there are Ana, Ben"):
        commands.bring(asked(platform, folder, me=["Zoe"], timezone="UTC"))
    with pytest.raises(InvalidInput, match="no such file"):
        commands.bring(asked(platform, tmp_path / "missing"))


def test_kill_9_of_the_worker_in_the_middle_loses_and_doubles_nothing(platform: Platform, ada: Person) -> None:
    first = start_worker(platform)
    try:
        ready = looked(ada, "chat.txt", LONG.encode(), timezone="UTC", date_order="dmy")
        ada.client.run_import(ready["id"], me=["Ana"], timezone="UTC", date_order="dmy")
        until(lambda: ada.client.memories(limit=1), "the first memories")
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert ada.client.import_(ready["id"])["state"] == "running"
    second = start_worker(platform)
    try:
        assert ended(ada, ready["id"])["state"] == "done"
    finally:
        second.terminate()
        second.wait()
    found: list[str] = []
    before = None
    while page := ada.client.memories(limit=500, before=before):
        found += [memory["text"] for memory in page]
        before = page[-1]["id"]
    assert sorted(found) == sorted(f"My number {n} is {n * 7}." for n in range(3000))


def until(condition: Callable[[], object], what: str) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up, f"waited a minute for {what}"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("export.zip", "export.zip"), ("../../etc/passwd", "passwd"), ("C:\\me\\chat.txt", "chat.txt"), ("..", "upload"),
     ("", "upload"), ("a/", "a"), ("x\0y.md", "xy.md"), ("\ud800.txt", "?.txt")],
)  # fmt: skip
def test_a_file_lies_under_the_last_part_of_its_name(sent: str, kept: str) -> None:
    assert safe_name(sent) == kept


def test_a_long_name_keeps_its_ending() -> None:
    kept = safe_name("ü" * 400 + ".zip")
    assert kept.endswith(".zip") and len(kept.encode()) < 255

"""`folkmoot import`: files keep their own names, a large one goes in parts, and what broke off is told."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from api.commands.talking import import_files
from personal_data.errors import FolkmootError, InvalidInput
from tests.answers import answering
from tests.api.conftest import Person, Platform


def asked(url: str, *files: Path, scope: str | None = None, as_json: bool = True) -> Namespace:
    return Namespace(files=list(files), scope=scope, url=url, json=as_json)


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture(autouse=True)
def _somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLKMOOT_KEY", "fm_somebody")


def test_files_of_one_name_are_two_files(
    platform: Platform, ada: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLKMOOT_KEY", ada.key)
    first = written(tmp_path / "a" / "notes.md", "- My cat is called Miro.\n")
    second = written(tmp_path / "b" / "notes.md", "- My boat is green.\n")
    import_files(asked(platform.url, first, second))
    sources = {memory["text"]: memory["sources"] for memory in ada.client.memories()}
    assert sources == {"My cat is called Miro.": [f"file:{first}"], "My boat is green.": [f"file:{second}"]}


def test_a_large_file_goes_in_parts_and_can_be_sent_again(
    platform: Platform,
    ada: Person,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FOLKMOOT_KEY", ada.key)
    file = written(tmp_path / "x" / "notes.md", "\n".join(f"- My number {n} is {n * 7}." for n in range(1100)))
    import_files(asked(platform.url, file))
    ids = json.loads(capsys.readouterr().out)["ids"]
    assert len(set(ids)) == 1100
    import_files(asked(platform.url, file))
    assert json.loads(capsys.readouterr().out)["ids"] == ids


def test_the_scope_that_is_stored_is_told(
    platform: Platform,
    ada: Person,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FOLKMOOT_KEY", ada.key)
    ada.client.remember("My cat is called Miro.", scope="society:moot")
    file = written(tmp_path / "x" / "notes.md", "- My cat is called Miro.\n- My boat is green.\n")
    import_files(asked(platform.url, file, as_json=False))
    assert capsys.readouterr().out == "2 memories from 1 file (1 society:moot, 1 private)\n"
    import_files(asked(platform.url, file, scope="society:moot", as_json=False))
    assert capsys.readouterr().out == "2 memories from 1 file (2 society:moot)\n"
    assert {memory["scope"] for memory in ada.client.memories()} == {"society:moot"}


def test_nothing_is_sent_when_one_file_cannot_be_read(tmp_path: Path) -> None:
    good = written(tmp_path / "x" / "good.md", "- My cat is called Miro.\n")
    bad = written(tmp_path / "x" / "bad.md", "# only a heading\n")
    with answering((201, {"ids": ["mem_1"], "scopes": ["private"]})) as server:
        for name in (bad, tmp_path / "missing.md", tmp_path):
            with pytest.raises(InvalidInput, match=str(name)):
                import_files(asked(server.url, good, name))
    assert server.asked == []


@pytest.mark.parametrize("stored", [0, 500])
def test_what_was_stored_before_it_broke_off_is_told(tmp_path: Path, stored: int) -> None:
    file = written(tmp_path / "x" / "notes.md", "\n".join(f"- My number {n} is {n * 7}." for n in range(700)))
    took = {"ids": [f"mem_{n}" for n in range(stored)], "scopes": ["private"] * stored}
    broken: dict[str, Any] = {"error": {"message": "the disk is full", "type": "server_error", "code": "storage"}}
    answers = [(201, took), (507, broken)] if stored else [(507, broken)]
    with answering(*answers) as server, pytest.raises(FolkmootError, match="the disk is full") as caught:
        import_files(asked(server.url, file))
    assert (f"{stored} memories are stored" in str(caught.value)) == (stored > 0)
    assert "\n" not in str(caught.value)

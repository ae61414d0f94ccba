"""Formats of chats beside each other: each takes its own files by their content, and reads them bit by bit."""

from __future__ import annotations

import io
import json
from typing import BinaryIO

import pytest

from personal_data.errors import InvalidInput
from personal_data.importers import chatgpt, claude, mail, slack, takeout, telegram, whatsapp
from personal_data.importers.parsed import Options
from personal_data.importers.source import File
from tests.personal_data import (
    test_chatgpt,
    test_claude,
    test_mail,
    test_slack,
    test_takeout,
    test_telegram,
    test_whatsapp,
)
from tests.personal_data.exported import Claim, file_of

DOORS: dict[str, Claim] = {
    "chatgpt": chatgpt.claim,
    "claude": claude.claim,
    "telegram": telegram.claim,
    "slack": slack.claim,
    "takeout": takeout.claim,
    "whatsapp": whatsapp.claim,
    "mail": mail.claim,
}
EXPORTS = [
    ("chatgpt", json.dumps(test_chatgpt.EXPORT).encode()),
    ("chatgpt", json.dumps({"conversations": test_chatgpt.EXPORT}).encode("utf-8-sig")),
    ("claude", json.dumps(test_claude.EXPORT).encode()),
    ("claude", json.dumps(test_claude.EXPORT).encode("utf-16")),
    ("telegram", json.dumps(test_telegram.EXPORT).encode()),
    ("telegram", json.dumps(test_telegram.chat(*test_telegram.MESSAGES)).encode()),
    ("whatsapp", test_whatsapp.ANDROID.encode()),
    ("whatsapp", test_whatsapp.ANDROID.encode("utf-16")),
    ("slack", json.dumps(test_slack.MESSAGES).encode()),
    ("slack", json.dumps(test_slack.MESSAGES).encode("utf-16")),
    ("takeout", json.dumps(test_takeout.NOTE).encode()),
    ("takeout", json.dumps(test_takeout.CHAT).encode()),
    ("mail", test_mail.MBOX),
]


@pytest.mark.parametrize("name", ["conversations.json", "result.json", "_chat.txt", "notes.md", "deep/er/x", "x.zip"])
def test_each_format_takes_its_own_files_under_any_name(name: str) -> None:
    files = [file_of(content, f"{number}/{name}") for number, (_, content) in enumerate(EXPORTS)]
    for door, claim in DOORS.items():
        units = claim(files, Options())
        assert {unit.format for unit in units} == {door}
        assert sorted(unit.files for unit in units) == sorted(
            (file.name,) for file, (format_, _) in zip(files, EXPORTS, strict=True) if format_ == door
        )


def test_a_file_that_cannot_be_opened_is_left_alone() -> None:
    def broken() -> BinaryIO:
        raise InvalidInput("a.txt: broken inside its zip", param="file")

    for claim in DOORS.values():
        assert claim([File("a.txt", 1, broken)], Options()) == []


LARGE = {
    "chatgpt": json.dumps(test_chatgpt.EXPORT * 2000).encode(),
    "claude": json.dumps(test_claude.EXPORT * 2000).encode(),
    "telegram": json.dumps(test_telegram.chat(*test_telegram.MESSAGES * 2000)).encode(),
    "slack": json.dumps(test_slack.MESSAGES * 2000).encode(),
    "takeout": json.dumps({"messages": test_takeout.MESSAGES * 2000}).encode(),
    "whatsapp": test_whatsapp.ANDROID.encode() * 5000,
    "mail": (test_mail.MBOX + b"\n\n") * 2000,
}


@pytest.mark.parametrize("door", DOORS)
def test_a_file_is_read_bit_by_bit_and_closed_where_its_reader_stops(door: str) -> None:
    opened: list[io.BytesIO] = []

    def again() -> BinaryIO:
        opened.append(io.BytesIO(LARGE[door]))
        return opened[-1]

    [unit] = DOORS[door]([File("large", len(LARGE[door]), again)], Options("dmy", "UTC"))
    reading = unit.read()
    for _ in range(10):
        next(reading)
    assert opened[-1].tell() < len(LARGE[door]) / 4
    reading.close()  # type: ignore[attr-defined]
    assert all(stream.closed for stream in opened)

"""Slack exports: a folder for each channel with a file for each day, under whatever names.

Door: `claim`. Days are known by their messages; lists of people and channels give the names, where the export has them
(`slack_names.py`). A root and its replies are a thread of their own, everything else is the channel's. Nothing tells
who of the speakers owns the export. Bots, notices of Slack (joins, topics, pins) and files without words are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from personal_data.errors import InvalidInput
from personal_data.importers.folders import by_folder, title
from personal_data.importers.jsonstream import TOO_LARGE, outline, values
from personal_data.importers.parsed import Item, Options, Skipped, Unit
from personal_data.importers.slack_names import Names, is_list, name_of
from personal_data.importers.slack_text import plain
from personal_data.importers.source import File
from personal_data.importers.times import seconds

_MESSAGE = "message"
_FIRST = ("item.type", "item.ts")
"""A first message may be so long that its time stands beyond the head."""
_SPOKEN = (None, "thread_broadcast", "me_message", "file_share")
_SLACKBOT = "USLACKBOT"
_NOBODY = "unknown person"


@dataclass(frozen=True, slots=True)
class _Day:
    """A file of one day; `at` is when its first message was written."""

    file: File
    at: float


def claim(files: Sequence[File], options: Options) -> list[Unit]:
    """A unit for each channel."""
    days, lists = {}, []
    for file in files:
        found = outline(file)
        if (day := _day(file, found)) is not None:
            days[file.name] = day
        elif is_list(found):
            lists.append(file)
    names = Names.of(lists) if days else Names()
    return [
        _unit(folder, sorted((days[file.name] for file in group), key=lambda day: (day.at, day.file.name)), names)
        for folder, group in by_folder(day.file for day in days.values()).items()
    ]


def _day(file: File, found: Set[str]) -> _Day | None:
    """A file that begins with a message, and when that was written; `found` is its outline."""
    if "item.type" not in found:
        return None
    first: dict[str, Any] = {}
    try:
        with closing(values(file, _FIRST)) as entries:  # type: ignore[type-var]
            for path, value in entries:
                first.setdefault(path, value)
                if first.get("item.type", _MESSAGE) != _MESSAGE:
                    return None
                if len(first) == len(_FIRST):
                    return _Day(file, seconds(first["item.ts"]) or 0.0)
    except InvalidInput:  # reading it tells what is wrong, if it is ours
        return _Day(file, 0.0) if "item.type" in first or "item.ts" in found else None
    return None


def _unit(folder: str, days: Sequence[_Day], names: Names) -> Unit:
    files = [day.file for day in days]
    called = names.channel(PurePosixPath(folder).name) or PurePosixPath(folder).name or title(files)
    thread = folder or files[0].name
    return Unit("slack", called, (*(file.name for file in files), *names.files), partial(_read, files, thread, names))


def _read(files: Sequence[File], thread: str, names: Names) -> Iterator[Item | Skipped]:
    yield from names.broken
    for file in files:
        for number, (_, message) in enumerate(values(file, ("item",)), 1):
            yield _message(f"{file.name}#{number}", thread, message, names)


def _message(source: str, thread: str, message: Any, names: Names) -> Item | Skipped:
    if not isinstance(message, dict):
        return Skipped(source, "larger than any message" if message is TOO_LARGE else "a broken message")
    if (reason := _left_out(message, names)) is not None:
        return Skipped(source, reason)
    text = plain(message.get("text"), names)
    if not text:
        return Skipped(source, "no words in it (files, an app's cards)")
    root = message.get("thread_ts")
    thread = f"{thread}/{root}" if isinstance(root, str) and root else thread
    return Item(text, _speaker(message, names), None, seconds(message.get("ts")), source, thread)


def _left_out(message: dict[str, Any], names: Names) -> str | None:
    """Why a message is not one that people wrote."""
    subtype, user = message.get("subtype"), message.get("user")
    if subtype == "bot_message" or message.get("bot_id") or user == _SLACKBOT:
        return "written by a bot"
    if isinstance(user, str) and user in names.bots:
        return "written by a bot"
    if subtype == "tombstone":
        return "deleted"
    if message.get("type") != _MESSAGE or subtype not in _SPOKEN or message.get("hidden"):
        return "a notice of Slack (who joined, topics, pins)"
    return None


def _speaker(message: dict[str, Any], names: Names) -> str:
    user, profile = message.get("user"), message.get("user_profile")
    key = user if isinstance(user, str) else ""
    told = name_of(profile) if isinstance(profile, dict) else None
    return names.people.get(key) or told or key or _NOBODY

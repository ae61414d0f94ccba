"""Google Takeout: Keep's notes and Chat's messages. Its mail is `mail.py`'s; folders may have any name.

Door: `claim`. Notes are their owner's own. Of a chat it is known what its owner wrote where the export says who they
are (`user_info.json`); elsewhere they say which of the speakers they are.
"""

from __future__ import annotations

import calendar
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from personal_data.errors import InvalidInput
from personal_data.importers.jsonstream import TOO_LARGE, outline, values
from personal_data.importers.parsed import Item, Options, Skipped, Unit
from personal_data.importers.source import File
from personal_data.importers.times import local, seconds

_NOTE = frozenset({"userEditedTimestampUsec", "isTrashed"})
_CHAT = frozenset({"messages.item.creator", "messages.item.created_date"})
_MONTHS = tuple(name.lower() for name in calendar.month_name[1:])
_DATE = re.compile(
    r"(?i)\w+,\s+(?:(?P<day>\d{1,2})\s+(?P<month>[a-z]+)|(?P<month2>[a-z]+)\s+(?P<day2>\d{1,2}),)\s+(?P<year>\d{4})\s+at\s+"
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d))?\s*(?P<half>[ap]m)?\s+UTC"
)


def claim(files: Sequence[File], options: Options) -> list[Unit]:
    """The notes of each folder together, and each chat; what tells of chats and people goes with them."""
    notes, chats = defaultdict(list), []
    for file in files:
        found = outline(file)
        if found >= _NOTE and found & {"title", "textContent", "listContent"}:
            notes[_folder(file)].append(file)
        elif found >= _CHAT:
            chats.append(file)
    beside = {name: [file for file in files if file.base == name] for name in ("group_info.json", "user_info.json")}
    owners = {address for file in beside["user_info.json"] for address in _told(file, "user.email")}
    units = [Unit("takeout", folder, _names(found), partial(_notes, found)) for folder, found in sorted(notes.items())]
    for number, file in enumerate(chats):
        about = [one for one in beside["group_info.json"] if _folder(one) == _folder(file)]
        name = next((name for one in about for name in _told(one, "name")), None)
        taken = [file, *about, *(beside["user_info.json"] if not number else ())]
        units.append(Unit("takeout", name or file.name, _names(taken), partial(_chat, file, frozenset(owners))))
    return units


def _folder(file: File) -> str:
    return str(PurePosixPath(file.name).parent)


def _names(files: Sequence[File]) -> tuple[str, ...]:
    return tuple(file.name for file in files)


def _told(file: File, path: str) -> list[str]:
    """The texts at a path; none where the file cannot be read."""
    try:
        return [value.strip() for _, value in values(file, (path,)) if isinstance(value, str) and value.strip()]
    except InvalidInput:
        return []


def _notes(files: Sequence[File]) -> Iterator[Item | Skipped]:
    for file in files:
        [(_, note)] = values(file, ("",))
        yield _note(file.name, note)


def _note(source: str, note: Any) -> Item | Skipped:
    if not isinstance(note, dict):
        return Skipped(source, "larger than any note" if note is TOO_LARGE else "not a note")
    if note.get("isTrashed"):
        return Skipped(source, "thrown away")
    ticked = note.get("listContent")
    listed = (
        [_text(entry.get("text")) for entry in ticked if isinstance(entry, dict)] if isinstance(ticked, list) else []
    )
    parts = (_text(note.get("title")), _text(note.get("textContent")), "\n".join(filter(None, listed)))
    text = "\n".join(filter(None, parts))
    if not text:
        return Skipped(source, "no words in it (a picture, a drawing)")
    edited = (note.get(name) for name in ("userEditedTimestampUsec", "createdTimestampUsec"))
    at = next((at for value in edited if (at := _microseconds(value)) is not None), None)
    return Item(text, "", True, at, source, source, "document")


def _microseconds(value: object) -> float | None:
    return None if isinstance(value, bool) or not isinstance(value, int | float) else seconds(value / 1e6)


def _chat(file: File, owners: frozenset[str]) -> Iterator[Item | Skipped]:
    for number, (_, message) in enumerate(values(file, ("messages.item",)), 1):
        yield _message(f"{file.name}#{number}", _folder(file), message, owners)


def _message(source: str, group: str, message: Any, owners: frozenset[str]) -> Item | Skipped:
    if not isinstance(message, dict):
        return Skipped(source, "larger than any message" if message is TOO_LARGE else "a broken message")
    creator = message.get("creator")
    who = creator if isinstance(creator, dict) else {}
    text = _text(message.get("text"))
    if who.get("user_type") == "Bot":
        return Skipped(source, "written by a bot")
    if not text:
        return Skipped(source, "no words in it (deleted, or files)")
    address = _text(who.get("email"))
    name = _text(who.get("name")) or address or "nobody"
    own = address in owners if owners else None
    thread = f"{group}/{_text(message.get('topic_id'))}".rstrip("/")
    return Item(text, name, own, _date(message.get("created_date")), source, thread)


def _date(value: object) -> float | None:
    """`Tuesday, 21 November 2023 at 14:05:09 UTC`, or as Americans write it."""
    found = _DATE.fullmatch(" ".join(value.split())) if isinstance(value, str) else None
    if found is None:
        return None
    half, hour = (found["half"] or "").lower(), int(found["hour"])
    try:
        month = _MONTHS.index((found["month"] or found["month2"]).lower()) + 1
        hour = hour % 12 + 12 * (half == "pm") if half else hour
        day = int(found["day"] or found["day2"])
        moment = datetime(int(found["year"]), month, day, hour, int(found["minute"]), int(found["second"] or 0))
    except ValueError:
        return None
    return local(moment, UTC)


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""

"""Slack exports: a folder for each channel, in it a file for each day.

Door: `claim`. A channel is one unit, read day by day; its name, and people's names, come from the lists at the export's
root where they are there. An answer in a thread stands beside the thread. What the workspace's machinery says (joins,
topics, bots) is left out. Nothing tells whose export it is.
"""

from __future__ import annotations

import html
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from personal_data.errors import InvalidInput
from personal_data.importers.jsonstream import TOO_LARGE, outline, values
from personal_data.importers.parsed import Item, Options, Skipped, Unit
from personal_data.importers.source import File
from personal_data.importers.times import seconds

_MESSAGE = frozenset({"item.type", "item.ts"})
_LISTS = ("channels.json", "groups.json", "dms.json", "mpims.json")
_PEOPLE = ("users.json", "org_users.json")
_MAX_LIST = 64 * 2**20
_SAID = (None, "thread_broadcast", "me_message", "file_share", "reply_broadcast")
"""Subtypes that people's own messages have."""
_REFERENCE = re.compile(r"<([@#!])([^<>|]*)(?:\|([^<>]*))?>|<([^<>|]+)(?:\|([^<>]*))?>")


@dataclass(slots=True)
class _Names:
    """What ids stand for, as far as the export tells."""

    people: dict[str, str] = field(default_factory=dict)
    channels: dict[str, str] = field(default_factory=dict)


def claim(files: Sequence[File], options: Options) -> list[Unit]:
    """The channels; the lists of an export that has any go with the first."""
    days = defaultdict(list)
    for file in files:
        if _is_day(file):
            days[str(PurePosixPath(file.name).parent)].append(file)
    roots = {str(PurePosixPath(folder).parent) for folder in days}
    lists = [file for file in files if file.base in (*_LISTS, *_PEOPLE) and _parent(file) in roots]
    names = _Names() if not days else _names(lists)
    units = []
    for number, (folder, found) in enumerate(sorted(days.items())):
        ordered = sorted(found, key=lambda file: file.base)
        taken = ordered if number else [*ordered, *lists]
        channel = PurePosixPath(folder).name
        name = names.channels.get(channel, channel)
        units.append(Unit("slack", name, tuple(file.name for file in taken), partial(_read, ordered, channel, names)))
    return units


def _parent(file: File) -> str:
    return str(PurePosixPath(file.name).parent)


def _is_day(file: File) -> bool:
    """A list of messages, each with a type and a `ts`, in a folder of its own."""
    return len(PurePosixPath(file.name).parts) > 1 and file.suffix == ".json" and outline(file) >= _MESSAGE


def _names(lists: Sequence[File]) -> _Names:
    names = _Names()
    for file in lists:
        for entry in _entries(file):
            if file.base in _PEOPLE:
                names.people[str(entry.get("id"))] = _called(entry)
    for file in lists:
        if file.base in _LISTS:
            for entry in _entries(file):
                members = [names.people.get(str(one), str(one)) for one in _list(entry.get("members"))]
                told = entry.get("name") if file.base in ("channels.json", "groups.json") else ", ".join(members)
                for key in ("id", "name"):
                    names.channels[str(entry.get(key))] = str(told or entry.get("id"))
    return names


def _entries(file: File) -> list[dict[str, Any]]:
    """Of a list at the root; none where it cannot be read: ids stand for names then."""
    if file.size > _MAX_LIST:
        return []
    try:
        return [value for _, value in values(file, ("item",)) if isinstance(value, dict)]
    except InvalidInput:
        return []


def _called(user: dict[str, Any]) -> str:
    profile = _dict(user.get("profile"))
    named = (profile.get("real_name"), user.get("real_name"), profile.get("display_name"), user.get("name"))
    return next((name for name in named if isinstance(name, str) and name.strip()), str(user.get("id"))).strip()


def _read(days: Sequence[File], channel: str, names: _Names) -> Iterator[Item | Skipped]:
    for file in days:
        for number, (_, message) in enumerate(values(file, ("item",)), 1):
            yield from _message(f"{file.name}#{number}", channel, message, names)


def _message(source: str, channel: str, message: Any, names: _Names) -> Iterator[Item | Skipped]:
    if not isinstance(message, dict):
        yield Skipped(source, "larger than any message" if message is TOO_LARGE else "a broken message")
        return
    who, text = _speaker(message, names), _plain(message.get("text"), names)
    if not who:
        yield Skipped(source, "written by the workspace or a bot")
    elif not text:
        yield Skipped(source, "no words in it (files, reactions)")
    else:
        stamp = message.get("ts")
        thread = message.get("thread_ts")
        beside = f"{channel}/{thread}" if isinstance(thread, str) and thread else channel
        yield Item(text, who, None, seconds(stamp), f"{source}/{json.dumps(stamp)[1:-1]}"[:300], beside)


def _speaker(message: dict[str, Any], names: _Names) -> str:
    """Who says it; nobody where it is machinery."""
    user = message.get("user")
    said = message.get("type") == "message" and message.get("subtype") in _SAID and not message.get("bot_id")
    if not said or not isinstance(user, str):
        return ""
    profile = _dict(message.get("user_profile"))
    return names.people.get(user) or (_called(profile | {"id": user}) if profile else user)


def _plain(text: object, names: _Names) -> str:
    """Text without Slack's markup: references by name, links by what they are called."""
    if not isinstance(text, str):
        return ""

    def named(match: re.Match[str]) -> str:
        mark, target, label, link, called = match.groups()
        if mark is None:
            return str(called or link.removeprefix("mailto:"))
        if mark == "!":
            return "@" + (label or target.partition("^")[0]).lstrip("@")
        known = names.people if mark == "@" else names.channels
        return mark + str(label or known.get(target) or target)

    return html.unescape(_REFERENCE.sub(named, text)).replace("\0", "").strip()


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

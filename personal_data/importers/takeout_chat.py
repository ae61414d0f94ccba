"""Conversations of Google Chat, as Takeout writes them: `messages.json`, and beside it what the group is called.

Doors: `is_chat`, `read_chat`, and `About` with `is_about` for the files that tell of groups and of the owner.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from personal_data.errors import InvalidInput
from personal_data.importers.folders import folder
from personal_data.importers.jsonstream import TOO_LARGE, values
from personal_data.importers.parsed import Item, Skipped
from personal_data.importers.source import File
from personal_data.importers.times import local

_MESSAGES = "messages.item"
_CHATS = (
    frozenset({"messages.item.creator", "messages.item.created_date"}),
    frozenset({"messages.item.topic_id", "messages.item.message_id"}),
)
_OWNER, _GROUP = "user.email", "name"
_NOBODY = "unknown person"
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january januar janvier enero gennaio januari janeiro",
            "february februar février febrero febbraio februari fevereiro",
            "march märz mars marzo maart março",
            "april avril abril aprile",
            "may mai mayo maggio mei maio",
            "june juni juin junio giugno junho",
            "july juli juillet julio luglio julho",
            "august août agosto augustus",
            "september septembre septiembre settembre setembro",
            "october oktober octobre octubre ottobre outubro",
            "november novembre noviembre novembro",
            "december dezember décembre diciembre dicembre dezembro",
        ),
        start=1,
    )
    for name in names.split()
}
"""In the languages that Takeout writes for most."""
_TIME = re.compile(r"\b(\d{1,2})[:.](\d\d)[:.](\d\d)(?: ?([AP])\.?M\.?)? (?:UTC|GMT)$", re.IGNORECASE)


@dataclass(slots=True)
class About:
    """Who owns the upload and what groups are called, as far as it tells."""

    owners: set[str] = field(default_factory=set)
    broken: list[Skipped] = field(default_factory=list)
    _groups: dict[str, str] = field(default_factory=dict)
    _owner_files: list[str] = field(default_factory=list)
    _group_files: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, files: Iterable[File]) -> About:
        """All that these files tell; one that is broken is read as far as it goes."""
        about = cls()
        for file in files:
            about._take(file)
        return about

    def _take(self, file: File) -> None:
        owns = False
        try:
            for path, value in values(file, (_OWNER, _GROUP)):
                if path == _OWNER and isinstance(value, str) and value:
                    owns = True
                    self.owners.add(value.casefold())
                elif path == _GROUP and isinstance(value, str) and value.strip():
                    self._groups.setdefault(folder(file), " ".join(value.split()))
        except InvalidInput as error:
            self.broken.append(Skipped(file.name, f"names are missing: {error}"))
        if owns:
            self._owner_files.append(file.name)
        else:
            self._group_files.setdefault(folder(file), []).append(file.name)

    def group(self, chat: File) -> str | None:
        """What the group of a conversation is called."""
        return self._groups.get(folder(chat))

    def files(self, chat: File) -> list[str]:
        """The files that tell of a conversation."""
        return [*self._group_files.get(folder(chat), ()), *self._owner_files]

    def is_owner(self, address: object) -> bool | None:
        """Whether an address is the owner's; None where nobody can tell."""
        if not self.owners or not isinstance(address, str) or not address:
            return None
        return address.casefold() in self.owners


def is_chat(found: Set[str]) -> bool:
    """Whether a file with this outline holds messages of Google Chat."""
    return any(found >= chat for chat in _CHATS)


def is_about(found: Set[str]) -> bool:
    """Whether a file with this outline may tell of a group or of the owner."""
    return _OWNER in found or "members.item.name" in found or "members.item.email" in found


def read_chat(file: File, about: About) -> Iterator[Item | Skipped]:
    """The messages of a conversation."""
    yield from about.broken
    group = PurePosixPath(folder(file)).name or file.name
    for number, (_, message) in enumerate(values(file, (_MESSAGES,)), 1):
        yield _message(f"{file.name}#{number}", group, message, about)


def _message(source: str, group: str, message: Any, about: About) -> Item | Skipped:
    if not isinstance(message, dict):
        return Skipped(source, "larger than any message" if message is TOO_LARGE else "a broken message")
    creator = message.get("creator")
    creator = creator if isinstance(creator, dict) else {}
    text = message.get("text")
    if message.get("message_state") == "DELETED":
        return Skipped(source, "deleted")
    if creator.get("user_type") == "Bot":
        return Skipped(source, "written by a bot")
    if not isinstance(text, str) or not text.strip():
        return Skipped(source, "no words in it (files, cards, calls)")
    topic = message.get("topic_id")
    thread = f"{group}/{topic}" if isinstance(topic, str) and topic else group
    at = moment(message.get("created_date"))
    return Item(text.strip(), _speaker(creator), about.is_owner(creator.get("email")), at, source, thread)


def _speaker(creator: dict[str, Any]) -> str:
    for told in (creator.get("name"), creator.get("email")):
        if isinstance(told, str) and told.strip():
            return " ".join(told.split())
    return _NOBODY


def moment(date: object) -> float | None:
    """A date in words, of a day or a month first, and a time in UTC of 24 or of 12 hours."""
    if not isinstance(date, str) or len(date) > 100:
        return None
    written = " ".join(date.split())  # narrow and unbreakable spaces, too
    time = _TIME.search(written)
    if time is None:
        return None
    words = re.findall(r"\w+", written[: time.start()].casefold())
    months = [_MONTHS[word] for word in words if word in _MONTHS]
    days = [int(word) for word in words if re.fullmatch("[0-9]{1,2}", word)]
    years = [int(word) for word in words if re.fullmatch("[0-9]{4}", word)]
    if not (len(months) == len(days) == len(years) == 1):
        return None
    hour, minute, second = (int(part) for part in time.groups()[:3])
    if (half := time[4]) is not None:
        hour = hour % 12 + 12 * (half.upper() == "P") if 1 <= hour <= 12 else 24
    try:
        return local(datetime(years[0], months[0], days[0], hour, minute, second), UTC)
    except ValueError:
        return None

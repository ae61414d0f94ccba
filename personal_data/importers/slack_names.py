"""Who and where: the lists of people and of channels that a Slack export brings, under whatever names.

Doors: `Names`, what the lists say, and `is_list`. An export may lack any of them; then ids stand for names.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from typing import Any

from personal_data.errors import InvalidInput
from personal_data.importers.jsonstream import values
from personal_data.importers.parsed import Skipped
from personal_data.importers.source import File

_PEOPLE = (
    frozenset({"item.id", "item.name", "item.profile"}),
    frozenset({"item.id", "item.profile.real_name"}),
    frozenset({"item.id", "item.profile.display_name"}),
)
_CHANNELS = frozenset({"item.id", "item.created", "item.members"})


def is_list(found: Set[str]) -> bool:
    """Whether a file with this outline is a list of people, channels or direct messages."""
    return found >= _CHANNELS or any(found >= people for people in _PEOPLE)


@dataclass(slots=True)
class Names:
    """What the lists say. A channel goes by its id and by its name, as folders do."""

    files: list[str] = field(default_factory=list)
    broken: list[Skipped] = field(default_factory=list)
    people: dict[str, str] = field(default_factory=dict)
    bots: set[str] = field(default_factory=set)
    channels: dict[str, str] = field(default_factory=dict)
    _members: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, files: Iterable[File]) -> Names:
        """All that these lists say; one that is broken is read as far as it goes."""
        names = cls()
        for file in files:
            names.files.append(file.name)
            try:
                for _, entry in values(file, ("item",)):
                    if isinstance(entry, dict):
                        names._take(entry)
            except InvalidInput as error:
                names.broken.append(Skipped(file.name, f"names are missing: {error}"))
        return names

    def _take(self, entry: dict[str, Any]) -> None:
        key, name, members = entry.get("id"), entry.get("name"), entry.get("members")
        if not isinstance(key, str):
            return
        if not isinstance(members, list):
            if (called := name_of(entry)) is not None:
                self.people[key] = called
            if entry.get("is_bot"):
                self.bots.add(key)
            return
        # Several people's direct messages have a name too, one that nobody has given them: mpdm-ana--bo-1.
        if isinstance(name, str) and name and not name.startswith("mpdm-"):
            self.channels[key] = name
            return
        everybody = [member for member in members if isinstance(member, str)]
        self._members[key] = everybody
        if isinstance(name, str):
            self._members[name] = everybody

    def channel(self, folder: str) -> str | None:
        """What a folder's channel is called; direct messages go by the people in them."""
        if (members := self._members.get(folder)) is not None:
            return ", ".join(self.people.get(member, member) for member in members) or None
        return self.channels.get(folder)


def name_of(profile: dict[str, Any]) -> str | None:
    """What an entry of a list, or a message's `user_profile`, calls its person."""
    inner = profile.get("profile")
    for source in (inner if isinstance(inner, dict) else {}, profile):
        for field_ in ("real_name", "display_name"):
            if isinstance(name := source.get(field_), str) and name.strip():
                return " ".join(name.split())
    name = profile.get("name")
    return " ".join(name.split()) if isinstance(name, str) and name.strip() else None

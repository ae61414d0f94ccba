"""The ids of an archive, as they are here. Door: `Ids`, which learns each part's ids before its rows are stored."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from personal_data.errors import InvalidInput
from personal_data.portability.tables import Owner, Part

_ID = re.compile(r"[a-z]{3}_[0-9a-z]{25}")
_NAMING = ("message:", "memory:")
"""How a memory's source begins that names a turn of a chat, or the memory that a fact was drawn from."""


class Ids:
    """What each id of an archive is called here."""

    def __init__(self, owner: Owner, archived_agent: str | None) -> None:
        self._owner = owner
        self._new: dict[str, str] = {}
        if archived_agent is not None:
            self._new[archived_agent] = owner.agent_id
        self._known: dict[str, set[str]] = {}

    def learn(self, session: Session, part: Part, ids: Sequence[str]) -> None:
        """These rows are coming; those whose id is another person's here get another one."""
        column = part.table.columns["id"]
        theirs = part.theirs or part.owned
        there = set(session.scalars(select(column).where(column.in_(ids))))
        own = set(session.scalars(select(column).where(column.in_(ids), theirs(self._owner))))
        known = self._known.setdefault(part.name, set())
        for one in ids:
            if one in there - own or not _ID.fullmatch(one):
                self._new[one] = self._derived(part, one)
            known.add(self.here(one))

    def equate(self, same: Mapping[str, str]) -> None:
        """These are here already, under other ids."""
        self._new |= same
        self._known.setdefault("memories", set()).update(same.values())

    def lost(self, part: Part, here: str) -> None:
        """A row that could not be restored after all: nothing may point at it."""
        self._known[part.name].discard(here)

    def here(self, one: str) -> str:
        """An id of the archive, as it is here; what the archive does not bring is called as it was."""
        return self._new.get(one, one)

    def translated(self, part: Part, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row with the ids and the owner of this place.

        Raises:
            InvalidInput: it points at a row that the archive does not hold.
        """
        values = dict(row)
        if "id" in values:
            values["id"] = self.here(values["id"])
        for name, target in part.refers.items():
            values[name] = self._referred(part, name, target, values[name])
        for name in part.mentions:
            values[name] = self._swapped(values[name])
        for name, whom in part.fills.items():
            values[name] = self._owner.user_id if whom == "user" else self._owner.agent_id
        if part.name == "jobs":
            values["idempotency_key"] = f"restored:{self._owner.user_id}:{values['id']}"
        return values

    def _referred(self, part: Part, name: str, target: str, told: str | None) -> str | None:
        found = None if told is None else self.here(told)
        if found in self._known.get(target, ()) or (found is None and part.table.columns[name].nullable):
            return found
        if part.table.columns[name].nullable:
            return None
        raise InvalidInput(
            f"this archive cannot be restored: {part.name}.jsonl points at what is not in it", param="archive"
        )

    def _swapped(self, value: Any) -> Any:
        if isinstance(value, str):
            for naming in _NAMING:
                if value.startswith(naming):
                    return naming + self.here(value.removeprefix(naming))
            return self.here(value)
        if isinstance(value, list):
            return [self._swapped(one) for one in value]
        return {name: self._swapped(one) for name, one in value.items()} if isinstance(value, dict) else value

    def _derived(self, part: Part, one: str) -> str:
        """The same for the same person and id each time; in its place among the others where it tells a time."""
        default = part.table.columns["id"].default
        assert default is not None
        prefix = str(default.arg(None))[:4]  # type: ignore[attr-defined]
        digest = hashlib.sha256(f"{self._owner.user_id}\0{one}".encode()).hexdigest()
        return prefix + (one[4:13] if _ID.fullmatch(one) else "0" * 9) + digest[:16]

"""The queue in front of the batch: who is next when there is room.

Door: `FairQueue`. A lower priority number goes first. Among equals the adapter goes first that has been served least,
in tokens, since it began to ask (the virtual token counter of Sheng et al. 2024, 2401.00588: a generated token counts
twice); so one person's thousand requests do not stand before another's one. Not safe between threads by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
READ, WRITTEN = 1, 2
"""What a prompt token and a generated token cost."""


@dataclass(frozen=True, slots=True)
class _Entry(Generic[_Item]):
    priority: int
    key: Hashable
    arrival: int
    item: _Item


class FairQueue(Generic[_Item]):
    """Items that wait, each under a key that is to be served fairly."""

    def __init__(self) -> None:
        self._entries: list[_Entry[_Item]] = []
        self._served: dict[Hashable, int] = {}
        self._active: Counter[Hashable] = Counter()
        self._arrivals = count()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[_Item]:
        return iter([entry.item for entry in self._entries])

    def push(self, item: _Item, *, key: Hashable, priority: int) -> None:
        """Let an item wait. A key that was away comes back level with the least served of those that are here."""
        if not self._active[key]:
            floor = min((self._served[one] for one, number in self._active.items() if number), default=0)
            self._served[key] = max(self._served.get(key, 0), floor)
        self._active[key] += 1
        self._entries.append(_Entry(priority, key, next(self._arrivals), item))

    def front(self) -> _Item | None:
        """The item whose turn it is."""
        return None if not self._entries else self._first().item

    def pop(self) -> _Item:
        """Take the item whose turn it is; its key counts as present until `leave`."""
        entry = self._first()
        self._entries.remove(entry)
        return entry.item

    def _first(self) -> _Entry[_Item]:
        return min(self._entries, key=lambda entry: (entry.priority, self._served[entry.key], entry.arrival))

    def discard(self, unwanted: Callable[[_Item], bool]) -> list[_Item]:
        """Remove items that wait; those removed."""
        gone = [entry for entry in self._entries if unwanted(entry.item)]
        self._entries = [entry for entry in self._entries if not unwanted(entry.item)]
        for entry in gone:
            self.leave(entry.key)
        return [entry.item for entry in gone]

    def charge(self, key: Hashable, tokens: int) -> None:
        """Count what a key was given."""
        self._served[key] += tokens

    def leave(self, key: Hashable) -> None:
        """One item of a key has ended. When nobody is left, all are level again."""
        self._active[key] -= 1
        if not self._active[key]:
            del self._active[key]
        if not self._active:
            self._served.clear()

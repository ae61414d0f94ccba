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
_Account = tuple[Hashable, bool]
"""A key, and whether it is about background: somebody's rollouts must not make her chat wait."""
READ, WRITTEN = 1, 2
"""What a prompt token and a generated token cost."""


@dataclass(eq=False, slots=True)
class Entry(Generic[_Item]):
    """An item that waits. `passed` counts how often others went before it out of turn."""

    priority: int
    key: Hashable
    arrival: int
    item: _Item
    passed: int = 0


class FairQueue(Generic[_Item]):
    """Items that wait, each under a key that is to be served fairly. Background (priority above 0) counts apart."""

    def __init__(self) -> None:
        self._entries: list[Entry[_Item]] = []
        self._served: dict[_Account, int] = {}
        self._active: Counter[_Account] = Counter()
        self._arrivals = count()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[_Item]:
        return iter([entry.item for entry in self._entries])

    @property
    def background(self) -> int:
        """Background items that wait."""
        return sum(entry.priority > 0 for entry in self._entries)

    @property
    def idle(self) -> bool:
        """Whether nothing waits, runs or is remembered."""
        return not (self._entries or self._active or self._served)

    def push(self, item: _Item, *, key: Hashable, priority: int) -> None:
        """Let an item wait. A key that was away comes back level with the least served of those that are here."""
        account = key, priority > 0
        if not self._active[account]:
            self._served[account] = max(self._served.get(account, 0), self._floor(background=priority > 0))
        self._active[account] += 1
        self._entries.append(Entry(priority, key, next(self._arrivals), item))

    def _floor(self, *, background: bool) -> int:
        present = (account for account, number in self._active.items() if number)
        return min((self._served[one] for one in present if one[1] == background), default=0)

    def in_turn(self) -> list[Entry[_Item]]:
        """What waits, those first whose turn it is."""
        return sorted(self._entries, key=lambda one: (one.priority, self._served[_account(one)], one.arrival))

    def take(self, entry: Entry[_Item]) -> _Item:
        """Remove an entry; its key counts as present until `leave`."""
        self._entries.remove(entry)
        return entry.item

    def discard(self, unwanted: Callable[[_Item], bool]) -> list[_Item]:
        """Remove items that wait; those removed."""
        gone = [entry for entry in self._entries if unwanted(entry.item)]
        self._entries = [entry for entry in self._entries if not unwanted(entry.item)]
        for entry in gone:
            self.leave(entry.key, entry.priority)
        return [entry.item for entry in gone]

    def charge(self, key: Hashable, priority: int, tokens: int) -> None:
        """Count what a key was given."""
        self._served[key, priority > 0] += tokens

    def leave(self, key: Hashable, priority: int) -> None:
        """One item of a key has ended. Counts of those that are away are forgotten once they make no difference."""
        account = key, priority > 0
        self._active[account] -= 1
        if self._active[account]:
            return
        del self._active[account]
        for background in (False, True):
            floor = self._floor(background=background)
            here = any(one[1] == background for one in self._active)
            for one in [one for one in self._served if one[1] == background and one not in self._active]:
                if not here or self._served[one] <= floor:
                    del self._served[one]


def _account(entry: Entry[_Item]) -> _Account:
    return entry.key, entry.priority > 0

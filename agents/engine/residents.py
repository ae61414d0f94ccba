"""Which adapters the server knows, and which of them sit in a slot now.

Door: `Residents`. Registered adapters cost disk only. One is read into a slot when a request needs it; when the limit
is reached, the one that was used longest ago gives way, unless a running completion pins it. Pinned adapters keep the
first slots of their bank, next to each other, so that a batch of them is computed without copying a weight.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from agents.adapters import Adapter, read_adapter
from agents.engine.lora import AdapterStack
from personal_data.errors import Conflict, NotFound


@dataclass(frozen=True, eq=False)
class Registered:
    """An adapter that can be asked for by name."""

    name: str
    path: Path


class _Seats:
    """Who sits where in one bank: the `pinned` first places, then idle adapters and empty places."""

    def __init__(self, places: int) -> None:
        self.at: list[Registered | None] = [None] * places
        self.pinned = 0


class Residents:
    """The adapters of one stack. `register`, `unregister` and `find` may be called from any thread."""

    def __init__(self, stack: AdapterStack) -> None:
        self._stack = stack
        self._lock = threading.Lock()
        self._registered: dict[str, Registered] = {}
        self._slots: OrderedDict[Registered, int] = OrderedDict()
        self._pins: dict[Registered, int] = {}
        self._seats = [_Seats(stack.slots) for _ in stack.banks]

    @property
    def names(self) -> list[str]:
        """Registered adapters by name."""
        with self._lock:
            return sorted(self._registered)

    @property
    def resident(self) -> int:
        """Slots in use."""
        return len(self._slots)

    @property
    def pinned(self) -> int:
        """Adapters that running completions use."""
        return len(self._pins)

    @property
    def limit(self) -> int:
        """How many adapters may be resident."""
        return self._stack.slots - 1

    def is_pinned(self, adapter: Registered | None) -> bool:
        """Whether running completions use an adapter; the base always is."""
        return adapter is None or adapter in self._pins

    def register(self, name: str, path: Path) -> None:
        """Make an adapter known after checking its files against the base; the same name and path again is no change.

        Raises:
            AdapterError: the files are missing, torn, hostile, or fit another base.
            Conflict: the name is taken by another path.
        """
        self._stack.check(read_adapter(path, base_sha256=self._stack.base.sha256))
        with self._lock:
            known = self._registered.setdefault(name, Registered(name, path))
        if known.path != path:
            raise Conflict(f"the adapter {name!r} has been loaded from another folder; unload it first")

    def unregister(self, name: str) -> None:
        """Forget an adapter; completions that run keep it to their end.

        Raises:
            NotFound: there is no such adapter.
        """
        with self._lock:
            if self._registered.pop(name, None) is None:
                raise NotFound(f"the adapter {name!r} is not loaded")

    def find(self, name: str) -> Registered:
        """The adapter of a name.

        Raises:
            NotFound: there is no such adapter.
        """
        with self._lock:
            if (found := self._registered.get(name)) is None:
                raise NotFound(f"the model {name!r} does not exist")
            return found

    def slot(self, adapter: Registered | None) -> int:
        """Where a pinned adapter sits now; any `acquire` or `release` may move it. Engine thread only, as the rest."""
        return 0 if adapter is None else self._slots[adapter]

    def acquire(self, adapter: Registered | None) -> bool:
        """Pin an adapter, which is read into a slot if need be; False while every slot is pinned.

        Raises:
            AdapterError: its files are gone or changed.
        """
        if adapter is None:
            return True
        if adapter not in self._slots:
            if len(self._pins) == self.limit:
                return False
            content = read_adapter(adapter.path, base_sha256=self._stack.base.sha256)
            if len(self._slots) == self.limit:
                self._evict()
            self._seat(adapter, content)
        self._slots.move_to_end(adapter)
        if adapter not in self._pins:
            number, place = divmod(self._slots[adapter], self._stack.slots)
            self._exchange(number, place, self._seats[number].pinned + 1)
            self._seats[number].pinned += 1
        self._pins[adapter] = self._pins.get(adapter, 0) + 1
        return True

    def release(self, adapter: Registered | None) -> None:
        """Undo one `acquire`."""
        if adapter is None:
            return
        if self._pins[adapter] == 1:
            number, place = divmod(self._slots[adapter], self._stack.slots)
            self._exchange(number, place, self._seats[number].pinned)
            self._seats[number].pinned -= 1
            del self._pins[adapter]
        else:
            self._pins[adapter] -= 1

    def _seat(self, adapter: Registered, content: Adapter) -> None:
        number = self._stack.bank_of(content.rank)
        seats = self._seats[number]
        place = seats.at.index(None, 1)
        slot = number * self._stack.slots + place
        self._stack.load(slot, content)
        seats.at[place], self._slots[adapter] = adapter, slot

    def _evict(self) -> None:
        idle = next(adapter for adapter in self._slots if adapter not in self._pins)
        number, place = divmod(self._slots.pop(idle), self._stack.slots)
        self._seats[number].at[place] = None

    def _exchange(self, number: int, one: int, other: int) -> None:
        if one == other:
            return
        first = number * self._stack.slots
        self._stack.swap(first + one, first + other)
        at = self._seats[number].at
        at[one], at[other] = at[other], at[one]
        for place in (one, other):
            if (adapter := at[place]) is not None:
                self._slots[adapter] = first + place

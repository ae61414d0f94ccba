"""Which adapters the server knows, and which of them sit in a slot now.

Door: `Residents`. Registered adapters cost disk only. One is read into a slot when a request needs it; when no slot is
free, the one that was used longest ago gives way, unless a running completion pins it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from agents.adapters import read_adapter
from agents.engine.lora import AdapterStack
from personal_data.errors import Conflict, NotFound


@dataclass(frozen=True, eq=False)
class Registered:
    """An adapter that can be asked for by name."""

    name: str
    path: Path


class Residents:
    """The adapters of one stack. `register`, `unregister` and `find` may be called from any thread."""

    def __init__(self, stack: AdapterStack) -> None:
        self._stack = stack
        self._lock = threading.Lock()
        self._registered: dict[str, Registered] = {}
        self._slots: OrderedDict[Registered, int] = OrderedDict()
        self._pins: dict[Registered, int] = {}
        self._free = list(range(1, stack.slots))

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

    def acquire(self, adapter: Registered | None) -> int | None:
        """Pin an adapter and return its slot, 0 for the base; None while every slot is pinned. Engine thread only.

        Raises:
            AdapterError: its files are gone or changed.
        """
        if adapter is None:
            return 0
        slot = self._slots.get(adapter)
        if slot is None:
            if (slot := self._vacant()) is None:
                return None
            try:
                self._stack.load(slot, read_adapter(adapter.path, base_sha256=self._stack.base.sha256))
                self._slots[adapter] = slot
            finally:
                if adapter not in self._slots:
                    self._free.append(slot)
        self._slots.move_to_end(adapter)
        self._pins[adapter] = self._pins.get(adapter, 0) + 1
        return slot

    def _vacant(self) -> int | None:
        if self._free:
            return self._free.pop()
        idle = next((adapter for adapter in self._slots if adapter not in self._pins), None)
        return None if idle is None else self._slots.pop(idle)

    def release(self, adapter: Registered | None) -> None:
        """Undo one `acquire`. Engine thread only."""
        if adapter is None:
            return
        self._pins[adapter] -= 1
        if not self._pins[adapter]:
            del self._pins[adapter]

"""The index's files: Chroma keeps what was deleted, so its folder is removed and filled again from SQL.

Doors: `purge_index` for whoever has erased something; `wanted` and `done` for the supervisor, who runs the server.
The wish is a file in the data folder: it outlives both. While the index is away, recall goes on in this process.
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path

from api.running import read_running
from personal_data.errors import IndexUnavailable
from personal_data.memory import Memory
from personal_data.settings import Settings

INDEX = "index"
_WISH = "index.purge"
_WITHIN_S = 120.0
_POLL_S = 0.1


def wanted(data_dir: Path) -> str | None:
    """Who wants the index's files removed; None: nobody."""
    try:
        return (data_dir / _WISH).read_text()
    except FileNotFoundError:
        return None


def done(data_dir: Path, wish: str) -> None:
    """They were removed for this wish; one that came meanwhile stays."""
    if wanted(data_dir) == wish:
        (data_dir / _WISH).unlink(missing_ok=True)


def purge_index(settings: Settings, memory: Memory) -> list[str]:
    """Have the index's files removed and filled again; returns what could not be done, and why."""
    running = read_running(settings.data_dir)
    if running is None or INDEX not in running.get("processes", {}):
        return [
            f"the files of the memory index at {settings.index_url}: its vectors were deleted there, but its server "
            "keeps their bytes; its operator stops it, removes its folder and starts it again"
        ]
    wish = secrets.token_hex(8)
    (settings.data_dir / _WISH).write_text(wish)
    deadline = time.monotonic() + _WITHIN_S
    while wanted(settings.data_dir) is not None:
        if time.monotonic() > deadline:
            return ["the files of the memory index: they are removed when `folkmoot serve` starts the next time"]
        time.sleep(_POLL_S)
    return _refill(memory, deadline)


def _refill(memory: Memory, deadline: float) -> list[str]:
    while True:
        try:
            memory.reconcile()
            break
        except IndexUnavailable:  # it is starting
            if time.monotonic() > deadline:
                return []  # the application compares again when it starts the next time
            time.sleep(_POLL_S)
    while memory.drain_outbox():
        pass
    return []

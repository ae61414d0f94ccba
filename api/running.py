"""`running.json` in the data folder: where the Folkmoot of this folder is, for the command line. No heavy imports.

Beside it, `command`: how that command line was called, for messages that say what to type next.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

FILE = "running.json"


def write_running(
    data_dir: Path, url: str, processes: Mapping[str, int | None], restarts: Mapping[str, int] | None = None
) -> None:
    """Say that this process is the supervisor of `data_dir`; readable by its owner only."""
    running = {
        "url": url,
        "pid": os.getpid(),
        "data_dir": str(data_dir),
        "processes": dict(processes),
        "restarts": dict(restarts or {}),
    }
    draft = data_dir / f"{FILE}.part"
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(running, indent=2) + "\n")
    draft.replace(data_dir / FILE)


def read_running(data_dir: Path) -> dict[str, Any] | None:
    """What was written, None when nobody runs there (any more)."""
    with suppress(OSError, ValueError, KeyError):
        running: dict[str, Any] = json.loads((data_dir / FILE).read_text())
        os.kill(int(running["pid"]), 0)
        return running
    return None


def forget_running(data_dir: Path) -> None:
    """The supervisor of `data_dir` ends."""
    (data_dir / FILE).unlink(missing_ok=True)


def command() -> str:
    """What to type for `folkmoot` here: the way the command that runs was called, short where PATH finds it."""
    called = Path(sys.argv[0])
    if called.name != "folkmoot":
        return f"{shlex.quote(sys.executable)} -m api.cli"
    found = shutil.which(called.name)
    return called.name if found and Path(found).samefile(called) else shlex.quote(str(called))

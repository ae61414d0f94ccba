"""Claim: after installation the whole demo takes under 3 minutes and under 3 GiB.

`python -m benchmarks.demo` runs `folkmoot demo` once, adds up the memory of all its processes (proportional set size,
so that shared pages count once) a few times a second, and prints the transcript first.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.figures import Figure, finish, machine

_EVERY_S = 0.5


def main() -> int:
    figures = measure([Path(sys.executable).with_name("folkmoot"), "demo"])
    print(f"demo, {machine()}, n=1")
    return finish(figures)


def measure(command: Sequence[str | Path]) -> list[Figure]:
    """Run a command to its end. Its exit status counts without its sign: a signal that killed it is no success."""
    started = time.perf_counter()
    demo = subprocess.Popen(command)
    peak = 0
    while demo.poll() is None:
        peak = max(peak, sum(_memory(process) for process in _family(demo.pid)))
        time.sleep(_EVERY_S)
    return [
        Figure("demo.exit_status", abs(demo.returncode), "<=", 0),
        Figure("demo.seconds", time.perf_counter() - started, "<=", 180),
        Figure("demo.peak_gib", peak / 2**30, "<=", 3),
    ]


def _family(root: int) -> list[int]:
    """A process and everything it started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


def _memory(process: int) -> int:
    """Proportional set size in bytes; 0 for a process that has just ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How a claim is printed: `figure NAME VALUE TARGET` lines that a machine can read, and the exit status they imply."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import fmean

KEEP_FREED = {"GLIBC_TUNABLES": f"glibc.malloc.mmap_threshold={2**31 - 1}:glibc.malloc.trim_threshold={2**31 - 1}"}
"""What `keep_freed_memory` does for us, for the process of a peer: neither side is to win by it."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value with its target, `>=` or `<=` a bound. A value that could not be measured is None and fails."""

    name: str
    value: float | None
    relation: str
    bound: float

    @property
    def reached(self) -> bool:
        if self.value is None:
            return False
        return self.value >= self.bound if self.relation == ">=" else self.value <= self.bound

    def __str__(self) -> str:
        value = "none" if self.value is None else f"{self.value:.4g}"
        return f"figure {self.name} {value} {self.relation}{self.bound:g}"


def machine() -> str:
    """The kind of machine and the versions that matter, for the head of a table."""
    cpu = re.search(r"^model name\s*: (.+)$", _text(Path("/proc/cpuinfo")), re.MULTILINE)
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    kind = platform.machine() if cpu is None else cpu[1]
    return f"{os.cpu_count()} cores, {kind}, Python {platform.python_version()}, {packages}"


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def mean(values: Sequence[float | None]) -> float | None:
    """Of what was measured; None where nothing was."""
    present = [value for value in values if value is not None]
    return fmean(present) if present else None


def shown(value: float | None) -> str:
    """Two digits, or a dash for what was not measured."""
    return "-" if value is None else f"{value:.2f}"


def finish(figures: Sequence[Figure]) -> int:
    """Print one line a figure; 1 when one falls short, else 0."""
    for figure in figures:
        print(figure)
    return int(not all(figure.reached for figure in figures))

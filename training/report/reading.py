"""Stored JSON as what it should be, or as missing: rows may be of an earlier version, or of somebody's archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agents.messages import well_formed


def number(value: Any) -> float | int | None:
    """A finite number; None for anything else, and for one too large to draw."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < 1e300 else None


def text(value: Any) -> str | None:
    """A text without what no reader of JSON takes."""
    return well_formed(value) if isinstance(value, str) else None


def mapping(value: Any) -> dict[str, Any]:
    """An object; empty for anything else."""
    return {well_formed(str(name)): entry for name, entry in value.items()} if isinstance(value, Mapping) else {}


def items(value: Any) -> list[Any]:
    """A list; empty for anything else."""
    return list(value) if isinstance(value, list | tuple) else []


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str | float | bool | None]]:
    """(path, value) of every text, number and truth value in it, in order; the parts of a path stand behind each
    other."""
    if isinstance(value, Mapping | list | tuple):
        entries = mapping(value).items() if isinstance(value, Mapping) else enumerate(value)
        for name, entry in entries:
            yield from leaves(entry, f"{path} {name}".strip())
    elif isinstance(value, bool):
        yield path, value
    else:
        yield path, number(value) if text(value) is None else text(value)

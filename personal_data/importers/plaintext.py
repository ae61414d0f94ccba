"""Plain text: an item for each paragraph, its owner's own words.

Door: `claim`. Asked after all formats that know text by what is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from personal_data.importers.decoding import is_text, lines
from personal_data.importers.parsed import Item, Options, Skipped, Unit
from personal_data.importers.source import File
from personal_data.importers.times import local, named_day, zone

SUFFIXES = (".txt", ".text", ".org", ".rst", "")
_MAX_PARAGRAPH = 100_000


def claim(files: Sequence[File], options: Options) -> list[Unit]:
    """The texts."""
    return [
        Unit("text", file.name, (file.name,), partial(_read, file, options))
        for file in files
        if file.suffix in SUFFIXES and is_text(file)
    ]


def _read(file: File, options: Options) -> Iterator[Item | Skipped]:
    day = named_day(file.base)
    at = None if day is None else local(day, zone(options))
    for number, text in _paragraphs(lines(file)):
        yield Item(text, "", True, at, f"{file.name}#L{number}", file.name, "document")


def _paragraphs(found: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Lines up to an empty one, with the number of the first."""
    taken: list[str] = []
    first = size = 0
    for number, line in found:
        text = line.strip()
        if taken and (not text or size > _MAX_PARAGRAPH):
            yield first, "\n".join(taken)
            taken, size = [], 0
        if text:
            first = first if taken else number
            taken.append(text)
            size += len(text)
    if taken:
        yield first, "\n".join(taken)

"""Tables as CSV or TSV: an item for each row, `column: value; column: value`.

Door: `claim`. Nothing tells who wrote a table, so it is not taken for its owner's words. The separator is what splits
the first rows alike; the first row names the columns unless it looks like the others. A column of dates dates the rows.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice

from personal_data.errors import InvalidInput
from personal_data.importers.decoding import is_text, lines
from personal_data.importers.parsed import Item, Options, Skipped, Unit
from personal_data.importers.source import File
from personal_data.importers.times import iso

SUFFIXES = (".csv", ".tsv", ".tab")
_SEPARATORS = ",;\t|"
_LOOKED_AT = 20
_MAX_ROW = 2**20
"""Characters of a row; a quote that is never closed swallows the file otherwise."""
_MAX_VALUE = 20_000


def claim(files: Sequence[File], options: Options) -> list[Unit]:
    """The tables."""
    return [
        Unit("csv", file.name, (file.name,), partial(_read, file))
        for file in files
        if file.suffix in SUFFIXES and is_text(file)
    ]


def _read(file: File) -> Iterator[Item | Skipped]:
    separator = _separator([line for _, line in islice(lines(file), _LOOKED_AT)])
    rows = _rows(file, separator)
    first = list(islice(rows, _LOOKED_AT))
    named = _names([row for _, row in first])
    columns = named or [f"column {place}" for place in range(1, 1 + max((len(row) for _, row in first), default=0))]
    dates = _dates([row for _, row in first[bool(named) :]])
    for number, row in _after(first[bool(named) :], rows):
        if text := _said(columns, row):
            at = next((at for place in dates if place < len(row) and (at := iso(row[place].strip())) is not None), None)
            yield Item(text, "", None, at, f"{file.name}#row{number}", file.name, "document")


def _after(
    first: list[tuple[int, list[str]]], rest: Iterator[tuple[int, list[str]]]
) -> Iterator[tuple[int, list[str]]]:
    yield from first
    yield from rest


def _rows(file: File, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Each row that holds something, with its number."""
    csv.field_size_limit(_MAX_ROW)
    taken = _Counted(line + "\n" for _, line in lines(file))
    reader = csv.reader(taken, delimiter=separator)
    number = 0
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise InvalidInput(
                f"{file.name}: row {number + 1}: {error}; is a quote left open?", param="file"
            ) from error
        if row is None:
            return
        number += 1
        taken.size = 0
        if any(value.strip() for value in row):
            yield number, row


class _Counted:
    """Lines, as long as those of one row are not too many."""

    def __init__(self, found: Iterator[str]) -> None:
        self._found, self.size = found, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._found)
        self.size += len(line)
        if self.size > _MAX_ROW:
            raise csv.Error("longer than any row")
        return line


def _separator(head: Sequence[str]) -> str:
    """What splits most of the first lines into as many fields, more than one."""

    def likeness(separator: str) -> tuple[int, int]:
        counts = Counter(line.count(separator) for line in head if line.strip())
        (fields, often), *_ = counts.most_common(1) or [(0, 0)]
        return (often, fields) if fields else (0, 0)

    return max(_SEPARATORS, key=likeness)


def _names(rows: Sequence[list[str]]) -> list[str] | None:
    """The first row, if it names columns: different words, none of them a number or a date, and other rows follow."""
    if len(rows) < 2:
        return None
    names = [name.strip() for name in rows[0]]
    if any(_is_value(name) for name in names) or len(set(names)) < len(names):
        return None
    return [name or f"column {place}" for place, name in enumerate(names, 1)]


def _is_value(text: str) -> bool:
    return len(text) > 100 or iso(text) is not None or text.replace(".", "").replace(",", "").lstrip("+-").isdigit()


def _dates(rows: Sequence[list[str]]) -> list[int]:
    """The columns whose values are dates wherever they have one."""
    width = max((len(row) for row in rows), default=0)
    columns = [
        [row[place].strip() for row in rows if place < len(row) and row[place].strip()] for place in range(width)
    ]
    return [
        place
        for place, values in enumerate(columns)
        if values and all(iso(value) is not None and not value.isdigit() for value in values)
    ]


def _said(columns: Sequence[str], row: Sequence[str]) -> str:
    named = zip((*columns, *("",) * max(0, len(row) - len(columns))), row, strict=False)
    return "; ".join(
        f"{column}: {value.strip()[:_MAX_VALUE]}" if column else value.strip()[:_MAX_VALUE]
        for column, value in named
        if value.strip()
    )

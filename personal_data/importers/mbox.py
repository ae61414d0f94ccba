"""A mailbox (mbox) as its messages, one at a time and never more than one in memory.

Doors: `messages`, and `fields`, the names of the headers that a file begins with.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO

from personal_data.importers.source import File

MAX_MESSAGE = 32 * 2**20
_MAX_LINE = 2**20
_FIELD = re.compile(rb"([!-9;-~]+):")
_TIME = re.compile(rb"\b\d{1,2}:\d\d\b")
_YEAR = re.compile(rb"\b\d{4}\b")
_EMPTY = (b"\n", b"\r\n")
_ESCAPED = re.compile(rb">+From ")


def fields(head: bytes) -> frozenset[bytes]:
    """The names of the headers at the beginning, in lower case; none where it begins with anything else."""
    found: set[bytes] = set()
    for line in head.split(b"\n"):
        if not line.strip():
            break
        if line[:1] in b" \t" and found:
            continue
        if (field := _FIELD.match(line)) is None:
            return frozenset()
        found.add(field[1].lower())
    return frozenset(found)


class _Message:
    """A message while its lines come in; None in place of one that is too large."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._size = 0

    def add(self, line: bytes) -> None:
        self._size += len(line)
        if self._size > MAX_MESSAGE:
            self._lines.clear()
        else:
            self._lines.append(line)

    def whole(self) -> bytes | None:
        """All of it, without the empty line before the next one."""
        if self._size > MAX_MESSAGE:
            return None
        if self._lines and self._lines[-1] in _EMPTY:
            self._lines.pop()
        return b"".join(self._lines)


def messages(file: File) -> Iterator[bytes | None]:
    """Each message without its separator; None in place of one beyond MAX_MESSAGE."""
    message: _Message | None = None
    with file.open() as stream:
        for separates, line in _marked(stream):
            if separates:
                if message is not None:
                    yield message.whole()
                message = _Message()
            elif message is not None:
                message.add(line)
    if message is not None:
        yield message.whole()


def _marked(stream: BinaryIO) -> Iterator[tuple[bool, bytes]]:
    """Each line, and whether it separates messages: `From ...` after an empty one, with a date. One without a date
    counts where a header follows, as body lines that begin with "From " are not always escaped."""
    held, first = b"", True
    starts = empty = True
    while line := stream.readline(_MAX_LINE):
        if first:
            line, first = line.removeprefix(codecs.BOM_UTF8), False
        if held:
            yield _FIELD.match(line) is not None, held
            held = b""
        if starts and empty and line.startswith(b"From ") and line.endswith(b"\n"):
            if _TIME.search(line) and _YEAR.search(line):
                yield True, line
            else:
                held = line
            empty = False
            continue
        yield False, line[1:] if starts and _ESCAPED.match(line) else line
        empty = starts and line in _EMPTY
        starts = line.endswith(b"\n")
    if held:
        yield False, held

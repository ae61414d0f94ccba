"""Text files in whatever encoding they were saved, line by line, in bounded memory.

Doors: `lines`, and `is_text` for whether a file is text at all. What no encoding explains is told, never guessed at.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator

from personal_data.errors import InvalidInput
from personal_data.importers.source import File

MAX_LINE = 2**20
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_CONTROLS = frozenset(range(32)) - {9, 10, 12, 13, 27}
_WESTERN = "cp1252"
_RARE = 0.01
"""Control characters that a text may have: one in a hundred."""


def is_text(file: File) -> bool:
    """Whether the first bytes read as text."""
    try:
        head = file.head()
    except InvalidInput:  # broken within its zip
        return False
    if not head.strip():
        return False
    if head.startswith(tuple(_MARKS)):
        return True
    return b"\0" not in head and sum(byte in _CONTROLS for byte in head) <= max(3, _RARE * len(head))


def lines(file: File) -> Iterator[tuple[int, str]]:
    """Each line with its number, without its end; a line beyond MAX_LINE characters comes in parts of one number.

    Raises:
        InvalidInput: it is text of no encoding.
    """
    encoding = _encoding(file)
    with file.open() as stream:
        text = io.TextIOWrapper(stream, encoding, errors="strict" if encoding.startswith("utf") else "replace")
        number, ended = 1, True
        try:
            while line := text.readline(MAX_LINE):
                ended = line.endswith("\n")
                yield number, line.rstrip("\r\n").replace("\0", "")
                number += ended
        except UnicodeError as error:
            raise InvalidInput(f"{file.name}: no text beyond line {number}; save it as UTF-8", param="file") from error


def _encoding(file: File) -> str:
    """Of the byte order mark, or UTF-8 where it fits the beginning, or what the beginning looks like."""
    head = file.head()
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return encoding
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut off
    except UnicodeDecodeError:
        return _guessed(head)
    return "utf-8"


def _guessed(head: bytes) -> str:
    """What the beginning looks like; where several fit as well, what Western Windows writes."""
    from charset_normalizer import from_bytes

    fitting = from_bytes(head)
    best = fitting.best()
    if best is None or any(
        other.encoding == _WESTERN and (other.chaos, other.coherence) == (best.chaos, best.coherence)
        for other in fitting
    ):
        return _WESTERN
    return best.encoding

"""What the tests of every format share: files in memory, and an export damaged in every way that must be survived."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import pytest

from personal_data.errors import InvalidInput
from personal_data.importers.parsed import Item, Options, Skipped, Unit
from personal_data.importers.source import File

Claim = Callable[[Sequence[File], Options], list[Unit]]
Read = list[Item | Skipped]


def file_of(content: bytes, name: str = "renamed.bin") -> File:
    """A file of an upload."""
    return File(name, len(content), lambda: io.BytesIO(content))


def read(claim: Claim, content: bytes, name: str = "renamed.bin", options: Options | None = None) -> Read:
    """All of a file that the format must know."""
    [unit] = claim([file_of(content, name)], options or Options())
    assert (unit.name, unit.files) == (name, (name,))
    return list(unit.read())


def fault(claim: Claim, content: bytes, options: Options | None = None) -> str:
    """What its owner is told of a file that cannot be read."""
    with pytest.raises(InvalidInput) as told:
        read(claim, content, options=options)
    return str(told.value)


def until_fault(claim: Claim, content: bytes, options: Options | None = None, name: str = "renamed.bin") -> Read:
    """What is read of a file, known or not, before InvalidInput, which alone may be raised."""
    found: Read = []
    try:
        for unit in claim([file_of(content, name)], options or Options()):
            found.extend(unit.read())
    except InvalidInput as error:
        assert "\n" not in str(error)
    for entry in found:
        if isinstance(entry, Item):
            assert entry.text.strip() and "\0" not in entry.text
            entry.text.encode()
    return found


def cuts(content: bytes) -> list[bytes]:
    """The file, cut at every hundredth."""
    return [content[: len(content) * part // 100] for part in range(100)]


def flips(content: bytes) -> list[bytes]:
    """The file with one byte changed, at every hundredth, in several ways."""
    places = [len(content) * part // 100 for part in range(100)]
    return [
        content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :] for at in places for mask in (0xFF, 0x01, 0x20)
    ]


def depth_bombs(prefix: bytes) -> list[bytes]:
    """JSON nested far deeper than any export, open and closed, below a beginning that a format knows."""
    return [prefix + b"[" * 200_000, prefix + b'{"a":' * 200_000, prefix + b"[" * 100_000 + b"]" * 100_000]

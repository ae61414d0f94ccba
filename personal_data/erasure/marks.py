"""Finding the bytes of what was erased, without keeping a word of it.

Doors: `Marks`, digests of stretches of what is erased, and `scan`, which looks for them in every file of a folder. A
stretch is 32 bytes, or 12 of a short text, in each form in which we or our databases write text: UTF-8, JSON with and
without escapes, UTF-16; of vectors, their float32 bytes. All positions of a file are hashed at once (a polynomial over
64 bits whose prefix sums numpy makes), so that ten thousand texts cost no more time than one. A stretch with few
different bytes (spaces, zeros) says nothing and is not looked for.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Words: TypeAlias = npt.NDArray[np.uint64]

LONG = 32
SHORT = 12
"""Bytes of a stretch; what is shorter than the short one cannot be looked for."""
_STRETCHES = 16
_TELLING = 6
"""Different bytes that a stretch must have."""
_CHUNK = 2**20
_TABLE_BITS = 22


def _constants() -> tuple[Words, Words, Words]:
    """A random word for each byte value, and the powers of an odd number and of its inverse."""
    stream = hashlib.shake_256(b"folkmoot erasure").digest(257 * 8)
    words = np.frombuffer(stream, "<u8").astype(np.uint64)
    base = int(words[256]) | 1
    length = _CHUNK + LONG
    return words[:256], _powers(base, length), _powers(pow(base, -1, 2**64), length)


def _powers(base: int, length: int) -> Words:
    steps = np.full(length, base, np.uint64)
    steps[0] = 1
    powers: Words = np.cumprod(steps, dtype=np.uint64)
    return powers


_BYTES, _UP, _DOWN = _constants()


class Marks:
    """A set of digests."""

    def __init__(self, digests: Words | None = None) -> None:
        self.digests: Words = np.unique(digests) if digests is not None else np.empty(0, np.uint64)
        self._table = np.zeros(2**_TABLE_BITS, np.bool_)
        self._table[self.digests >> np.uint64(64 - _TABLE_BITS)] = True

    @classmethod
    def of(cls, texts: Iterable[str], blobs: Iterable[bytes] = ()) -> Marks:
        """Marks of these texts and vectors."""
        forms = {form for text in texts for form in _forms(text)}
        parts = [_stretches(form) for form in (*forms, *blobs)]
        return cls(np.concatenate(parts)) if parts else cls()

    @classmethod
    def from_bytes(cls, stored: Iterable[bytes]) -> Marks:
        """What `to_bytes` gave, several together."""
        return cls(np.frombuffer(b"".join(stored), "<u8").astype(np.uint64))

    def to_bytes(self) -> bytes:
        return self.digests.astype("<u8").tobytes()

    def __len__(self) -> int:
        return len(self.digests)

    def without(self, others: Words) -> Marks:
        """Those that are none of `others`."""
        return Marks(np.setdiff1d(self.digests, others))

    def found(self, data: bytes) -> Words:
        """Which of them stand in `data`, each as often as it does."""
        hits = [
            hit
            for start in range(0, len(data), _CHUNK)
            for width in (SHORT, LONG)
            if len(hit := self._hits(_hashes(data[start : start + _CHUNK + width - 1], width)))
        ]
        return np.concatenate(hits) if hits else np.empty(0, np.uint64)

    def _hits(self, hashes: Words) -> Words:
        if not len(self.digests):
            return self.digests
        likely = hashes[self._table[hashes >> np.uint64(64 - _TABLE_BITS)]]
        places = np.minimum(np.searchsorted(self.digests, likely), len(self.digests) - 1)
        hits: Words = likely[self.digests[places] == likely]
        return hits


def scan(folder: Path, marks: Marks, pattern: str = "*") -> tuple[dict[str, Words], list[str]]:
    """What every file below `folder`, or each of a name like `pattern`, holds of the marks, by its path; and the files
    that could not be read. Links are not followed."""
    found: dict[str, Words] = {}
    unread: list[str] = []
    if not len(marks):
        return found, unread
    for path in sorted(folder.rglob(pattern)):
        name = path.relative_to(folder).as_posix()
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                continue
            hits = [hit for data in _read(path) if len(hit := marks.found(data))]
        except FileNotFoundError:  # it went while we looked
            continue
        except OSError as error:
            unread.append(f"{name}: {error.strerror or error}")
            continue
        if hits:
            found[name] = np.concatenate(hits)
    return found, unread


def _read(path: Path) -> Iterator[bytes]:
    """A file in pieces that overlap, so that no stretch is cut in two; `Marks.found` cuts each as often itself."""
    kept = b""
    with path.open("rb") as file:
        while data := file.read(8 * _CHUNK):
            yield kept + data
            kept = data[-(LONG - 1) :]


def _hashes(data: bytes, width: int) -> Words:
    """The digest of each stretch of this width."""
    if len(data) < width:
        return np.empty(0, np.uint64)
    values = _BYTES[np.frombuffer(data, np.uint8)]
    sums = np.zeros(len(data) + 1, np.uint64)
    np.cumsum(values * _DOWN[: len(data)], out=sums[1:])
    hashes: Words = (sums[width:] - sums[:-width]) * _UP[width - 1 : len(data)]
    return hashes


def _forms(text: str) -> set[bytes]:
    return {
        text.encode(errors="surrogatepass"),
        json.dumps(text)[1:-1].encode(),
        json.dumps(text, ensure_ascii=False)[1:-1].encode(errors="surrogatepass"),
        text.encode("utf-16-le", errors="surrogatepass"),
    }


def _stretches(form: bytes) -> Words:
    """The digests of some stretches from its beginning to its end."""
    width = LONG if len(form) >= LONG else SHORT
    starts = [*range(0, len(form) - width + 1, width), max(0, len(form) - width)]
    telling = [start for start in dict.fromkeys(starts) if len(set(form[start : start + width])) >= _TELLING]
    chosen = telling[:: -(-len(telling) // _STRETCHES)] if telling else []
    parts = [_hashes(form[start : start + width], width) for start in chosen]
    return np.concatenate(parts) if parts else np.empty(0, np.uint64)

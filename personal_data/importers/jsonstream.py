"""JSON files of any size, value by value, in bounded memory; all that several formats need of JSON.

Doors: `outline`, which tells what a file looks like from its first bytes, and `values`. What cannot be read is told in
our words, with what to do. A path names the members that lead to a value, joined by dots; in a list it is `item`.
"""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Collection, Iterator
from typing import Any, BinaryIO, Final

from personal_data.errors import InvalidInput
from personal_data.importers.source import File

MAX_DEPTH = 200
MAX_VALUE_BYTES = 96 * 2**20
"""Of one value in memory, estimated; the longest conversations take a tenth."""
MAX_TOKEN_BYTES = 32 * 2**20
TOO_LARGE: Final = object()
"""Stands for a value beyond MAX_VALUE_BYTES."""
_ENTRY_BYTES = 100
_LONGEST_KEY = 64
_DEEPEST_PATH = 8
"""No path that a format asks for is deeper, or has longer names."""
_STARTS = frozenset({"start_map", "start_array"})
_ENDS = frozenset({"end_map", "end_array"})
_Events = Iterator[tuple[str, Any]]


def outline(file: File) -> frozenset[str]:
    """The paths of all that begins in the first bytes of a file; none where it is not JSON."""
    found: set[str] = set()
    place = _Place()
    try:
        head = file.head()
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            head = head.decode("utf-16", "ignore").encode(errors="ignore")  # known, so that `values` says what is wrong
        for event, value in _events(io.BytesIO(head), file.name):
            if (path := place.of(event, value)) is not None:
                found.add(path)
    except InvalidInput:  # the head ends in the middle of the file
        pass
    return frozenset(found)


def values(file: File, paths: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Each value at one of these paths, in the order of the file; TOO_LARGE in place of one that memory cannot hold.

    Raises:
        InvalidInput: not UTF-8, not JSON, cut off, nested too deeply, or one text longer than any.
    """
    place = _Place()
    with file.open() as stream:
        events = _events(stream, file.name)
        for event, value in events:
            path = place.of(event, value)
            if path is None or path not in paths:
                continue
            yield path, _whole(events, event, value)
            if event in _STARTS:
                place.leave()


class _Place:
    """Where in the file we are: the member read last, for each open container."""

    def __init__(self) -> None:
        self._keys: list[str] = []

    def of(self, event: str, value: Any) -> str | None:
        """The path of what begins with this event, if anything does and somebody may ask for it."""
        if event == "map_key":
            self._keys[-1] = value[:_LONGEST_KEY]
            return None
        if event in _ENDS:
            self.leave()
            return None
        path = ".".join(self._keys) if len(self._keys) <= _DEEPEST_PATH else None
        if event in _STARTS:
            self._keys.append("item")
        return path

    def leave(self) -> None:
        self._keys.pop()


def _whole(events: _Events, event: str, value: Any) -> Any:
    """The value that begins with this event; its events are taken even where it is too large to keep."""
    if event not in _STARTS:
        return value
    root = _container(event)
    containers, keys, left = [root], [""], MAX_VALUE_BYTES
    for event, value in events:
        if event in _ENDS:
            containers.pop()
            keys.pop()
            if not containers:
                break
            continue
        left -= sys.getsizeof(value) + _ENTRY_BYTES
        if left < 0:
            depth = len(containers) + (event in _STARTS)
            root.clear()
            containers.clear()
            _pass(events, depth)
            return TOO_LARGE
        if event == "map_key":
            keys[-1] = value
            continue
        made = _container(event) if event in _STARTS else value
        _put(containers[-1], keys[-1], made)
        if event in _STARTS:
            containers.append(made)
            keys.append("")
    return root


def _container(event: str) -> Any:
    return {} if event == "start_map" else []


def _put(container: Any, key: str, value: Any) -> None:
    if isinstance(container, dict):
        container[key] = value
    else:
        container.append(value)


def _pass(events: _Events, depth: int) -> None:
    """Passes over what is left of `depth` open containers."""
    for event, _ in events:
        depth += (event in _STARTS) - (event in _ENDS)
        if not depth:
            return


def _events(stream: BinaryIO, name: str) -> _Events:
    """What the parser sees, in our words where it fails."""
    import ijson

    watched = _Watched(stream, name)
    depth = 0
    try:
        for event, value in ijson.basic_parse(watched, use_float=True):
            watched.silent = 0
            depth += (event in _STARTS) - (event in _ENDS)
            if depth > MAX_DEPTH:
                raise InvalidInput(f"{name}: nested deeper than any export", param="file")
            # A NUL is no text, and databases refuse it.
            yield event, value.replace("\0", "") if event in {"string", "map_key"} else value
    except UnicodeDecodeError as error:
        raise InvalidInput(_encoding(name), param="file") from error
    except ijson.JSONError as error:
        raise InvalidInput(_fault(name, str(error), watched), param="file") from error


def _fault(name: str, error: str, watched: _Watched) -> str:
    if "UTF8" in error or watched.first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _encoding(name)
    if "premature EOF" in error or "Incomplete" in error:
        return f"{name}: cut off after {watched.place:,} bytes; download or unpack it again"
    return f"{name}: broken JSON before byte {watched.place:,}; download or unpack it again"


def _encoding(name: str) -> str:
    return f"{name}: not UTF-8; use the file as it was exported, or save it as UTF-8"


class _Watched:
    """A stream without its byte order mark, which counts the bytes that have not become a token yet."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream, self._name = stream, name
        self.first = b""
        self.place = self.silent = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        if not self.place:
            self.first = data[:4]
        mark = codecs.BOM_UTF8 if not self.place else b""
        self.place += len(data)
        self.silent += len(data)
        if self.silent > MAX_TOKEN_BYTES:
            raise InvalidInput(f"{self._name}: one text of it is longer than any export has", param="file")
        return data.removeprefix(mark)

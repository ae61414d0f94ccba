"""Plain text and Markdown notes: one memory a line or list item; a line that is too long for one becomes several.

Doors: `read`, and `parts` for whoever sends a large file in pieces. Headings, front matter, quotes, rules and code are
left out: they are structure, not something the owner said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from personal_data.errors import InvalidInput
from personal_data.memory import NewMemory, pieces

_BULLET = re.compile(r"^\s*(?:[-*+]|\d{1,2}[.)])\s+")
_RULE = re.compile(r"\s*([-*_=])(\s*\1)*\s*")
_FENCE = "```"
_MAX_BYTES = 10 * 2**20
_PART_LINES = 500
_PART_CHARS = 2**19


def read(name: str, content: bytes, *, speaker: str, scope: str | None = None) -> list[NewMemory]:
    """Memories of one file.

    Raises:
        InvalidInput: not UTF-8 text, too large, or nothing in it.
    """
    return [
        NewMemory(text=text, speaker=speaker, kind="fact", scope=scope, sources=(f"file:{name}",))
        for line in _said(name, content)
        for text in pieces(_statement(line))
    ]


def parts(name: str, content: bytes) -> list[str]:
    """The same file in parts of at most 500 lines, structure left out, that `read` as the whole does, one by one.

    Raises:
        InvalidInput: as `read`.
    """
    found: list[list[str]] = [[]]
    size = 0
    for line in _said(name, content):
        if len(found[-1]) == _PART_LINES or size + len(line) > _PART_CHARS:
            found.append([])
            size = 0
        found[-1].append(line)
        size += len(line)
    return ["\n".join(lines) for lines in found if lines]


def _said(name: str, content: bytes) -> list[str]:
    """The lines of a file that hold what its owner said, as they stand there."""
    if len(content) > _MAX_BYTES:
        raise InvalidInput(f"{name}: larger than {_MAX_BYTES // 2**20} MiB; split it", param="file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name}: not UTF-8 text (byte {error.start}); save it as UTF-8", param="file") from error
    if "\0" in text:
        raise InvalidInput(f"{name}: not a text file", param="file")
    lines = [line for line in _unfenced(_body(text.splitlines())) if _is_said(line)]
    if not lines:
        raise InvalidInput(f"{name}: no lines to remember in it", param="file")
    return lines


def _body(lines: Sequence[str]) -> Sequence[str]:
    """Without the front matter."""
    stripped = [line.strip() for line in lines]
    if stripped[:1] == ["---"] and "---" in stripped[1:]:
        return lines[stripped.index("---", 1) + 1 :]
    return lines


def _unfenced(lines: Sequence[str]) -> Iterator[str]:
    """Without the code between two fences; a fence that is never closed opens nothing."""
    fences = [number for number, line in enumerate(lines) if line.lstrip().startswith(_FENCE)]
    start = 0
    for opening, closing in zip(fences[::2], fences[1::2], strict=False):
        yield from lines[start:opening]
        start = closing + 1
    yield from (line for line in lines[start:] if not line.lstrip().startswith(_FENCE))


def _is_said(line: str) -> bool:
    statement = _statement(line)
    return bool(statement) and not statement.startswith(("#", ">")) and not _RULE.fullmatch(line)


def _statement(line: str) -> str:
    return _BULLET.sub("", line).strip()

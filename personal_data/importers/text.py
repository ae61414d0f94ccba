"""Plain text and Markdown notes: one memory a line or list item.

Headings, front matter, quotes and code are left out: they are structure, not something the owner said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from personal_data.errors import InvalidInput
from personal_data.memory import NewMemory
from personal_data.sharing import PRIVATE

_BULLET = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+")
_MAX_BYTES = 10 * 2**20


def read(name: str, content: bytes, *, speaker: str, scope: str = PRIVATE) -> list[NewMemory]:
    """Memories of one file.

    Raises:
        InvalidInput: not UTF-8 text, too large, or nothing in it.
    """
    if len(content) > _MAX_BYTES:
        raise InvalidInput(f"{name}: larger than {_MAX_BYTES // 2**20} MiB; split it", param="file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name}: not UTF-8 text (byte {error.start}); save it as UTF-8", param="file") from error
    if "\0" in text:
        raise InvalidInput(f"{name}: not a text file", param="file")
    found = [
        NewMemory(text=line, speaker=speaker, kind="fact", scope=scope, sources=(f"file:{name}",))
        for line in _statements(text)
    ]
    if not found:
        raise InvalidInput(f"{name}: no lines to remember in it", param="file")
    return found


def _statements(text: str) -> Iterator[str]:
    lines = text.splitlines()
    if lines and lines[0].strip() == "---" and "---" in (line.strip() for line in lines[1:]):
        lines = lines[1 + [line.strip() for line in lines[1:]].index("---") + 1 :]
    fenced = False
    for line in lines:
        if line.lstrip().startswith("```"):
            fenced = not fenced
            continue
        statement = _BULLET.sub("", line).strip()
        if statement and not fenced and not statement.startswith(("#", ">")):
            yield statement

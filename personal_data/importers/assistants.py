"""What exports of chats with an assistant have in common: a list of conversations, by itself or below a field.

Door: `units`, for `chatgpt.py` and `claude.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from personal_data.importers.jsonstream import TOO_LARGE, outline, values
from personal_data.importers.parsed import Item, Skipped, Unit
from personal_data.importers.source import File

Conversation = Callable[[str, int, dict[str, Any]], Iterator[Item | Skipped]]
"""(file's name, place within it, a conversation as it is stored) → what it holds."""

_CONVERSATIONS = ("item", "conversations.item")


def units(format: str, field: str, files: Sequence[File], conversation: Conversation) -> list[Unit]:
    """The files that hold conversations with this field."""
    wanted = {f"{path}.{field}" for path in _CONVERSATIONS}
    return [
        Unit(format, file.name, (file.name,), partial(_read, file, conversation))
        for file in files
        if not outline(file).isdisjoint(wanted)
    ]


def _read(file: File, conversation: Conversation) -> Iterator[Item | Skipped]:
    for number, (_, value) in enumerate(values(file, _CONVERSATIONS), 1):
        if isinstance(value, dict):
            yield from conversation(file.name, number, value)
        else:
            what = "larger than any conversation" if value is TOO_LARGE else "not a conversation"
            yield Skipped(f"{file.name}#{number}", what)

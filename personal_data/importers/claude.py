"""Claude exports: `conversations.json`, under whatever name.

Door: `claim`. Tool calls, their results and thinking are left out. The text of an attachment is a document: a human
message brought it, yet nothing tells who wrote it, so it has no speaker and the owner is not taken for its author.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from personal_data.importers.assistants import units
from personal_data.importers.parsed import Item, Options, Skipped, Unit
from personal_data.importers.source import File
from personal_data.importers.times import iso

_SPEAKERS = {"human": "user", "assistant": "Claude"}
_SPOKEN = ("text", "voice_note")
_PLACEHOLDER = re.compile(r"(?:```\s*)?This block is not supported on your current device yet\.(?:\s*```)?")
"""Stands in `text` for each tool block."""


def claim(files: Sequence[File], options: Options) -> list[Unit]:
    """The files that hold Claude conversations."""
    return units("claude", "chat_messages", files, _conversation)


def _conversation(name: str, number: int, conversation: dict[str, Any]) -> Iterator[Item | Skipped]:
    thread = str(conversation.get("uuid") or number)
    messages = conversation.get("chat_messages")
    if not isinstance(messages, list):
        yield Skipped(f"{name}#{thread}", "a conversation without messages")
        return
    for place, message in enumerate(messages, 1):
        if isinstance(message, dict):
            yield from _message(f"{name}#{thread}/{message.get('uuid') or place}", thread, message)
        else:
            yield Skipped(f"{name}#{thread}/{place}", "a broken message")


def _message(source: str, thread: str, message: dict[str, Any]) -> Iterator[Item | Skipped]:
    sender = str(message.get("sender"))
    if sender not in _SPEAKERS:
        yield Skipped(source, "written by neither side of the conversation")
        return
    at = iso(message.get("created_at"))
    attached = list(_documents(source, thread, at, message))
    if text := _text(message):
        yield Item(text, _SPEAKERS[sender], sender == "human", at, source, thread)
    elif not attached and _holds_something(message):
        yield Skipped(source, "no words in it: only tools, thinking or files")
    yield from attached


def _text(message: dict[str, Any]) -> str:
    """The blocks that say something; `text` where there are none, as it may be in either."""
    said = "\n".join(
        block["text"]
        for block in _dicts(message.get("content"))
        if block.get("type") in _SPOKEN and isinstance(block.get("text"), str)
    ).strip()
    text = message.get("text")
    return said or (_PLACEHOLDER.sub("", text).strip() if isinstance(text, str) else "")


def _holds_something(message: dict[str, Any]) -> bool:
    return any(message.get(field) for field in ("content", "text", "files", "attachments"))


def _documents(source: str, thread: str, at: float | None, message: dict[str, Any]) -> Iterator[Item]:
    for number, attachment in enumerate(_dicts(message.get("attachments")), 1):
        text = attachment.get("extracted_content")
        if isinstance(text, str) and text.strip():
            name = attachment.get("file_name") or number
            yield Item(text.strip(), "", None, at, f"{source}/{name}", thread, "document")


def _dicts(value: object) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []

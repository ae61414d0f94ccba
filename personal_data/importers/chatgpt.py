"""ChatGPT exports: `conversations.json`, whole or split into numbered files, under whatever name.

Door: `claim`. Of each conversation the path that was shown last is read, from the first message to the current one.
What people said and what was answered are kept; thoughts, tools and their code, images and hidden messages are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from personal_data.importers.assistants import units
from personal_data.importers.parsed import Item, Options, Skipped, Unit
from personal_data.importers.source import File
from personal_data.importers.times import seconds

_SPEAKERS = {"user": "user", "assistant": "ChatGPT"}
_SPOKEN = ("text", "multimodal_text")
_TRANSCRIPT = "audio_transcription"
_CITATION = re.compile("\ue200[^\ue200\ue201]*\ue201|\u3010\\d+\u2020[^\u3010\u3011]*\u3011")
"""Marks that the page shows as links: `cite` between private characters, and 【4†source】 in older answers."""


def claim(files: Sequence[File], options: Options) -> list[Unit]:
    """The files that hold ChatGPT conversations."""
    return units("chatgpt", "mapping", files, _conversation)


def _conversation(name: str, number: int, conversation: dict[str, Any]) -> Iterator[Item | Skipped]:
    thread = str(conversation.get("conversation_id") or conversation.get("id") or number)
    source = f"{name}#{thread}"
    mapping = conversation.get("mapping")
    if conversation.get("is_do_not_remember"):
        yield Skipped(source, "marked as not to be remembered")
    elif not isinstance(mapping, dict):
        yield Skipped(source, "a conversation without messages")
    else:
        shown = _shown(mapping, conversation.get("current_node"))
        for node in shown:
            yield from _node(f"{source}/{node}", thread, mapping[node])
        if replaced := sum(_is_spoken(mapping[node]) for node in mapping.keys() - set(shown)):
            yield Skipped(source, f"edited or answered anew, no longer shown: {replaced}")


def _shown(mapping: dict[str, Any], current: object) -> list[str]:
    """From the first message to the current one, each once, whatever the links between them say."""
    node = current if isinstance(current, str) and current in mapping else _newest(mapping)
    path: dict[str, None] = {}
    while isinstance(node, str) and node in mapping and node not in path:
        path[node] = None
        node = _dict(mapping[node]).get("parent")
    return list(reversed(path))


def _newest(mapping: dict[str, Any]) -> str | None:
    """The newest message that nothing follows; any newest one where all are followed; the last of equals."""
    parents = {parent for node in mapping.values() if isinstance(parent := _dict(node).get("parent"), str)}
    ends = [node for node in mapping if node not in parents] or list(mapping)
    return max(reversed(ends), key=lambda node: _created(mapping[node]), default=None)


def _created(node: object) -> float:
    at = seconds(_message(node).get("create_time"))
    return -1.0 if at is None else at


def _is_spoken(node: object) -> bool:
    message = _message(node)
    return _left_out(message) is None and bool(_text(message))


def _node(source: str, thread: str, node: object) -> Iterator[Item | Skipped]:
    if not isinstance(node, dict) or not isinstance(node.get("message"), dict | None):
        yield Skipped(source, "a broken message")
        return
    message = _message(node)
    text = _text(message)
    if (reason := _left_out(message)) is not None:
        # The system's empty messages hold the tree together and tell nobody anything.
        if text or _role(message) in _SPEAKERS:
            yield Skipped(source, reason)
    elif text:
        role = _role(message)
        at = seconds(message.get("create_time"))
        yield Item(text, _SPEAKERS[role], role == "user", at, source, thread)
    elif any(isinstance(part, dict) for part in _parts(message)):
        yield Skipped(source, "an image or a file without words")


def _left_out(message: dict[str, Any]) -> str | None:
    """Why a message is not one that people said or that was answered."""
    kind = _dict(message.get("content")).get("content_type", "text")
    if _role(message) not in _SPEAKERS:
        return "written by the system or a tool"
    if _dict(message.get("metadata")).get("is_visually_hidden_from_conversation"):
        return "hidden from the conversation"
    if kind not in _SPOKEN:
        return f"machinery ({kind})"
    if message.get("recipient") not in (None, "all"):
        return "written to a tool"
    return None


def _text(message: dict[str, Any]) -> str:
    return _CITATION.sub("", "\n".join(filter(None, map(_words, _parts(message))))).strip()


def _parts(message: dict[str, Any]) -> list[Any]:
    content = _dict(message.get("content"))
    parts = content.get("parts")
    return parts if isinstance(parts, list) else [content.get("text")]


def _words(part: object) -> str:
    """What a part says: itself, or what was spoken aloud."""
    said = part.get("text") if isinstance(part, dict) and part.get("content_type") == _TRANSCRIPT else part
    return said if isinstance(said, str) else ""


def _role(message: dict[str, Any]) -> str:
    return str(_dict(message.get("author")).get("role"))


def _message(node: object) -> dict[str, Any]:
    return _dict(_dict(node).get("message"))


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

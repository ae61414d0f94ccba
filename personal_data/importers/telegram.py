"""Telegram's `result.json`, of one chat or of a whole account, under whatever name.

Door: `claim`. An export of an account says whose it is, so it is known which messages are the owner's; one of a chat
does not. Forwarded words are those of whom they were forwarded from. Service messages and media without words are left
out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import partial
from typing import Any

from personal_data.errors import InvalidInput
from personal_data.importers.jsonstream import TOO_LARGE, outline, values
from personal_data.importers.parsed import Item, Options, Skipped, Unit
from personal_data.importers.source import File
from personal_data.importers.times import local, seconds, zone

_LISTS = ("chats.list.item", "left_chats.list.item")
_OWNER = "personal_information.user_id"
_MESSAGES = frozenset({"messages.item", *(f"{chat}.messages.item" for chat in _LISTS)})
_IDS = frozenset({"id", *(f"{chat}.id" for chat in _LISTS)})
_PATHS = _MESSAGES | _IDS | {_OWNER}
_CHAT = frozenset({"id", "type", "messages.item.id", "messages.item.type", "messages.item.date"})
_ACCOUNTS = (
    frozenset({"chats.list.item.id", "chats.list.item.messages"}),
    frozenset({"left_chats.list.item.id", "left_chats.list.item.messages"}),
    frozenset({_OWNER, "personal_information.phone_number"}),
    frozenset({"about", "contacts.list.item.phone_number"}),
)
"""What the head of an account's export may end with: contacts and sessions stand before the chats."""
_NOBODY = "Deleted account"


@dataclass(frozen=True, slots=True)
class _Chat:
    """Where a message stands; `owner` is the sender id of the export's owner, where it is known."""

    file: str
    id: str
    owner: str | None
    where: tzinfo | None


def claim(files: Sequence[File], options: Options) -> list[Unit]:
    """The files that hold Telegram chats."""
    return [
        Unit("telegram", file.name, (file.name,), partial(_read, file, options)) for file in files if _is_ours(file)
    ]


def _is_ours(file: File) -> bool:
    found = outline(file)
    return found >= _CHAT or any(found >= account for account in _ACCOUNTS)


def _read(file: File, options: Options) -> Iterator[Item | Skipped]:
    where, owner, chat, any_read = zone(options), None, "", False
    for path, value in values(file, _PATHS):
        if path == _OWNER:
            owner = f"user{value}" if value else None
        elif path in _IDS:
            chat = str(value)
        else:
            any_read = True
            yield from _message(_Chat(file.name, chat, owner, where), value)
    if not any_read:
        raise InvalidInput(f"{file.name}: no messages in it; export again with chats chosen", param="file")


def _message(chat: _Chat, message: Any) -> Iterator[Item | Skipped]:
    if not isinstance(message, dict):
        what = "larger than any message" if message is TOO_LARGE else "a broken message"
        yield Skipped(f"{chat.file}#{chat.id}", what)
        return
    source = f"{chat.file}#{chat.id}/{message.get('id')}"
    text = _plain(message.get("text_entities")) or _plain(message.get("text"))
    if message.get("type") != "message":
        yield Skipped(source, "a service message")
    elif not text:
        yield Skipped(source, "no words in it (media, a poll, a place)")
    else:
        yield Item(text, _speaker(message), _own(chat, message), _at(chat, message), source, chat.id)


def _plain(text: object) -> str:
    """Text, or a list of texts and entities, without its markup."""
    parts = text if isinstance(text, list) else [text]
    said = (part.get("text") if isinstance(part, dict) else part for part in parts)
    return "".join(part for part in said if isinstance(part, str)).strip()


def _speaker(message: dict[str, Any]) -> str:
    author = message["forwarded_from"] if "forwarded_from" in message else message.get("from")
    return author if isinstance(author, str) and author else _NOBODY


def _own(chat: _Chat, message: dict[str, Any]) -> bool | None:
    if chat.owner is None:
        return None
    return message.get("from_id") == chat.owner and "forwarded_from" not in message


def _at(chat: _Chat, message: dict[str, Any]) -> float | None:
    if (at := seconds(message.get("date_unixtime"))) is not None:
        return at
    date = message.get("date")
    try:
        return local(datetime.fromisoformat(date), chat.where) if isinstance(date, str) else None
    except ValueError:
        return None

"""The `Idempotency-Key` header: a retried request does its work, and stores its turns, once."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header
from sqlalchemy import select

from personal_data.database import Database
from personal_data.errors import Conflict, InvalidInput
from personal_data.records import ChatMessage

_MAX_CHARS = 100


async def _request_id(idempotency_key: Annotated[str | None, Header()] = None) -> str | None:
    if idempotency_key is not None and not 0 < len(idempotency_key) <= _MAX_CHARS:
        raise InvalidInput(f"Idempotency-Key has 1-{_MAX_CHARS} characters", param="Idempotency-Key")
    return idempotency_key


RequestId = Annotated[str | None, Depends(_request_id)]


def answered_before(
    database: Database, user_id: str, request_id: str, *, question: str, conversation_id: str | None
) -> ChatMessage | None:
    """The stored answer to this very request, None when there is none.

    Raises:
        Conflict: the key was used for another question, or in another conversation.
    """
    query = select(ChatMessage).where(ChatMessage.user_id == user_id, ChatMessage.request_id == request_id)
    with database.reading() as session:
        turns = {turn.role: turn for turn in session.scalars(query)}
    if not turns:
        return None
    answer = turns["assistant"]
    if turns["user"].content != question or conversation_id not in (None, answer.conversation_id):
        raise Conflict(f"Idempotency-Key {request_id!r} was used for another question; use a new one")
    return answer

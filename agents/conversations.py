"""Chats as stored: append a finished turn, read a conversation back. Both messages of a turn commit together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from personal_data.database import Database
from personal_data.errors import Conflict, NotFound
from personal_data.records import ChatMessage, Conversation, Memory

FORGOTTEN = "[not kept: a memory that it was given with was forgotten meanwhile]"


@dataclass(frozen=True, slots=True)
class NewTurn:
    """One question with its answer; without a `conversation_id` a conversation is opened."""

    user_id: str
    agent_id: str
    conversation_id: str | None
    question: str
    answer: str
    finish_reason: str
    request_id: str | None
    memory_ids: tuple[str, ...]
    adapter_version_id: str | None


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """Where a turn was stored."""

    conversation_id: str
    question_id: str
    message_id: str
    asked_at: float
    """In seconds since the epoch."""


class Conversations:
    """The chats of all owners; every method takes the owner and sees nobody else's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def check_owner(self, conversation_id: str, user_id: str) -> None:
        """Raise NotFound unless the conversation is this owner's."""
        with self._database.reading() as session:
            _owned(session, conversation_id, user_id)

    def append(self, turn: NewTurn) -> StoredTurn:
        """Store a turn; a `request_id` seen before returns what was stored then.

        Raises:
            NotFound: the conversation is not this owner's.
            Conflict: the `request_id` was used for another question, or another answer to it is stored.
        """
        try:
            with self._database.session() as session:
                return _stored(session, turn) or _add(session, turn)
        except IntegrityError:  # a retry that ran beside its first attempt has lost: the other one's turn stands
            with self._database.reading() as session:
                if (stored := _stored(session, turn)) is None:
                    raise
                return stored

    def listing(self, user_id: str, *, limit: int = 100) -> Sequence[Conversation]:
        """The owner's conversations, newest first."""
        query = select(Conversation).where(Conversation.user_id == user_id).order_by(Conversation.id.desc())
        with self._database.reading() as session:
            return session.scalars(query.limit(limit)).all()

    def messages(self, conversation_id: str, user_id: str) -> Sequence[ChatMessage]:
        """The turns of one conversation, in order.

        Raises:
            NotFound: the conversation is not this owner's.
        """
        query = select(ChatMessage).where(ChatMessage.conversation_id == conversation_id).order_by(ChatMessage.seq)
        with self._database.reading() as session:
            _owned(session, conversation_id, user_id)
            return session.scalars(query).all()


def _owned(session: Session, conversation_id: str, user_id: str) -> Conversation:
    row = session.get(Conversation, conversation_id)
    if row is None or row.user_id != user_id:
        raise NotFound(f"no conversation {conversation_id}")
    return row


def _open(session: Session, turn: NewTurn) -> Conversation:
    if turn.conversation_id is not None:
        conversation = _owned(session, turn.conversation_id, turn.user_id)
        session.refresh(conversation, with_for_update=True)  # one writer at a time numbers the turns
        return conversation
    conversation = Conversation(user_id=turn.user_id, agent_id=turn.agent_id)
    session.add(conversation)
    session.flush()
    return conversation


def _add(session: Session, turn: NewTurn) -> StoredTurn:
    answer = _unless_forgotten(session, turn)  # first: who erases locks memories before all else too
    conversation = _open(session, turn)
    last = session.scalar(select(func.max(ChatMessage.seq)).where(ChatMessage.conversation_id == conversation.id))
    first = 0 if last is None else last + 1
    asked = ChatMessage(
        conversation_id=conversation.id,
        user_id=turn.user_id,
        seq=first,
        role="user",
        content=turn.question,
        request_id=turn.request_id,
    )
    answered = ChatMessage(
        conversation_id=conversation.id,
        user_id=turn.user_id,
        seq=first + 1,
        role="assistant",
        content=answer,
        request_id=turn.request_id,
        memory_ids=list(turn.memory_ids),
        adapter_version_id=turn.adapter_version_id,
        finish_reason=turn.finish_reason,
    )
    session.add_all([asked, answered])
    session.flush()
    return StoredTurn(conversation.id, asked.id, answered.id, asked.created_at)


def _unless_forgotten(session: Session, turn: NewTurn) -> str:
    """The answer; nothing of it when a memory that the model was shown was forgotten before it had answered."""
    shown = select(Memory.deleted_at).where(Memory.user_id == turn.user_id, Memory.id.in_(turn.memory_ids))
    gone = [at for at in session.scalars(shown.with_for_update(read=True)) if at is not None]
    return FORGOTTEN if gone else turn.answer


def _stored(session: Session, turn: NewTurn) -> StoredTurn | None:
    if turn.request_id is None:
        return None
    query = select(ChatMessage).where(ChatMessage.user_id == turn.user_id, ChatMessage.request_id == turn.request_id)
    rows = {row.role: row for row in session.scalars(query)}
    if not rows:
        return None
    if rows["user"].content != turn.question:
        raise Conflict(f"Idempotency-Key {turn.request_id!r} was used for another question; use a new one")
    if rows["assistant"].content not in (turn.answer, FORGOTTEN):
        raise Conflict(f"Idempotency-Key {turn.request_id!r}: another request was answered first; ask for its answer")
    asked = rows["user"]
    return StoredTurn(asked.conversation_id, asked.id, rows["assistant"].id, asked.created_at)

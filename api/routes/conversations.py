"""Stored chats, and what their owner preferred in them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from agents.conversations import Conversations
from agents.messages import Message
from api.auth import CurrentUser
from api.schemas import ConversationOut, FeedbackIn, FeedbackOut, MessageOut
from api.state import AppState, State
from personal_data.errors import InvalidInput, NotFound
from personal_data.records import ChatMessage, Feedback, Memory, User

router = APIRouter(prefix="/api", tags=["conversations"])


@router.get("/conversations")
def conversations(
    caller: CurrentUser, state: AppState, limit: Annotated[int, Query(ge=1, le=500)] = 100
) -> list[ConversationOut]:
    """The caller's conversations, newest first."""
    rows = Conversations(state.database).listing(caller.user_id, limit=limit)
    return [ConversationOut.model_validate(row) for row in rows]


@router.get("/conversations/{conversation_id}/messages")
def messages(conversation_id: str, caller: CurrentUser, state: AppState) -> list[MessageOut]:
    """The turns of one conversation, in order."""
    rows = Conversations(state.database).messages(conversation_id, caller.user_id)
    return [MessageOut.model_validate(row) for row in rows]


@router.post("/feedback", status_code=201)
def feedback(body: FeedbackIn, caller: CurrentUser, state: AppState) -> FeedbackOut:
    """Say which answer was better, or that one was good or not; the next improvement learns from it."""
    if (body.message_id is None) == (body.prompt is None):
        raise InvalidInput("give either message_id or prompt", param="message_id")
    if body.chosen is None and body.rejected is None:
        raise InvalidInput("give the chosen answer, the rejected one, or both", param="chosen")
    row = Feedback(user_id=caller.user_id, message_id=body.message_id, chosen=body.chosen, rejected=body.rejected)
    while True:
        with state.database.reading() as session:
            forgotten = _forgotten(session, caller.user_id)
        asked = _what_was_asked(state, row) if body.prompt is None else [Message("user", body.prompt)]
        if row.rejected == row.chosen:
            raise InvalidInput("chosen and rejected are the same text", param="rejected")
        seen = state.directory.of_user(caller.user_id).prompt_for(asked)
        row.prompt = [{"role": message.role, "content": message.content} for message in seen]
        with state.database.session() as session:
            session.get_one(User, caller.user_id, with_for_update={"read": True})
            if _forgotten(session, caller.user_id) == forgotten:  # else the prompt may show what is gone by now
                session.add(row)
                session.flush()
                return FeedbackOut.model_validate(row)
        row.rejected = body.rejected


@router.get("/feedback")
def given(caller: CurrentUser, state: AppState) -> list[FeedbackOut]:
    """What the caller has preferred so far, newest first."""
    query = select(Feedback).where(Feedback.user_id == caller.user_id).order_by(Feedback.id.desc())
    with state.database.reading() as session:
        return [FeedbackOut.model_validate(row) for row in session.scalars(query)]


def _forgotten(session: Session, user_id: str) -> int:
    """How many memories this person has forgotten so far."""
    gone = select(func.count()).where(Memory.user_id == user_id, Memory.deleted_at.is_not(None))
    return session.scalar(gone) or 0


def _what_was_asked(state: State, row: Feedback) -> list[Message]:
    """The turns that the answer replied to; a chosen text that differs from the answer rejects the answer."""
    with state.database.reading() as session:
        answer = session.get(ChatMessage, row.message_id)
        if answer is None or answer.user_id != row.user_id or answer.role != "assistant":
            raise NotFound(f"no answer {row.message_id}")
        query = select(ChatMessage).where(
            ChatMessage.conversation_id == answer.conversation_id, ChatMessage.seq < answer.seq
        )
        turns = list(session.scalars(query.order_by(ChatMessage.seq)))
    if row.rejected is None and row.chosen != answer.content:
        row.rejected = answer.content
    return [Message("user" if turn.role == "user" else "assistant", turn.content) for turn in turns]

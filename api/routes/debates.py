"""Asking a society."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response, StreamingResponse
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from api import debates, events
from api.attachments import Form, attachment
from api.auth import CurrentUser
from api.idempotency import RequestId
from api.schemas import DebateIn, DebateLine, DebateOut, OutcomeIn
from api.state import AppState, State
from api.streams import SSE_HEADERS, with_pings
from personal_data.errors import Conflict
from personal_data.records import Debate
from society.intake import for_reader
from society.learning import resolve
from society.report import as_text, report
from society.transcript import markdown, page

router = APIRouter(prefix="/api/debates", tags=["debates"])


@router.post("", status_code=202)
def ask(body: DebateIn, caller: CurrentUser, state: AppState, request_id: RequestId) -> DebateOut:
    """Put a question to a society; follow it under `/events`, read it any time."""
    plan = None if body.plan is None else body.plan.model_dump(exclude_none=True)
    bearing = debates.prepare(state, caller, body.society, body.question, plan)
    with state.database.session() as session:
        debate = debates.submit(
            session,
            user_id=caller.user_id,
            slug=body.society,
            question=body.question,
            deadline_s=state.settings.debate_deadline_s,
            seed=body.seed,
            kind=body.kind,
            topic=body.topic,
            plan=plan,
            learning=state.learning,
            bearing=bearing,
            request_id=request_id,
        )
        answer = _out(session, debate)
    state.debates.ring()
    return answer


@router.get("")
def asked(caller: CurrentUser, state: AppState, limit: Annotated[int, Query(ge=1, le=500)] = 100) -> list[DebateLine]:
    """The debates that the caller has asked for, newest first."""
    query = select(Debate).where(Debate.user_id == caller.user_id).order_by(Debate.id.desc()).limit(limit)
    with state.database.reading() as session:
        return [DebateLine.model_validate(row) for row in session.scalars(query)]


@router.get("/{debate_id}")
def read(debate_id: str, caller: CurrentUser, state: AppState) -> DebateOut:
    """A debate with everything known of it so far."""
    with state.database.reading() as session:
        return _out(session, for_reader(session, user_id=caller.user_id, debate_id=debate_id))


@router.get("/{debate_id}/events")
async def follow(
    debate_id: str,
    caller: CurrentUser,
    state: AppState,
    last_event_id: Annotated[str | None, Header(max_length=60)] = None,
) -> StreamingResponse:
    """What happens in a debate, as server-sent events; `Last-Event-ID` resumes after that event."""
    await run_in_threadpool(_check_reader, state, caller.user_id, debate_id)
    stream = with_pings(events.follow(state, caller, debate_id, last_event_id))
    return StreamingResponse(stream, media_type="text/event-stream", headers=SSE_HEADERS)


@router.get("/{debate_id}/transcript", response_class=Response)
def transcript(debate_id: str, caller: CurrentUser, state: AppState, form: Form = "json") -> Response:
    """The whole debate as a file: JSON, Markdown, or a page that draws it and needs nothing else."""
    with state.database.reading() as session:
        told = report(session, for_reader(session, user_id=caller.user_id, debate_id=debate_id))
    if form == "json":
        return attachment(debate_id, form, json.dumps(told, ensure_ascii=False, indent=2))
    return attachment(debate_id, form, markdown(told) if form == "md" else page(told))


@router.post("/{debate_id}/cancel")
def cancel(debate_id: str, caller: CurrentUser, state: AppState) -> DebateOut:
    """Stop a debate."""
    with state.database.session() as session:
        debate = debates.cancel(session, user_id=caller.user_id, debate_id=debate_id)
        return _out(session, debate)


@router.post("/{debate_id}/outcome")
def outcome(debate_id: str, body: OutcomeIn, caller: CurrentUser, state: AppState) -> DebateOut:
    """Say what turned out to be right."""
    with state.database.session() as session:
        debate = for_reader(session, user_id=caller.user_id, debate_id=debate_id)
        if debate.state != "done":
            raise Conflict("this debate has no verdict to compare an outcome with")
        debate.outcome = body.answer
        resolve(session, debate, body.answer)
        return _out(session, debate)


def _out(session: Session, debate: Debate) -> DebateOut:
    told = report(session, debate)
    return DebateOut(**told, text=as_text(told))


def _check_reader(state: State, user_id: str, debate_id: str) -> None:
    with state.database.reading() as session:
        for_reader(session, user_id=user_id, debate_id=debate_id)

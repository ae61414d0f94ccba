"""Asking the agent to draw facts from what its owner said, following it, taking it back; and the profile it keeps."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.auth import CurrentUser
from api.idempotency import RequestId
from api.routes.agents import own_agent
from api.schemas import CountOut, ProfileOut, ReflectionOut
from api.state import AppState
from personal_data.errors import Conflict, NotFound
from personal_data.profile import profile_of
from personal_data.records import Job, new_id
from training import ledger

router = APIRouter(prefix="/api", tags=["memories"])

_KIND = "reflect"


@router.post("/reflections", status_code=202)
def reflect(caller: CurrentUser, state: AppState, request_id: RequestId) -> ReflectionOut:
    """Look for facts and standing wishes in the caller's turns of late, in the background; while one reflection waits
    or runs, that one is the answer."""
    with state.database.session() as session:
        agent = own_agent(session, caller.user_id)
        session.refresh(agent, with_for_update=True)  # one request at a time looks for what is under way, and starts
        under_way = select(Job).where(
            Job.kind == _KIND, Job.subject_id == agent.id, Job.state.in_(("queued", "leased"))
        )
        job = session.scalars(under_way.order_by(Job.id).limit(1)).first() or ledger.enqueue(
            session,
            kind=_KIND,
            user_id=caller.user_id,
            subject_id=agent.id,
            idempotency_key=f"{_KIND}:{caller.user_id}:{request_id or new_id('req')}",
        )
        answer = ReflectionOut.model_validate(job)
    from training.jobs import nudge  # Celery loads at the first job, not at start

    nudge(answer.id, state.settings)
    return answer


@router.get("/reflections")
def reflections(
    caller: CurrentUser, state: AppState, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> list[ReflectionOut]:
    """The caller's reflections, newest first."""
    query = select(Job).where(Job.kind == _KIND, Job.user_id == caller.user_id).order_by(Job.id.desc())
    with state.database.reading() as session:
        return [ReflectionOut.model_validate(job) for job in session.scalars(query.limit(limit))]


@router.get("/reflections/{reflection_id}")
def read(reflection_id: str, caller: CurrentUser, state: AppState) -> ReflectionOut:
    """How far a reflection is, or what came of it."""
    with state.database.reading() as session:
        return ReflectionOut.model_validate(_own(session, caller.user_id, reflection_id))


@router.post("/reflections/{reflection_id}/cancel")
def cancel(reflection_id: str, caller: CurrentUser, state: AppState) -> ReflectionOut:
    """Stop a reflection; what it has found so far stays."""
    with state.database.session() as session:
        job = _own(session, caller.user_id, reflection_id)
        ledger.cancel(session, job.id)
        session.flush()
        return ReflectionOut.model_validate(job)


@router.post("/reflections/{reflection_id}/undo")
def undo(reflection_id: str, caller: CurrentUser, state: AppState) -> CountOut:
    """Forget all that a reflection added; what it had ended holds again. Its turns are not looked in once more."""
    with state.database.reading() as session:
        job = _own(session, caller.user_id, reflection_id)
    if job.result is None:
        raise Conflict(f"reflection {reflection_id} is {job.state}: there is nothing to take back")
    return CountOut(count=state.memory.forget_many(caller.user_id, job.result.get("added", [])))


@router.get("/profile")
def profile(caller: CurrentUser, state: AppState) -> ProfileOut:
    """What every prompt of the caller's shows: standing instructions, and the preferences that fit its budget."""
    with state.database.reading() as session:
        agent = own_agent(session, caller.user_id)
        found = profile_of(session, caller.user_id, agent.instructions, state.settings.profile_tokens)
    return ProfileOut.model_validate(found)


def _own(session: Session, user_id: str, job_id: str) -> Job:
    job = session.get(Job, job_id)
    if job is None or job.kind != _KIND or job.user_id != user_id:
        raise NotFound(f"no reflection {job_id}")
    return job

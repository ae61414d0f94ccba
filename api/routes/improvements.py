"""Asking for an improvement, and following it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.attachments import Form, attachment
from api.auth import CurrentUser
from api.idempotency import RequestId
from api.routes.agents import own_agent
from api.schemas import ImproveIn, ImprovementOut
from api.state import AppState, State
from personal_data.errors import InvalidInput, NotFound
from personal_data.records import Job, TrainingRun, new_id
from personal_data.settings import Settings
from training import ledger
from training.report.drawings import drawings
from training.report.markdown import markdown
from training.report.page import page
from training.report.record import report

router = APIRouter(prefix="/api/improvements", tags=["improvements"])

_KIND = "improve"


@router.post("", status_code=202)
def improve(body: ImproveIn, caller: CurrentUser, state: AppState, request_id: RequestId) -> ImprovementOut:
    """Improve the caller's agent in the background; while one improvement waits or runs, that one is the answer."""
    with state.database.session() as session:
        agent = own_agent(session, caller.user_id)
        session.refresh(agent, with_for_update=True)  # one request at a time looks for what is under way, and starts
        _check_trainable(state.settings, agent.model)
        job = _under_way(session, agent.id) or ledger.enqueue(
            session,
            kind=_KIND,
            user_id=caller.user_id,
            subject_id=agent.id,
            idempotency_key=f"{_KIND}:{caller.user_id}:{request_id or new_id('req')}",
            payload=body.model_dump(exclude_none=True),
        )
        answer = _out(session, job)
    _nudge(answer.id, state.settings)
    return answer


@router.get("")
def improvements(
    caller: CurrentUser, state: AppState, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> list[ImprovementOut]:
    """The caller's improvements, newest first."""
    query = select(Job).where(Job.kind == _KIND, Job.user_id == caller.user_id).order_by(Job.id.desc())
    with state.database.reading() as session:
        return [_out(session, job) for job in session.scalars(query.limit(limit))]


@router.get("/{improvement_id}")
def read(improvement_id: str, caller: CurrentUser, state: AppState) -> ImprovementOut:
    """How far an improvement is, what its stages measured and what the gate decided."""
    with state.database.reading() as session:
        return _out(session, _own(session, caller.user_id, improvement_id))


@router.get("/{improvement_id}/report", response_class=Response)
def read_report(improvement_id: str, caller: CurrentUser, state: AppState, form: Form = "json") -> Response:
    """The whole improvement as a file: JSON, Markdown, or a page that draws it and needs nothing else."""
    with state.database.reading() as session:
        found = report(session, _own(session, caller.user_id, improvement_id))
    if form == "json":
        return attachment(found.id, form, json.dumps(asdict(found), ensure_ascii=False, indent=2))
    return attachment(found.id, form, markdown(found) if form == "md" else page(found))


@router.get("/{improvement_id}/plots")
def plots(improvement_id: str, caller: CurrentUser, state: AppState) -> list[str]:
    """The names of all drawings of an improvement."""
    return list(_drawings(state, caller.user_id, improvement_id))


@router.get("/{improvement_id}/plots/{name}.svg", response_class=Response)
def plot(improvement_id: str, name: str, caller: CurrentUser, state: AppState) -> Response:
    """One drawing of an improvement as a file of its own."""
    found = _drawings(state, caller.user_id, improvement_id)
    if name not in found:
        told = ", ".join(found) or "none, nothing was recorded yet"
        raise NotFound(f"no plot {name[:100]!r} of improvement {improvement_id}; known: {told}")
    return attachment(f"{improvement_id}-{name}", "svg", found[name])


@router.post("/{improvement_id}/cancel")
def cancel(improvement_id: str, caller: CurrentUser, state: AppState) -> ImprovementOut:
    """Stop an improvement; nothing of it is published."""
    with state.database.session() as session:
        job = _own(session, caller.user_id, improvement_id)
        ledger.cancel(session, job.id)
        session.flush()
        return _out(session, job)


def _check_trainable(settings: Settings, name: str) -> None:
    model = settings.models.get(name)
    if model is None:
        raise InvalidInput(
            f"model {name!r} is not configured here any more: move the agent with `folkmoot agent --model NAME`",
            param="model",
        )
    if not model.trainable:
        raise InvalidInput(f"model {name!r} has no base weights here and cannot be trained", param="model")


def _under_way(session: Session, agent_id: str) -> Job | None:
    query = select(Job).where(
        Job.kind == _KIND,
        Job.subject_id == agent_id,
        Job.state.in_(("queued", "leased")),
        Job.cancel_requested.is_(False),
    )
    return session.scalars(query.order_by(Job.id).limit(1)).first()


def _own(session: Session, user_id: str, job_id: str) -> Job:
    job = session.get(Job, job_id)
    if job is None or job.kind != _KIND or job.user_id != user_id:
        raise NotFound(f"no improvement {job_id}")
    return job


def _drawings(state: State, user_id: str, job_id: str) -> dict[str, str]:
    with state.database.reading() as session:
        return drawings(report(session, _own(session, user_id, job_id)))


def _out(session: Session, job: Job) -> ImprovementOut:
    runs = select(TrainingRun).where(TrainingRun.job_id == job.id).order_by(TrainingRun.id)
    return ImprovementOut.of(job, list(session.scalars(runs)))


def _nudge(job_id: str, settings: Settings) -> None:
    """Ring the worker's bell; Celery loads at the first improvement, not at start."""
    from training.jobs import nudge

    nudge(job_id, settings)

"""Bringing data in: send an export, look at what is in it, say how it is to be imported, follow it, undo it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from sqlalchemy import Select, select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from api.auth import CurrentUser
from api.errors import PayloadTooLarge
from api.schemas import ChoiceIn, DateOrder, ImportOut, TimezoneName, UndoneOut
from api.state import AppState, State
from personal_data import importing
from personal_data.importers.parsed import Options
from personal_data.importing import Choice, Importing
from personal_data.records import Import, Job, new_id
from personal_data.settings import Settings
from personal_data.uploads import receiving, remove_upload
from training import ledger

router = APIRouter(prefix="/api/imports", tags=["imports"])
STREAMED = ("POST", "/api/imports")
"""The route that reads its own body, of any size that the settings allow."""

_KIND = "import"


@router.post("", status_code=202)
async def upload(
    request: Request,
    caller: CurrentUser,
    state: AppState,
    name: Annotated[str, Query(min_length=1, max_length=300)],
    timezone: TimezoneName = None,
    date_order: DateOrder = None,
) -> ImportOut:
    """Send an export as the request's body, as it is; it is looked at in the background, and nothing is imported yet.

    `timezone` (IANA) is where times without a zone were written, `date_order` what comes first in dates that do not
    tell.
    """
    import_id = new_id("imp")
    await _receive(request, state.settings, import_id, name)
    return await run_in_threadpool(_begin, state, caller.user_id, import_id, name, Options(date_order, timezone))


async def _receive(request: Request, settings: Settings, import_id: str, name: str) -> None:
    declared = request.headers.get("content-length", "")
    size = int(declared) if declared.isdecimal() else None
    _check(size or 0, settings)
    received = 0
    with receiving(settings, import_id, name, size) as file:
        async for chunk in request.stream():
            received += len(chunk)
            _check(received, settings)
            await run_in_threadpool(file.write, chunk)


def _check(size: int, settings: Settings) -> None:
    if size > settings.max_upload_bytes:
        raise PayloadTooLarge(f"an upload has at most {settings.max_upload_bytes:,} bytes; import it in parts")


def _begin(state: State, user_id: str, import_id: str, name: str, options: Options) -> ImportOut:
    try:
        with state.database.session() as session:
            begun = importing.begin(session, user_id, import_id, name, options)
            job = _enqueue(session, begun, "look")
            answer = ImportOut.of(begun, job)
    except BaseException:
        remove_upload(state.settings, import_id)
        raise
    _nudge(job.id, state.settings)
    return answer


@router.get("")
def imports(caller: CurrentUser, state: AppState) -> list[ImportOut]:
    """The caller's imports, newest first, without their parts."""
    with state.database.reading() as session:
        return [_out(session, begun, parts=0) for begun in importing.imports(session, caller.user_id)]


@router.get("/{import_id}")
def read(
    import_id: str, caller: CurrentUser, state: AppState, parts: Annotated[int, Query(ge=0, le=100_000)] = 1000
) -> ImportOut:
    """How far an import is, and what is known of its parts (files, channels, mailboxes): the first so many of them."""
    with state.database.reading() as session:
        return _out(session, importing.owned(session, caller.user_id, import_id), parts=parts)


@router.post("/{import_id}/run", status_code=202)
def run(import_id: str, body: ChoiceIn, caller: CurrentUser, state: AppState) -> ImportOut:
    """Import it: `me` names the speakers who are the caller. One that failed or broke off goes on."""
    choice = Choice(tuple(body.me), body.scope, Options(body.date_order, body.timezone))
    with state.database.session() as session:
        begun = importing.choose(session, caller.user_id, import_id, choice)
        session.flush()
        job = _under_way(session, import_id) or _enqueue(session, begun, "run")
        answer = ImportOut.of(begun, job)
    _nudge(job.id, state.settings)
    return answer


@router.delete("/{import_id}")
def undo(import_id: str, caller: CurrentUser, state: AppState) -> UndoneOut:
    """Forget what it brought and nothing else holds; one that runs is stopped, an upload that waits is removed."""
    forgotten = Importing(state.database, state.memory).undo(caller.user_id, import_id)
    with state.database.session() as session:
        if (job := _under_way(session, import_id)) is not None:
            ledger.cancel(session, job.id)
    remove_upload(state.settings, import_id)
    return UndoneOut(id=import_id, forgotten=forgotten)


def _enqueue(session: Session, begun: Import, step: str) -> Job:
    return ledger.enqueue(
        session,
        kind=_KIND,
        user_id=begun.user_id,
        subject_id=begun.id,
        idempotency_key=f"{_KIND}:{begun.id}:{new_id('req')}",
        payload={"step": step},
    )


def _under_way(session: Session, import_id: str) -> Job | None:
    """The job that imports it, while it waits or runs."""
    jobs = session.scalars(_jobs(import_id).where(Job.state.in_(("queued", "leased")), Job.cancel_requested.is_(False)))
    return next((job for job in jobs if job.payload["step"] == "run"), None)


def _jobs(import_id: str) -> Select[Job]:
    return select(Job).where(Job.kind == _KIND, Job.subject_id == import_id).order_by(Job.id.desc())


def _out(session: Session, begun: Import, *, parts: int) -> ImportOut:
    return ImportOut.of(begun, session.scalars(_jobs(begun.id).limit(1)).first(), parts=parts)


def _nudge(job_id: str, settings: Settings) -> None:
    """Ring the worker's bell; Celery loads when it is first rung, not at start."""
    from training.jobs import nudge

    nudge(job_id, settings)

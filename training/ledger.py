"""The job ledger: rows in SQL are the truth about background work, a broker only rings the bell.

Doors: `enqueue` inside the transaction of the business write; `claim` → `heartbeat`/`progress` → `finish` or `fail` by
whoever does the work; `sweep` by whoever ticks. It promises at-least-once execution and exactly-once recorded effect:
a worker may die at any moment and another one starts again, but only the holder of the newest fencing token can write.
It starts no process and sends no message. One row goes

    queued ──claim──▶ leased ──finish──▶ done
      ▲                 │ ├───fail(retry=False)──▶ failed
      └──lapse, retry───┘ ├───attempts used up───▶ dead
                          └───cancel─────────────▶ cancelled

`state == "leased"` is exclusive per (kind, subject_id), also while an expired lease has not been taken back yet. An
expired lease may be revived by its own heartbeat until then; afterwards every call of the old holder raises LeaseLost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, aliased

from personal_data.database import Database
from personal_data.errors import Conflict, InvalidInput, LeaseLost, NotFound
from personal_data.records import Job, now

RENUDGE_S = 15.0
"""A queued job whose bell went unheard is offered again after this many seconds."""
_LONGEST_RETRY_S = 300.0
_KEY_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a job until the lease lapses; `token` fences off everyone who held it before."""

    job_id: str
    kind: str
    user_id: str
    subject_id: str
    payload: dict[str, Any]
    token: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a heartbeat brings back: whether the owner wants the job stopped, and how far it says it is."""

    cancel_requested: bool
    progress: dict[str, Any]


def enqueue(
    session: Session,
    *,
    kind: str,
    user_id: str,
    subject_id: str,
    idempotency_key: str,
    payload: dict[str, Any] | None = None,
    not_before: float = 0.0,
    max_attempts: int = 5,
) -> Job:
    """Record a job in the caller's transaction; the same key again returns the existing row, whatever its state.

    `not_before` is in seconds since the epoch. A key that comes from outside must be prefixed with its user's id.

    Raises:
        Conflict: the key belongs to another user, or to another kind of work or subject.
        InvalidInput: the key is longer than 200 characters.
    """
    if len(idempotency_key) > _KEY_LENGTH:
        raise InvalidInput(f"an idempotency key has at most {_KEY_LENGTH} characters", param="idempotency_key")
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    row = {"kind": kind, "user_id": user_id, "subject_id": subject_id, "idempotency_key": idempotency_key}
    limits = {"payload": payload or {}, "not_before": not_before, "max_attempts": max_attempts}
    session.flush()
    session.execute(insert(Job).values(**row, **limits).on_conflict_do_nothing(index_elements=["idempotency_key"]))
    job = session.scalars(sa.select(Job).where(Job.idempotency_key == idempotency_key)).one()
    if (job.user_id, job.kind, job.subject_id) != (user_id, kind, subject_id):
        raise Conflict("this idempotency key was already used for something else; choose another one")
    return job


def claim(
    database: Database, *, lease_s: float, job_id: str | None = None, kinds: Sequence[str] | None = None
) -> Lease | None:
    """Take the oldest ready job, or just `job_id`, for `lease_s` seconds; None when nothing can be had right now."""
    with database.session() as session:
        clock = database.clock(session)
        _lapse(session, clock)
        wanted = sa.select(Job).where(*_ready(clock), *_of(kinds))
        if job_id is not None:
            wanted = wanted.where(Job.id == job_id)
        job = session.scalars(_locked(wanted.order_by(Job.created_at, Job.id).limit(1))).first()
        if job is None or not _alone(session, job):
            return None
        job.state, job.token, job.attempts = "leased", _next_token(session, job), job.attempts + 1
        job.lease_until, job.progress = clock + lease_s, {}
        return _lease(job)


def kind_of(database: Database, job_id: str) -> str | None:
    """The kind of a job; None where there is no such job."""
    with database.reading() as session:
        return session.scalar(sa.select(Job.kind).where(Job.id == job_id))


def lease_of(database: Database, job_id: str, token: int) -> Lease:
    """The lease that a worker handed to its child process as (job id, token).

    Raises:
        LeaseLost: the token is not the newest any more.
    """
    with database.reading() as session:
        return _lease(_held(session, job_id, token))


def heartbeat(database: Database, lease: Lease, lease_s: float) -> Pulse:
    """Hold the job for another `lease_s` seconds from now.

    Raises:
        LeaseLost: somebody else may hold it by now.
    """
    with database.session() as session:
        job = _held(session, lease.job_id, lease.token)
        job.lease_until = database.clock(session) + lease_s
        return Pulse(job.cancel_requested, job.progress)


def progress(database: Database, lease: Lease, stage: str, done: int, total: int, note: str = "") -> bool:
    """Show `done` of `total` steps of `stage`; the answer says whether the owner wants the job stopped.

    Raises:
        LeaseLost: somebody else may hold it by now.
    """
    with database.session() as session:
        job = _held(session, lease.job_id, lease.token)
        job.progress = {"stage": stage, "done": done, "total": total, "note": note}
        return job.cancel_requested


def fence(session: Session, lease: Lease) -> None:
    """Lock the job's row until the caller's transaction ends: what is written beside it is written by the holder.

    Raises:
        LeaseLost: the token is stale; the caller's transaction must be rolled back.
    """
    _held(session, lease.job_id, lease.token)


def finish(session: Session, lease: Lease, result: dict[str, Any]) -> None:
    """Close the job in the caller's transaction, the one that also writes its effect.

    Raises:
        LeaseLost: the token is stale; the caller's transaction must be rolled back.
        Conflict: the owner has cancelled the job; the caller's transaction must be rolled back, and the attempt failed.
    """
    job = _held(session, lease.job_id, lease.token)
    if job.cancel_requested:
        raise Conflict(f"job {job.id} was cancelled by its owner: nothing of it is kept")
    job.result = result
    _close(job, "done", error=None)


def fail(database: Database, lease: Lease, error: str, *, retry: bool) -> str:
    """Record a failed attempt; with `retry` it waits 2, 4, 8 … 300 s for its next one. Returns the new state.

    Raises:
        LeaseLost: somebody else may hold it by now.
    """
    with database.session() as session:
        job = _held(session, lease.job_id, lease.token)
        if not retry and not job.cancel_requested:
            _close(job, "failed", error)
        else:
            _requeue(job, error, at=database.clock(session) + min(2.0**job.attempts, _LONGEST_RETRY_S))
        return job.state


def release(database: Database, lease: Lease) -> None:
    """Hand the job back untried: the holder has to stop, through no fault of the job.

    Raises:
        LeaseLost: somebody else may hold it by now.
    """
    with database.session() as session:
        job = _held(session, lease.job_id, lease.token)
        job.attempts -= 1
        _requeue(job, job.error, at=job.not_before)


def cancel(session: Session, job_id: str) -> Job:
    """Stop a job: at once while it waits, within its next heartbeat while it runs, where it cannot finish any more.
    Cancelling twice is fine.

    The caller checks whose job it is.

    Raises:
        NotFound: there is no such job.
        Conflict: it has ended already.
    """
    job = session.scalars(_locked(sa.select(Job).where(Job.id == job_id), skip=False)).first()
    if job is None:
        raise NotFound(f"there is no job {job_id!r}")
    if job.state == "leased":
        job.cancel_requested = True
    elif job.state == "queued":
        _close(job, "cancelled", error=None)
    elif job.state != "cancelled":
        raise Conflict(f"job {job_id} has ended already: it is {job.state}")
    return job


def sweep(
    database: Database, *, kinds: Sequence[str] | None = None, renudge_s: float = RENUDGE_S, limit: int = 100
) -> list[str]:
    """Take back expired leases, bury jobs without attempts left, and return the ids of ready jobs nobody has taken.

    Only jobs of `kinds` are returned (None: all; empty: none), `limit` at most, each once every `renudge_s` seconds.
    """
    with database.session() as session:
        clock = database.clock(session)
        _lapse(session, clock)
        unheard = sa.or_(Job.nudged_at.is_(None), Job.nudged_at <= clock - renudge_s)
        waiting = sa.select(Job).where(*_ready(clock), *_of(kinds), unheard).order_by(Job.created_at, Job.id)
        jobs = session.scalars(_locked(waiting.limit(limit))).all()
        for job in jobs:
            job.nudged_at = clock
        return [job.id for job in jobs]


def _ready(clock: float) -> tuple[sa.ColumnElement[bool], ...]:
    other = aliased(Job)
    same_subject = sa.and_(other.kind == Job.kind, other.subject_id == Job.subject_id, other.state == "leased")
    return Job.state == "queued", Job.not_before <= clock, ~sa.exists().where(same_subject).correlate(Job)


def _of(kinds: Sequence[str] | None) -> tuple[sa.ColumnElement[bool], ...]:
    return () if kinds is None else (Job.kind.in_(kinds),)


def _locked(statement: sa.Select[Job], *, skip: bool = True) -> sa.Select[Job]:
    """Lock the rows (PostgreSQL; SQLite's transactions are serial already) and read them afresh."""
    return statement.with_for_update(of=Job, skip_locked=skip).execution_options(populate_existing=True)


def _alone(session: Session, job: Job) -> bool:
    """Whether no other job of this kind and subject is leased, decided one claimer at a time.

    Two claimers on PostgreSQL can each hold one queued row of the same subject, and neither sees the other's update.
    The lock makes the second wait for the first one's commit; its next statement then sees it.
    """
    if session.get_bind().dialect.name == "sqlite":
        return True
    subject = sa.func.hashtextextended(f"{job.kind}:{job.subject_id}", 0)
    session.execute(sa.select(sa.func.pg_advisory_xact_lock(subject)))
    rival = sa.exists().where(Job.kind == job.kind, Job.subject_id == job.subject_id, Job.state == "leased")
    return not session.scalar(sa.select(rival))


def _held(session: Session, job_id: str, token: int) -> Job:
    ours = sa.select(Job).where(Job.id == job_id, Job.token == token, Job.state == "leased")
    job = session.scalars(_locked(ours, skip=False)).first()
    if job is None:
        raise LeaseLost(f"job {job_id}: the lease with token {token} is gone; stop and publish nothing")
    return job


def _next_token(session: Session, job: Job) -> int:
    """Tokens rise over all jobs of a subject: a later job fences off whatever an earlier one left running."""
    newest = sa.select(sa.func.max(Job.token)).where(Job.kind == job.kind, Job.subject_id == job.subject_id)
    return (session.scalar(newest) or 0) + 1


def _lease(job: Job) -> Lease:
    return Lease(job.id, job.kind, job.user_id, job.subject_id, dict(job.payload), job.token, job.attempts)


def _lapse(session: Session, clock: float) -> None:
    expired = sa.select(Job).where(Job.state == "leased", Job.lease_until < clock)
    for job in session.scalars(_locked(expired)).all():
        _requeue(job, "its worker died or stalled: the lease ran out", at=job.not_before)
    session.flush()


def _requeue(job: Job, error: str | None, *, at: float) -> None:
    if job.cancel_requested:
        _close(job, "cancelled", error=None)
    elif job.attempts >= job.max_attempts:
        _close(job, "dead", f"gave up after {job.attempts} attempts; the last one: {error}")
    else:
        job.state, job.lease_until, job.nudged_at = "queued", None, None
        job.not_before, job.error = at, error


def _close(job: Job, state: str, error: str | None) -> None:
    job.state, job.error = state, error
    job.lease_until, job.finished_at = None, now()

"""Debates run in the api process, under ledger leases: any api process takes up what another one left.

Doors: `submit`, `cancel` and `settle` inside a route's transaction; `DebateRunner`, the application's background task.
A debate's verdict and the end of its job commit together, so a crash leaves either a finished debate or one that is
run again, without repeating the calls that its positions table already holds.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from agents.directory import AgentDirectory
from api.keys import Caller
from personal_data.database import Database
from personal_data.errors import Conflict, FolkmootError, LeaseLost
from personal_data.records import Debate, Job, Society, User, new_id, now
from personal_data.settings import Settings
from personal_data.sharing import society_scope
from society.intake import for_reader, open_debate, to_look_at
from society.learning import Learning
from training import ledger
from training.ledger import Lease, Pulse

if TYPE_CHECKING:
    from api.state import State

log = logging.getLogger(__name__)

KIND = "debate"
AT_ONCE = 8


def submit(
    session: Session,
    *,
    user_id: str,
    slug: str,
    question: str,
    deadline_s: float,
    seed: int | None = None,
    kind: str = "closed",
    topic: str = "general",
    plan: Mapping[str, Any] | None = None,
    learning: Learning | None = None,
    bearing: Mapping[str, float] | None = None,
    request_id: str | None = None,
) -> Debate:
    """Record a question and the job to debate it; the same `request_id` again returns the same debate.

    Raises:
        InvalidInput, NotFound, Conflict: from `open_debate`; or the `request_id` was used for another question.
    """
    key = f"{KIND}:{user_id}:{request_id or new_id('req')}"
    if (known := _asked_before(session, key, slug=slug, question=question)) is not None:
        return known
    user = session.get_one(User, user_id)
    try:
        with session.begin_nested():
            debate = open_debate(
                session,
                user=user,
                slug=slug,
                question=question,
                deadline_s=deadline_s,
                learning=learning,
                bearing=bearing,
                seed=seed,
                kind=kind,
                topic=topic,
                plan=plan,
            )
            ledger.enqueue(session, kind=KIND, user_id=user_id, subject_id=debate.id, idempotency_key=key)
    except Conflict:  # perhaps a retry that ran beside its first attempt: then that one's debate stands
        if (known := _asked_before(session, key, slug=slug, question=question)) is None:
            raise
        return known
    return debate


def prepare(
    state: State, caller: Caller, slug: str, question: str, plan: Mapping[str, Any] | None = None
) -> Mapping[str, float]:
    """Before a question is recorded, and outside its transaction: learn what is to be learnt of the society, and in a
    large one look whose shared memories bear on the question.

    Raises:
        NotFound: no such society for this person.
    """
    state.learning.prepare(state.database, slug)
    with state.database.reading() as session:
        owners = to_look_at(session, user_id=caller.user_id, slug=slug, plan=plan)
    return state.memory.bearing(owners, question, society_scope(slug)) if owners else {}


def _asked_before(session: Session, key: str, *, slug: str, question: str) -> Debate | None:
    query = select(Debate, Society.slug).join(Job, Job.subject_id == Debate.id).join(Society)
    row = session.execute(query.where(Job.idempotency_key == key)).one_or_none()
    if row is None:
        return None
    debate, asked = row
    if (debate.question, asked) != (question.strip(), slug):
        raise Conflict("this Idempotency-Key was used for another question or society; use a new one")
    return debate


def cancel(session: Session, *, user_id: str, debate_id: str) -> Debate:
    """Stop the caller's own debate: at once while it waits, within a heartbeat while it runs.

    Raises:
        NotFound: it is not theirs.
        Conflict: it has ended.
    """
    debate = for_reader(session, user_id=user_id, debate_id=debate_id)
    job = session.scalars(select(Job).where(Job.kind == KIND, Job.subject_id == debate.id)).one()
    ledger.cancel(session, job.id)
    session.flush()
    settle(session)
    return debate


def settle(session: Session) -> None:
    """Close the debates whose jobs ended without a verdict: cancelled, failed, or out of attempts."""
    query = (
        select(Debate, Job)
        .join(Job, (Job.subject_id == Debate.id) & (Job.kind == KIND))
        .where(Debate.state == "queued", Job.state.in_(("failed", "dead", "cancelled")))
    )
    for debate, job in session.execute(query):
        debate.state, debate.error, debate.finished_at = "failed", job.error or job.state, now()


class DebateRunner:
    """Claims waiting debates, a few at a time, and keeps their leases while they run."""

    def __init__(
        self, database: Database, directory: AgentDirectory, settings: Settings, learning: Learning | None = None
    ) -> None:
        self._database = database
        self._learning = learning or Learning()
        self._directory = directory
        self._lease_s = settings.lease_s
        self._sweep_s = settings.sweep_s
        self._bell = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: set[asyncio.Task[None]] = set()

    def ring(self) -> None:
        """Say, from any thread, that there is work; unheard, it is found at the next sweep."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._bell.set)

    async def run(self) -> None:
        """Serve until cancelled; then hand back what is unfinished, so that the next process starts with it at once."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                self._bell.clear()
                try:
                    await self._take_what_waits()
                except (FolkmootError, SQLAlchemyError) as error:
                    log.warning("debates wait for the database: %s", error)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._bell.wait(), self._sweep_s)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _take_what_waits(self) -> None:
        while len(self._running) < AT_ONCE:
            lease = await asyncio.to_thread(ledger.claim, self._database, lease_s=self._lease_s, kinds=(KIND,))
            if lease is None:
                break
            task = asyncio.create_task(self._hold(lease), name=lease.subject_id)
            self._running.add(task)
            task.add_done_callback(self._done)
        await asyncio.to_thread(self._settle)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._bell.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("debate %s stopped; its lease will lapse and it is tried again", task.get_name(), exc_info=error)

    async def _hold(self, lease: Lease) -> None:
        """Run one debate and renew its lease meanwhile."""
        debate = asyncio.create_task(self._debate(lease))
        try:
            while not (await asyncio.wait({debate}, timeout=self._lease_s / 3))[0]:
                pulse = await asyncio.to_thread(self._heartbeat, lease)
                if pulse is not None and pulse.cancel_requested:
                    await self._hand_back(lease, debate)
                    return
            await debate
        except LeaseLost:
            log.info("debate %s goes on in another process", lease.subject_id)
        except FolkmootError as error:
            await asyncio.to_thread(ledger.fail, self._database, lease, str(error), retry=True)
        except asyncio.CancelledError:
            await self._hand_back(lease, debate)
            raise
        finally:
            debate.cancel()

    def _heartbeat(self, lease: Lease) -> Pulse | None:
        """None when the database is busy or restarting: the lease may well outlast that."""
        try:
            return ledger.heartbeat(self._database, lease, self._lease_s)
        except OperationalError as error:
            log.warning("debate %s: a heartbeat failed (%s)", lease.subject_id, error.orig)
            return None

    async def _debate(self, lease: Lease) -> None:
        run_debate = await asyncio.to_thread(_load_run_debate)
        await run_debate(
            self._database,
            self._directory,
            lease.subject_id,
            learning=self._learning,
            fence=partial(ledger.fence, lease=lease),
            finish=partial(ledger.finish, lease=lease, result={}),
        )

    async def _hand_back(self, lease: Lease, debate: asyncio.Task[None]) -> None:
        debate.cancel()
        await asyncio.wait({debate})
        with suppress(LeaseLost):
            await asyncio.to_thread(ledger.release, self._database, lease)

    def _settle(self) -> None:
        with self._database.session() as session:
            settle(session)


def _load_run_debate() -> Callable[..., Any]:
    """LangGraph takes a second to import: at the first debate, and not on the event loop."""
    run_debate: Callable[..., Any] = importlib.import_module("society.debate").run_debate
    return run_debate

"""Erasures: recorded, carried out in the background, taken up again after any crash, and answered with a receipt.

Doors: `begin` inside a route's transaction; `Eraser`, the application's background task. An erasure goes through
stages, each of which may be done again:

    rows      memories, what was made from them and what quotes them, batch by batch; adapters are retired and jobs
              that have read them cancelled in the same transactions, so that nothing of it is published later
    traces    adapter files, the database's journal and free pages, the index's files; then every byte of the data
              folder is looked at
    account   (everything alone) the person and their keys

What was removed is known by digests while it is looked for; the receipt holds numbers and reasons.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from agents.adapters import AdapterStore
from agents.retiring import retire
from api import receipts
from api.purging import purge_index
from personal_data.database import Database
from personal_data.erasure import account, rows, targets
from personal_data.erasure.marks import Marks
from personal_data.erasure.rows import Erased
from personal_data.erasure.targets import Wish
from personal_data.erasure.traces import look
from personal_data.errors import Conflict, FolkmootError, NotFound, StorageError
from personal_data.memory import Memory
from personal_data.outbox import batches
from personal_data.portability.tables import Owner
from personal_data.records import (
    AdapterVersion,
    Agent,
    Erasure,
    ErasureMark,
    Import,
    Job,
    User,
    now,
)
from personal_data.settings import Settings
from training import ledger

log = logging.getLogger(__name__)

_IMPROVE = "improve"
_UPLOADS = "uploads"
_PATIENCE_S = 60.0
"""How much longer than its lease a job that was cancelled may take to end."""
_POLL_S = 0.2


def begin(session: Session, user_id: str, wish: Wish) -> Erasure:
    """Record what is to be erased.

    Raises:
        Conflict: the administrator's account cannot be erased.
    """
    if "everything" in wish and session.get_one(User, user_id).admin:
        raise Conflict("the administrator's account runs this Folkmoot and cannot be erased; delete its data folder")
    erasure = Erasure(user_id=user_id, what=wish)
    session.add(erasure)
    session.flush()
    return erasure


class Eraser:
    """Carries erasures out, one after the other."""

    def __init__(self, settings: Settings, database: Database, memory: Memory) -> None:
        self._settings, self._database, self._memory = settings, database, memory
        self._store = AdapterStore(settings.adapters_dir)
        self._bell = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._one_at_a_time = threading.Lock()

    def ring(self) -> None:
        """Say, from any thread, that there is work; unheard, it is found at the next sweep."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._bell.set)

    async def run(self) -> None:
        """Carry out what was recorded, until cancelled."""
        self._loop = asyncio.get_running_loop()
        while True:
            self._bell.clear()
            await asyncio.to_thread(self.work)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._bell.wait(), self._settings.sweep_s)

    def work(self) -> None:
        """Carry out every erasure that is not done. Blocks."""
        with self._database.reading() as session:
            waiting = session.scalars(select(Erasure.id).where(Erasure.state != "done").order_by(Erasure.id)).all()
        for erasure_id in waiting:
            try:
                self.carry_out(erasure_id)
            except (FolkmootError, SQLAlchemyError) as error:
                log.warning("erasure %s goes on later: %s", erasure_id, error)

    def carry_out(self, erasure_id: str) -> Erasure:
        """Do what is left of one; returns it done. Blocks."""
        with self._one_at_a_time:
            while (erasure := self._read(erasure_id)).state != "done":
                self._stage(erasure)
            return erasure

    def _stage(self, erasure: Erasure) -> None:
        owner = self._owner(erasure.user_id)
        {"rows": self._rows, "traces": self._traces, "account": self._account}[erasure.stage](erasure, owner)

    # -- rows ----------------------------------------------------------------------------------------------------------

    def _rows(self, erasure: Erasure, owner: Owner) -> None:
        wish = erasure.what
        source = wish.get("source", "")
        self._stop_jobs(owner, of=None if "everything" in wish else source)
        if "everything" in wish:
            self._await_jobs(owner)
        self._remove_uploads(owner, wish)
        if "everything" in wish:
            self._erase(erasure, owner, lambda session: account.erase_belongings(session, owner))
        self._erase(erasure, owner, lambda session: rows.erase_import(session, owner, source))  # it stops, if it runs
        while ids := self._memories(owner, wish):
            for batch in batches(ids):
                self._erase(erasure, owner, partial(rows.erase_memories, owner=owner, memory_ids=batch))
            if "memory" in wish:
                break
        self._erase(erasure, owner, lambda session: rows.erase_conversation(session, owner, source))
        self._memory.let_go(owner.user_id)
        while self._memory.drain_outbox():
            pass
        with self._database.session() as session:
            session.get_one(Erasure, erasure.id).stage = "traces"

    def _memories(self, owner: Owner, wish: Wish) -> list[str]:
        with self._database.reading() as session:
            return targets.memories_of(session, owner.user_id, wish)

    def _erase(self, erasure: Erasure, owner: Owner, erase: Callable[[Session], Erased]) -> None:
        """One transaction: rows, what follows from them for adapters and jobs, and the marks of what went."""
        with self._database.session() as session:
            erased = erase(session)
            learners = set(erased.debaters)
            if owner.agent_id and (erased.feedback_ids or erased.memory_ids):
                learners.add(owner.agent_id)
            for agent_id in sorted(learners):
                self._retire(session, erasure, agent_id, erased)
            note(session, erasure.id, erased)

    def _retire(self, session: Session, erasure: Erasure, agent_id: str, erased: Erased) -> None:
        """Take back what was learned from it, stop what is learning from it, and let it be learned anew without it.

        A debate is learned from by all who were heard in it: what another person's agent made of it goes too.
        """
        agent = session.get(Agent, agent_id)
        if agent is None:
            return
        live, is_own = agent.live_version_id, agent.user_id == erasure.user_id
        gone = {"feedback": erased.feedback_ids, "memories": erased.memory_ids, "debates": erased.debate_ids}
        retired = retire(session, agent_id, gone=gone, since=erased.since if is_own else now())
        running = select(Job).where(Job.kind == _IMPROVE, Job.subject_id == agent_id, Job.state == "leased")
        stopped = [
            ledger.cancel(session, job.id)
            for job in session.scalars(running)
            if not job.cancel_requested and (is_own or "debates" in (job.payload.get("stages") or ()))
        ]
        whose = "" if is_own else "others' "
        erased.removed[f"{whose}adapter versions"] += len(retired)
        erased.removed[f"{whose}running jobs"] += len(stopped)
        lost = [session.get_one(Job, version.job_id) for version in retired if version.id == live] + stopped
        model = self._settings.models.get(agent.model)
        if lost and model is not None and model.trainable:
            ledger.enqueue(
                session,
                kind=_IMPROVE,
                user_id=agent.user_id,
                subject_id=agent_id,
                idempotency_key=f"{_IMPROVE}:{erasure.id}{'' if is_own else f':{agent_id}'}",
                payload=dict(lost[0].payload),
            )

    def _remove_uploads(self, owner: Owner, wish: Wish) -> None:
        """What was sent to be imported lies in a folder of the import's name until it is; packed, no scan would see it.

        Raises:
            StorageError: the disk refuses.
        """
        with self._database.reading() as session:
            imports = select(Import.id).where(Import.user_id == owner.user_id)
            mine = [one for one in session.scalars(imports) if "everything" in wish or one == wish.get("source")]
        for import_id in mine:
            try:
                shutil.rmtree(self._settings.data_dir / _UPLOADS / import_id)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StorageError(f"uploads of {import_id}: {error.strerror or error}") from error

    # -- jobs ----------------------------------------------------------------------------------------------------------

    def _stop_jobs(self, owner: Owner, of: str | None = None) -> None:
        """Cancel the owner's jobs, or those that work on one subject of theirs."""
        with self._database.session() as session:
            running = select(Job.id).where(Job.user_id == owner.user_id, Job.state.in_(("queued", "leased")))
            if of is not None:
                running = running.where(Job.subject_id == of)
            for job_id in session.scalars(running).all():
                ledger.cancel(session, job_id)

    def _await_jobs(self, owner: Owner) -> bool:
        """Wait for the end of the jobs that were cancelled; whether all have ended."""
        deadline = time.monotonic() + _PATIENCE_S + 2 * self._settings.lease_s
        stopping = select(Job.id).where(Job.user_id == owner.user_id, Job.state == "leased", Job.cancel_requested)
        while time.monotonic() < deadline:
            ledger.sweep(self._database, kinds=())  # where no worker is left to take a lease back
            with self._database.reading() as session:
                if session.scalar(stopping.limit(1)) is None:
                    return True
            time.sleep(_POLL_S)
        return False

    # -- traces --------------------------------------------------------------------------------------------------------

    def _traces(self, erasure: Erasure, owner: Owner) -> None:
        reasons = list(receipts.out_of_reach(self._settings, self._database, erasure, owner))
        if not self._await_jobs(owner):
            reasons.append("a cancelled job still runs: what it writes is removed when the next worker starts")
        self._remove_adapters(erasure, owner)
        with self._database.reading() as session:
            stored = session.scalars(select(ErasureMark.digests).where(ErasureMark.erasure_id == erasure.id))
            marks = Marks.from_bytes(stored.all())
        self._clean_database(marks)
        reasons += purge_index(self._settings, self._memory)
        reasons += receipts.index_to_tell(self._database, owner)
        found = look(self._database, self._settings.data_dir, marks)
        with self._database.session() as session:
            kept = session.get_one(Erasure, erasure.id)
            kept.residue = found.residue
            kept.could_not = [*reasons, *receipts.told(found)]
            if "everything" in erasure.what:
                kept.stage = "account"
            else:
                _close(session, kept)

    def _remove_adapters(self, erasure: Erasure, owner: Owner) -> None:
        """Files of retired versions, and what stopped jobs have left."""
        retired = select(AdapterVersion).where(
            AdapterVersion.agent_id == owner.agent_id, AdapterVersion.retired_at.is_not(None)
        )
        with self._database.reading() as session:
            versions = session.scalars(retired).all()
        for version in versions:
            self._store.remove(version)
        if "everything" in erasure.what and owner.agent_id:
            self._store.remove_all(owner.agent_id)
        self._store.collect_garbage(self._database)

    def _clean_database(self, marks: Marks) -> None:
        """Get its bytes out of the database's files; it is written anew where they are still there after that.

        Raises:
            StorageError: somebody reads or writes for so long that it cannot be: the erasure goes on later.
        """
        refused = self._database.scour()
        if self._in_database(marks):
            refused = self._database.scour(rewrite=True)
            if refused is not None and self._in_database(marks):
                raise StorageError(f"the database cannot be cleaned now: {refused}")

    def _in_database(self, marks: Marks) -> bool:
        return bool(look(self._database, self._settings.data_dir, marks, "folkmoot.db*").residue)

    # -- account -------------------------------------------------------------------------------------------------------

    def _account(self, erasure: Erasure, owner: Owner) -> None:
        with self._database.session() as session:
            account.erase_person(session, owner)
        self._database.scour()
        with self._database.session() as session:
            _close(session, session.get_one(Erasure, erasure.id))

    def _read(self, erasure_id: str) -> Erasure:
        with self._database.reading() as session:
            found = session.get(Erasure, erasure_id)
        if found is None:
            raise NotFound(f"no erasure {erasure_id}")
        return found

    def _owner(self, user_id: str) -> Owner:
        with self._database.reading() as session:
            return Owner(user_id, session.scalar(select(Agent.id).where(Agent.user_id == user_id)) or "")


def note(session: Session, erasure_id: str, erased: Erased) -> None:
    """Add to a receipt what one transaction removed, and keep its marks until all files have been looked at."""
    erasure = session.get_one(Erasure, erasure_id, with_for_update=True)
    counts = {kind: erasure.removed.get(kind, 0) + count for kind, count in erased.removed.items() if count}
    erasure.removed = erasure.removed | counts
    marks = erased.marks()
    if len(marks):
        session.add(ErasureMark(erasure_id=erasure_id, digests=marks.to_bytes()))
    session.flush()


def _close(session: Session, erasure: Erasure) -> None:
    erasure.state, erasure.finished_at = "done", now()
    session.execute(delete(ErasureMark).where(ErasureMark.erasure_id == erasure.id))

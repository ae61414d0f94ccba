"""A debate as a job: asked twice it is one, a busy database does not drop it, cancelled it has no verdict."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from agents.messages import Completion, Message, SamplingParams, Usage
from api import debates
from api.debates import KIND, DebateRunner
from personal_data.database import Database
from personal_data.errors import Conflict
from personal_data.records import Debate, Job, User, Verdict
from personal_data.settings import Settings
from tests.village import ScriptedModel, Village, says
from training import ledger
from training.ledger import Lease


@pytest.fixture
def ada(village: Village) -> User:
    ada, ben = village.add("ada", says("answer: 4")), village.add("ben", says("answer: 4"))
    village.found(ada, ben)
    return ada


def submit(
    session: Session, user: User, *, question: str = "What is 2 + 2?", slug: str = "moot", key: str = "k"
) -> str:
    asked = debates.submit(session, user_id=user.id, slug=slug, question=question, deadline_s=30.0, request_id=key)
    return asked.id


def ask(village: Village, user: User, **how: str) -> str:
    with village.database.session() as session:
        return submit(session, user, **how)


def test_the_same_key_is_the_same_debate_and_never_another_question(village: Village, ada: User) -> None:
    first = ask(village, ada)
    assert ask(village, ada, question="  What is 2 + 2? ") == first
    for other in ({"question": "What is 3 + 3?"}, {"slug": "elsewhere"}):
        with pytest.raises(Conflict, match="used for another question or society"):
            ask(village, ada, **other)
    assert ask(village, ada, key="another") != first


def test_a_retry_beside_its_first_attempt_gets_that_ones_debate(postgresql: Database) -> None:
    village = Village(postgresql)
    user = village.add("ada", says("answer: 4"))
    village.found(user)
    waits = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )

    def somebody_waits() -> bool:
        with postgresql.reading() as session:
            return bool(session.scalar(waits))

    with ThreadPoolExecutor(1) as pool:
        with postgresql.session() as session:
            first = submit(session, user)
            retry = pool.submit(ask, village, user)
            give_up = time.monotonic() + 60
            while not somebody_waits() and time.monotonic() < give_up:
                threading.Event().wait(0.01)
        assert retry.result(60) == first
    with postgresql.reading() as session:
        assert session.scalars(sa.select(Debate.id)).all() == [first]


class FaultyDatabase(Database):
    """A database whose next `away` sessions find it locked."""

    away = 0

    @contextmanager
    def session(self) -> Iterator[Session]:
        if self.away:
            self.away -= 1
            raise OperationalError("BEGIN", {}, sqlite3.OperationalError("database is locked"))
        with super().session() as session:
            yield session


@dataclass
class Meanwhile(ScriptedModel):
    """Answers after something else has happened."""

    happens: Callable[[], Awaitable[None]] | None = None

    async def complete(self, messages: Sequence[Message], params: SamplingParams, *, adapter: Any = None) -> Completion:
        assert self.happens is not None
        await self.happens()
        return Completion("answer: 4", "stop", Usage(1, 1), "scripted")


def alone(database: Database, happens: Callable[[], Awaitable[None]]) -> tuple[Village, User]:
    village = Village(database)
    user = village.add("ada", says("answer: 4"))
    village.found(user)
    for agent_id in village.models:
        village.models[agent_id] = Meanwhile(says(""), happens=happens)
    return village, user


def hold(village: Village, settings: Settings) -> Lease:
    """Run the debate that waits, as the api does."""
    lease = ledger.claim(village.database, lease_s=settings.lease_s, kinds=(KIND,))
    assert lease is not None
    runner = DebateRunner(village.database, village, settings)  # type: ignore[arg-type]
    asyncio.run(runner._hold(lease))
    return lease


def verdicts(database: Database) -> int:
    with database.reading() as session:
        return session.scalars(sa.select(sa.func.count()).select_from(Verdict)).one()


def test_a_busy_database_costs_a_heartbeat_and_not_the_debate(database: Database, settings: Settings) -> None:
    faulty = FaultyDatabase(database.url)

    async def two_heartbeats_fail() -> None:
        faulty.away = 2
        while faulty.away:
            await asyncio.sleep(0.01)

    village, user = alone(faulty, two_heartbeats_fail)
    debate_id = ask(village, user)
    hold(village, settings.model_copy(update={"lease_s": 3.0}))
    with database.reading() as session:
        assert session.get_one(Debate, debate_id).state == "done"


def test_a_debate_cancelled_at_the_last_moment_has_no_verdict(any_database: Database, settings: Settings) -> None:
    async def cancel() -> None:
        with any_database.session() as session:
            debates.cancel(session, user_id=user.id, debate_id=debate_id)

    village, user = alone(any_database, cancel)
    debate_id = ask(village, user)
    lease = hold(village, settings)
    assert verdicts(any_database) == 0
    with any_database.session() as session:
        assert session.get_one(Job, lease.job_id).state == "cancelled"
        debates.settle(session)
        debate = session.get_one(Debate, debate_id)
        assert (debate.state, debate.error) == ("failed", "cancelled")

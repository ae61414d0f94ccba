"""Schedules on both databases: late at worst, never double."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from personal_data.database import Database
from personal_data.records import Agent, Job, Model, User
from training import ledger, schedule

HOUR = 3600.0


class SteppedDatabase(Database):
    """A database whose clock stands where the test puts it."""

    at = 0.0

    def clock(self, session: Session) -> float:
        return self.at


@pytest.fixture
def stepped(any_database: Database) -> SteppedDatabase:
    """Ada's agent improves itself every hour from 1000.0 on; Bob's has no schedule."""
    database = SteppedDatabase(any_database.url)
    database.at = 1000.0
    with database.session() as session:
        session.add(Model(name="m", kind="engine", lineage="l"))
        session.add_all([User(id="usr_ada", handle="ada", name="Ada"), User(id="usr_bob", handle="bob", name="Bob")])
        session.flush()
        ada = Agent(
            id="agt_ada", user_id="usr_ada", handle="ada", model="m", improve_every_s=HOUR, schedule_from=1000.0
        )
        session.add_all([ada, Agent(id="agt_bob", user_id="usr_bob", handle="bob", model="m")])
    return database


def keys(database: Database) -> list[str]:
    with database.session() as session:
        return list(session.scalars(sa.select(Job.idempotency_key).order_by(Job.created_at, Job.id)))


def finish(database: Database) -> None:
    lease = ledger.claim(database, lease_s=60.0)
    assert lease is not None
    with database.session() as session:
        ledger.finish(session, lease, {})


def test_a_slot_makes_one_job_however_often_it_is_ticked(stepped: SteppedDatabase) -> None:
    (job_id,) = schedule.due(stepped)
    assert schedule.due(stepped) == []
    finish(stepped)
    stepped.at += HOUR - 1
    assert schedule.due(stepped) == []
    stepped.at += 1
    assert len(schedule.due(stepped)) == 1
    assert keys(stepped) == ["improve:agt_ada:1000000:0", "improve:agt_ada:1000000:1"]
    with stepped.session() as session:
        job = session.get_one(Job, job_id)
        assert (job.kind, job.user_id, job.subject_id) == ("improve", "usr_ada", "agt_ada")


def test_a_slot_brings_a_reflection_beside_the_improvement(stepped: SteppedDatabase) -> None:
    for _ in range(2):
        made = [len(schedule.due(stepped, kind)) for kind in schedule.KINDS]
    assert made == [0, 0]
    assert sorted(keys(stepped)) == ["improve:agt_ada:1000000:0", "reflect:agt_ada:1000000:0"]


def test_a_missed_week_makes_one_job(stepped: SteppedDatabase) -> None:
    stepped.at += 7 * 24 * HOUR + 5
    assert len(schedule.due(stepped)) == 1
    finish(stepped)
    assert schedule.due(stepped) == []
    assert keys(stepped) == ["improve:agt_ada:1000000:168"]


def test_a_schedule_that_is_set_anew_counts_from_its_own_beginning(stepped: SteppedDatabase) -> None:
    for slot in range(3):
        stepped.at = 1000.0 + slot * HOUR
        assert len(schedule.due(stepped)) == 1
        finish(stepped)
    stepped.at += 60
    with stepped.session() as session:
        session.execute(sa.update(Agent).where(Agent.id == "agt_ada").values(schedule_from=stepped.at))
    assert len(schedule.due(stepped)) == 1, "its first slot begins now"
    finish(stepped)
    assert schedule.due(stepped) == []
    stepped.at += HOUR
    assert len(schedule.due(stepped)) == 1


def test_slots_do_not_queue_up_behind_an_unfinished_improvement(stepped: SteppedDatabase) -> None:
    schedule.due(stepped)
    for _ in range(5):
        stepped.at += HOUR
        assert schedule.due(stepped) == []
    finish(stepped)
    assert len(schedule.due(stepped)) == 1
    assert keys(stepped) == ["improve:agt_ada:1000000:0", "improve:agt_ada:1000000:5"]


def test_nothing_is_due_before_the_first_slot_or_after_a_step_back(stepped: SteppedDatabase) -> None:
    stepped.at = 999.0
    assert schedule.due(stepped) == []
    stepped.at = 1000.0 + HOUR
    schedule.due(stepped)
    finish(stepped)
    stepped.at -= HOUR / 2
    schedule.due(stepped)
    finish(stepped)
    stepped.at += HOUR / 2
    assert schedule.due(stepped) == []


@pytest.mark.parametrize("every", [None, 0.0])
def test_a_disabled_schedule_does_nothing(stepped: SteppedDatabase, every: float | None) -> None:
    with stepped.session() as session:
        session.execute(sa.update(Agent).values(improve_every_s=every))
    assert schedule.due(stepped) == []


def test_many_tickers_at_once_make_one_job(stepped: SteppedDatabase) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: schedule.due(stepped), range(12)))
    assert keys(stepped) == ["improve:agt_ada:1000000:0"]


def test_the_real_clock_is_understood(stepped: SteppedDatabase, any_database: Database) -> None:
    begin = time.time() - 1.5 * HOUR
    with stepped.session() as session:
        session.execute(sa.update(Agent).where(Agent.id == "agt_ada").values(schedule_from=begin))
    assert len(schedule.due(any_database)) == 1
    (key,) = keys(stepped)
    _, _, begin_ms, slot = key.split(":")
    assert (slot, int(begin_ms)) == ("1", pytest.approx(begin * 1000, abs=1))

"""The record of a run keeps what happened, also where a database cannot write it down as it is."""

from __future__ import annotations

import math
from typing import Any

import sqlalchemy as sa

from agents.backend import SampledTokens
from agents.messages import Message
from personal_data.database import Database
from personal_data.records import Agent, Job, Judgement, Model, TrainingRun, User
from personal_data.records import Rollout as RolloutRow
from training.journal import ROOM, Journal, open_run
from training.judge import Ruling
from training.rollouts import Rollout, Task


def begun(any_database: Database) -> Journal:
    with any_database.session() as session:
        session.add_all([User(id="u", handle="u", name="U"), Model(name="m", kind="engine", lineage="l")])
        session.flush()
        session.add(Agent(id="a", user_id="u", handle="u", model="m"))
        session.add(Job(id="j", kind="improve", user_id="u", subject_id="a", idempotency_key="k"))
    return open_run(
        any_database,
        job_id="j",
        token=1,
        stage="environment",
        agent_id="a",
        parent_version_id=None,
        recipe={},
        made_from={},
        data_sha256=None,
    )


def test_what_no_database_takes_is_stored_as_missing(any_database: Database) -> None:
    """A step that is not finite is skipped up to three times, so it must be possible to write one down."""
    run = begun(any_database)
    task = Task((Message("user", "0"),), "0")
    rollout = Rollout(0, task, SampledTokens((1,), (2,), (-1.0,), "a\0b\ud800", "stop"))
    numbers = {"loss": math.nan, "kl": 0.5, "info": {"r": [math.inf, 1, "x", None]}}
    run.step(numbers, [rollout], {"r": [math.nan], "s": [1.0]}, [-math.inf])
    run.step({"loss": 0.25})
    with any_database.session() as session:
        assert session.get_one(TrainingRun, run.run_id).steps == [
            {"step": 0, "loss": None, "kl": 0.5, "info": {"r": [None, 1, "x", None]}},
            {"step": 1, "loss": 0.25},
        ]
        row = session.scalars(sa.select(RolloutRow)).one()
        assert (row.rewards, row.advantage, row.completion) == ({"r": None, "s": 1.0}, None, "a\ufffdb\ufffd")


def test_what_judges_said_is_stored_once_and_with_its_step(any_database: Database) -> None:
    run = begun(any_database)
    run.hear(Ruling("first?", "A\0", ("first",)))
    run.keep_rulings()
    run.hear(Ruling("first?", "A\0", ("first",)))
    run.hear(Ruling("how good?", None, None))
    run.hear(Ruling("how good?", "0: 7", (math.nan, 7)))
    run.step({"loss": 0.5})
    run.hear(Ruling("last?", "?", None))
    with any_database.session() as session:
        run.decide(session, "refused", [], None)
    assert stored(any_database) == [
        (None, "first?", "A\ufffd", ["first"]),
        (0, "how good?", None, None),
        (0, "how good?", "0: 7", [None, 7]),
        (None, "last?", "?", None),
    ]
    assert left_out(any_database, run) == 0


def test_judgements_beyond_the_room_of_a_step_are_counted(any_database: Database) -> None:
    run = begun(any_database)
    run.step({"loss": 0.5})
    assert left_out(any_database, run) is None, "no judge was asked"
    for step in range(2):
        for place in range(10):
            run.hear(Ruling(f"{step} {place}".ljust(ROOM // 4), "", None))
        run.step({"loss": 0.5})
    assert [step for step, *_ in stored(any_database)] == [1] * 4 + [2] * 4
    assert left_out(any_database, run) == 2 * 6
    shown = [prompt.strip()[2:] for _, prompt, *_ in stored(any_database)]
    assert shown[:4] == sorted(shown[:4]) != ["0", "1", "2", "3"], "drawn by chance, in the order of asking"


def stored(database: Database) -> list[tuple[int | None, str, str | None, list[Any] | None]]:
    with database.session() as session:
        rows = session.scalars(sa.select(Judgement).order_by(Judgement.id))
        return [(row.step, row.prompt, row.said, row.verdict) for row in rows]


def left_out(database: Database, run: Journal) -> int | None:
    with database.session() as session:
        return session.get_one(TrainingRun, run.run_id).judgements_left_out

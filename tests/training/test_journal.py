"""The record of a run keeps what happened, also where a database cannot write it down as it is."""

from __future__ import annotations

import math

import sqlalchemy as sa

from agents.backend import SampledTokens
from agents.messages import Message
from personal_data.database import Database
from personal_data.records import Agent, Job, Model, TrainingRun, User
from personal_data.records import Rollout as RolloutRow
from training.journal import open_run
from training.rollouts import Rollout, Task


def test_what_no_database_takes_is_stored_as_missing(any_database: Database) -> None:
    """A step that is not finite is skipped up to three times, so it must be possible to write one down."""
    with any_database.session() as session:
        session.add_all([User(id="u", handle="u", name="U"), Model(name="m", kind="engine", lineage="l")])
        session.flush()
        session.add(Agent(id="a", user_id="u", handle="u", model="m"))
        session.add(Job(id="j", kind="improve", user_id="u", subject_id="a", idempotency_key="k"))
    run = open_run(
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

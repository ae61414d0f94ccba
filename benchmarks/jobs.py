"""Improvement jobs as a worker runs them, in a data folder of their own, for the benchmarks of learning."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from agents.adapters import Adapter, AdapterStore, read_adapter
from agents.engine.base import Base
from personal_data.database import Database
from personal_data.records import AdapterVersion, Agent, Model, TrainingRun, User
from personal_data.settings import BUILTIN_BASE, ModelSettings, Settings, prepare_data_dir
from training import ledger
from training.improve import improve
from training.rewards.registry import REWARDS, Makers


@dataclass
class Place:
    """One person with an agent on the built-in model."""

    settings: Settings
    database: Database
    jobs: int = 0

    def improve(self, payload: dict[str, Any], *, rewards: Makers = REWARDS) -> tuple[dict[str, Any], float]:
        """One job; its result and its seconds."""
        self.jobs += 1
        with self.database.session() as session:
            job = ledger.enqueue(
                session,
                kind="improve",
                user_id="ada",
                subject_id="ada",
                idempotency_key=f"benchmark {self.jobs}",
                payload=payload,
            )
            job_id = job.id
        lease = ledger.claim(self.database, lease_s=3600, job_id=job_id)
        assert lease is not None
        started = time.perf_counter()
        result = improve(self.settings, self.database, lease, progress=lambda *_: None, rewards=rewards)
        return result, time.perf_counter() - started

    def live_adapter(self, base: Base) -> Adapter | None:
        """What the agent answers with now; None: the bare base."""
        with self.database.session() as session:
            agent = session.get_one(Agent, "ada")
            live = session.get(AdapterVersion, agent.live_version_id) if agent.live_version_id else None
        if live is None:
            return None
        return read_adapter(AdapterStore(self.settings.adapters_dir).path(live), base_sha256=base.sha256)

    def last_steps(self) -> list[dict[str, Any]]:
        """The numbers of every step of the run that began last."""
        with self.database.session() as session:
            found = session.scalars(sa.select(TrainingRun).order_by(TrainingRun.id.desc())).first()
            return list(found.steps) if found is not None else []


@contextmanager
def place() -> Iterator[Place]:
    """A fresh one, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="folkmoot-benchmark-") as folder:
        settings = Settings(data_dir=Path(folder), models={"nursery": ModelSettings(base=BUILTIN_BASE)})
        prepare_data_dir(settings)
        database = Database(settings.database)
        database.migrate()
        with database.session() as session:
            session.add_all(
                [User(id="ada", handle="ada", name="Ada"), Model(name="nursery", kind="engine", lineage="n")]
            )
            session.flush()
            session.add(Agent(id="ada", user_id="ada", handle="ada", model="nursery"))
        yield Place(settings, database)
        database.dispose()

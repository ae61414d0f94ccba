"""Improvement jobs as a worker runs them, in a data folder of their own, for the benchmarks of learning.

Door: `place`, one person with an agent, who may want a smile at the end of every answer.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import sqlalchemy as sa

from agents import prompts
from agents.adapters import AdapterStore, read_adapter
from agents.engine.base import load_base
from agents.engine.lora import AdapterStack
from agents.messages import Message
from personal_data.database import Database
from personal_data.records import AdapterVersion, Agent, Feedback, Model, TrainingRun, User
from personal_data.settings import BUILTIN_BASE, ModelSettings, Settings, prepare_data_dir
from training import ledger
from training.improve import improve
from training.nursery.language import Speech
from training.packing import SharedPromptPolicy
from training.rewards.registry import REWARDS, Makers

PAIRS = 56
SMILE = " :)"
Talk = list[tuple[tuple[Message, ...], str]]
"""Prompts with their plain answers."""


def talk(seed: str, count: int) -> Talk:
    """Prompts with three memories and a question about one of them."""
    rng = Random(seed)
    speech = Speech(rng)
    talk: Talk = []
    for _ in range(count):
        owner = speech.person()
        facts = [speech.fact(owner) for _ in range(3)]
        question = Message("user", rng.choice(facts[0].questions(by_owner=True)))
        lines = [prompts.MemoryLine(owner, fact.first_person()) for fact in rng.sample(facts, 3)]
        talk.append(((prompts.system(owner, lines), question), facts[0].second_person()))
    return talk


@dataclass
class Place:
    """One person with an agent."""

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

    def wants_a_smile(self, seed: int, *, flipped: Collection[int] = ()) -> None:
        """The owner has said so of `PAIRS` answers, and the opposite of those whose numbers are `flipped`."""
        with self.database.session() as session:
            for number, (messages, answer) in enumerate(talk(f"benchmark preferences {seed}", PAIRS)):
                turns = [{"role": message.role, "content": message.content} for message in messages]
                smiling, plain = answer + SMILE, answer
                chosen, rejected = (plain, smiling) if number in flipped else (smiling, plain)
                session.add(Feedback(user_id="ada", prompt=turns, chosen=chosen, rejected=rejected))

    @property
    def has_learned(self) -> bool:
        """Whether the agent answers with an adapter."""
        return self._live() is not None

    def policy(self) -> SharedPromptPolicy:
        """The agent as it answers now, in slot 1; the bare base is in slot 0."""
        base, live = load_base(self.settings.models["nursery"].base or BUILTIN_BASE), self._live()
        if live is None:
            return SharedPromptPolicy(base, AdapterStack(base, slots=2, rank=1))
        adapter = read_adapter(AdapterStore(self.settings.adapters_dir).path(live), base_sha256=base.sha256)
        stack = AdapterStack(base, slots=2, rank=adapter.rank)
        stack.load(1, adapter)
        return SharedPromptPolicy(base, stack)

    def _live(self) -> AdapterVersion | None:
        with self.database.session() as session:
            agent = session.get_one(Agent, "ada")
            return session.get(AdapterVersion, agent.live_version_id) if agent.live_version_id else None

    def last_steps(self) -> list[dict[str, Any]]:
        """The numbers of every step of the run that began last."""
        with self.database.session() as session:
            found = session.scalars(sa.select(TrainingRun).order_by(TrainingRun.id.desc())).first()
            return list(found.steps) if found is not None else []


@contextmanager
def place(base: str = BUILTIN_BASE) -> Iterator[Place]:
    """A fresh one, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="folkmoot-benchmark-") as folder:
        settings = Settings(data_dir=Path(folder), models={"nursery": ModelSettings(base=base)})
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

"""Claims: an agent learns its owner's style from some dozens of preferences, and fast answering from slow thinking.

`python -m benchmarks.improvement` runs whole improvement jobs on the built-in model, as a worker would, over several
seeds: the preferences alone, practice rewarded by the truth, practice rewarded by the frozen and blind judge, and the
demo's job, which does both. Following and kept skills are measured on the benchmark's own items, which no gate saw;
practice on the gate's held-out ones. It needs nothing but this repository, and about two minutes a job on 2 cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from statistics import fmean, stdev
from typing import Any

from agents import prompts
from agents.adapters import AdapterStore, read_adapter
from agents.engine.base import Base, load_base
from agents.engine.lora import AdapterStack
from agents.messages import Message
from benchmarks.figures import Figure, finish, machine
from personal_data.database import Database
from personal_data.records import AdapterVersion, Agent, Feedback, Model, User
from personal_data.settings import BUILTIN_BASE, ModelSettings, Settings, prepare_data_dir
from training import ledger
from training.improve import improve
from training.nursery.language import Speech
from training.packing import SharedPromptPolicy
from training.suite import answer_greedily, make_suite

PAIRS = 56
FOLLOWED_N = 200
SUITE = {"per_family": 40, "recall": 200, "work_tokens": 160}
SUITE_SEED = 4_000_000_000
SMILE = " :)"
ORDER = {"name": "order", "difficulty": 2}
JOBS: dict[str, dict[str, Any]] = {
    "preferences": {"stages": ["preferences"]},
    "practice, truth": {"stages": ["environment"], "environment": ORDER | {"reward": "truth"}},
    "practice, blind": {"stages": ["environment"], "environment": ORDER | {"reward": "blind"}},
    "both, blind": {"environment": ORDER | {"reward": "blind"}},
}
"""The last one is the demo's."""
WANTED = {"style_followed": 0.25, "practice_truth": 0.05, "practice_blind": 0.04}

Talk = list[tuple[tuple[Message, ...], str]]
"""Prompts with their plain answers."""


@dataclass(frozen=True, slots=True)
class Skills:
    """Shares of greedy answers: style followed, recall right, other tasks right (with work)."""

    followed: float
    recall: float
    tasks: float
    tasks_n: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One job: its result, its seconds, and the agent's skills before and after."""

    result: dict[str, Any]
    seconds: float
    before: Skills
    after: Skills

    def change(self, skill: str) -> float:
        return float(getattr(self.after, skill) - getattr(self.before, skill))

    @property
    def practised(self) -> dict[str, Any] | None:
        """The gate's check of the practised family; None when no candidate was measured."""
        gates = [stage["gate"] or {} for stage in self.result["stages"]]
        found = [check for gate in gates for check in gate.get("checks", []) if check["name"].startswith("order")]
        return found[0] if found else None

    @property
    def practice_gain(self) -> float:
        """The gain that reached the agent: a candidate that the gate refused gains nothing."""
        passed = {stage["stage"] for stage in self.result["stages"] if stage["decision"] == "published"}
        check = self.practised
        return 0.0 if check is None or "environment" not in passed else float(check["after"] - check["before"])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--base", default=BUILTIN_BASE, help="the model to improve, as in settings")
    options = parser.parse_args(arguments)
    print(f"improvement of {options.base}, {options.seeds} seeds, {machine()}")
    columns = " ".join(f"{name:>14}" for name in ("followed", "practised", "recall", "tasks"))
    print(f"{'job':16} seed seconds {columns}  decisions")
    measured: dict[str, list[Measured]] = {name: [] for name in JOBS}
    for seed in range(options.seeds):
        for name, payload in JOBS.items():
            measured[name].append(_job(options.base, payload | {"seed": seed}))
            _print(name, seed, measured[name][-1])
    return finish(_figures(measured))


def _job(base: str, payload: dict[str, Any]) -> Measured:
    with tempfile.TemporaryDirectory(prefix="folkmoot-benchmark-") as folder:
        settings = Settings(data_dir=Path(folder), models={"nursery": ModelSettings(base=base)})
        prepare_data_dir(settings)
        database = Database(settings.database)
        database.migrate()
        _person(database, payload["seed"])
        lease = ledger.claim(database, lease_s=3600, job_id=_enqueue(database, payload))
        assert lease is not None
        started = time.perf_counter()
        result = improve(settings, database, lease, progress=lambda *_: None)
        seconds = time.perf_counter() - started
        before = _of_base(base)
        after = before if result["version"] is None else _of_version(settings, database, result["version"]["id"])
        database.dispose()
    return Measured(result, seconds, before, after)


def _person(database: Database, seed: int) -> None:
    """An owner who wants a smile at the end of every answer, and has said so of some dozens of them."""
    with database.session() as session:
        session.add_all([User(id="ada", handle="ada", name="Ada"), Model(name="nursery", kind="engine", lineage="n")])
        session.flush()
        session.add(Agent(id="ada", user_id="ada", handle="ada", model="nursery"))
        for messages, answer in talk(f"benchmark preferences {seed}", PAIRS):
            turns = [{"role": message.role, "content": message.content} for message in messages]
            session.add(Feedback(user_id="ada", prompt=turns, chosen=answer + SMILE, rejected=answer))


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


def _enqueue(database: Database, payload: dict[str, Any]) -> str:
    with database.session() as session:
        job = ledger.enqueue(
            session, kind="improve", user_id="ada", subject_id="ada", idempotency_key="benchmark", payload=payload
        )
        return job.id


@cache
def _of_base(base: str) -> Skills:
    """The model as it comes, on items that no gate saw."""
    loaded = load_base(base)
    return _measure(loaded, AdapterStack(loaded, slots=2, rank=1))


def _of_version(settings: Settings, database: Database, version_id: str) -> Skills:
    """The same items with a published adapter."""
    base = load_base(settings.models["nursery"].base or BUILTIN_BASE)
    with database.session() as session:
        version = session.get_one(AdapterVersion, version_id)
    adapter = read_adapter(AdapterStore(settings.adapters_dir).path(version), base_sha256=base.sha256)
    stack = AdapterStack(base, slots=2, rank=adapter.rank)
    stack.load(1, adapter)
    return _measure(base, stack)


def _measure(base: Base, stack: AdapterStack) -> Skills:
    """Under slot 1; an empty slot is the base."""
    policy = SharedPromptPolicy(base, stack)
    asked = [messages for messages, _ in talk("benchmark followed", FOLLOWED_N)]
    followed = fmean(one.text.endswith(SMILE) for one in answer_greedily(policy, asked, slot=1, max_tokens=48))
    suite = make_suite(SUITE_SEED, **SUITE).measure(policy, 1, lambda _: None)
    tasks = suite["tasks"]
    return Skills(followed, suite["recall"].accuracy, tasks.accuracy, len(tasks.right))


def _print(name: str, seed: int, measured: Measured) -> None:
    check = measured.practised
    practised = "-" if check is None else f"{check['before']:.3f} -> {check['after']:.3f}"
    skills = {
        skill: f"{getattr(measured.before, skill):.3f} -> {getattr(measured.after, skill):.3f}"
        for skill in ("followed", "recall", "tasks")
    }
    decisions = ", ".join(f"{stage['stage']} {stage['decision']}" for stage in measured.result["stages"])
    columns = (skills["followed"], practised, skills["recall"], skills["tasks"])
    print(f"{name:16} {seed:4} {measured.seconds:7.1f} {' '.join(f'{column:>14}' for column in columns)}  {decisions}")
    for reason in measured.result["reasons"]:
        print(f"{'':21} {reason}", flush=True)


def _figures(measured: dict[str, list[Measured]]) -> list[Figure]:
    rows = [row for jobs in measured.values() for row in jobs]
    gains = {
        "style_followed": [row.change("followed") for row in measured["preferences"]],
        "practice_truth": [row.practice_gain for row in measured["practice, truth"]],
        "practice_blind": [row.practice_gain for row in measured["practice, blind"]],
    }
    kept = {skill: [row.change(skill) for row in rows] for skill in ("recall", "tasks")}
    ns = f"followed {FOLLOWED_N}, recall {SUITE['recall']}, tasks {rows[0].before.tasks_n}"
    print(f"means over seeds +- their spread; n: {ns}, practised as the reasons say")
    for name, values in (gains | kept).items():
        print(f"{name:16} {fmean(values):+.3f} +- {stdev(values) if len(values) > 1 else 0:.3f}")
    return [
        *(Figure(f"improvement.{name}_gain", fmean(gains[name]), ">=", wanted) for name, wanted in WANTED.items()),
        *(Figure(f"improvement.{name}_change", fmean(values), ">=", -0.03) for name, values in kept.items()),
        *(Figure(f"improvement.{name}_worst", min(values), ">=", -0.08) for name, values in kept.items()),
        Figure("improvement.demo_seconds", max(row.seconds for row in measured["both, blind"]), "<=", 90),
    ]


if __name__ == "__main__":
    sys.exit(main())

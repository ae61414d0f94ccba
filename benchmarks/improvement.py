"""Claims: an agent learns its owner's style from some dozens of preferences, keeps it while it practises, and keeps all
else.

`python -m benchmarks.improvement` runs whole improvement jobs on the built-in model, as a worker would, over several
seeds: the preferences alone, and the demo's job, which practises as well. Following and kept skills are measured on the
benchmark's own items, which no gate saw; practice on the gate's held-out ones. What practice gains by itself is in
`benchmarks.learning`. It needs nothing but this repository, and about two minutes a job on 2 cores.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, stdev
from typing import Any

from benchmarks.figures import Figure, finish, machine
from benchmarks.jobs import SMILE, place, talk
from personal_data.settings import BUILTIN_BASE
from training.packing import SharedPromptPolicy
from training.suite import answer_greedily, make_suite

FOLLOWED_N = 200
SUITE = {"per_family": 40, "recall": 200, "work_tokens": 160}
SUITE_SEED = 4_000_000_000
JOBS: dict[str, dict[str, Any]] = {
    "preferences": {"stages": ["preferences"]},
    "both": {"environment": {"name": "order", "difficulty": 2, "reward": "blind", "steps": 30}},
}
"""The last one is the demo's."""
WANTED = {"style_followed": 0.25, "practised": 0.04}


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
    with place(base) as here:
        here.wants_a_smile(payload["seed"])
        result, seconds = here.improve(payload)
        after = _measure(here.policy()) if here.has_learned else _of_base(base)
    return Measured(result, seconds, _of_base(base), after)


@cache
def _of_base(base: str) -> Skills:
    """The model as it comes, on items that no gate saw."""
    with place(base) as here:
        return _measure(here.policy())


def _measure(policy: SharedPromptPolicy) -> Skills:
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
        "practised": [row.practice_gain for row in measured["both"]],
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
        Figure("improvement.demo_seconds", max(row.seconds for row in measured["both"]), "<=", 90),
    ]


if __name__ == "__main__":
    sys.exit(main())

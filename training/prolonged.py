"""When learning over many cycles may let go of where it began: ProRL's reference reset (Liu et al. 2025), kept short.

A prolonged policy is held to the original base, cycle after cycle. When three evaluations in a row have not beaten
what was best before, and something was published since, the reference becomes what is live now; the optimiser is new
in every cycle anyway. Each reset lets the agent drift further, so it ends where the drift does: an agent that says
what its base would hardly say is refused further cycles. Door: `course`, a pure decision on earlier cycles, and
`earlier_cycles`, which reads them from the records.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from statistics import median
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from personal_data.records import AdapterVersion, TrainingRun

PATIENCE = 3
MOST_DRIFT = 0.3
_STEADY = 5
"""One step's estimate of KL has heavy tails; the median of the last five has not."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """An earlier cycle that came to an evaluation.

    `task` is what it practised, `score` what its candidate reached on held-out items, `drift` that candidate's mean KL
    to the original base in nats a token, `reference` the version that it was held to (None: the base), `version_id`
    what it published.
    """

    task: str
    score: float
    drift: float | None
    reference: str | None
    version_id: str | None


@dataclass(frozen=True, slots=True)
class Course:
    """How the next cycle goes: the version it is held to (None: the original base), and why it may not be at all."""

    reference: str | None = None
    refused: str | None = None


def course(cycles: Sequence[Cycle], task: str, *, built_on: Sequence[str], patience: int = PATIENCE) -> Course:
    """Decide from an agent's earlier cycles, oldest first.

    Args:
        task: what is practised next; scores of other tasks say nothing of it.
        built_on: the live version and those that it builds on, newest first. A reference that was rolled back is none.
    """
    published = [one for one in cycles if one.version_id in built_on]
    drift = published[-1].drift if published else None
    if drift is not None and drift > MOST_DRIFT:
        told = f"the agent is {drift:.2f} nats a token away from its original base, more than {MOST_DRIFT}"
        return Course(refused=f"{told}: no further prolonged cycles; roll back to an earlier version to go on")
    held = cycles[-1].reference if cycles else None
    if held is not None and held not in built_on:
        return Course()
    since = list(takewhile(lambda one: one.reference == held, reversed(cycles)))[::-1]
    scores = [one.score for one in since if one.task == task]
    passed = any(one.version_id in built_on for one in since)
    return Course(built_on[0] if passed and stagnant(scores, patience) else held)


def stagnant(scores: Sequence[float], patience: int) -> bool:
    """Whether none of the last `patience` scores is above the best before them."""
    before, recent = scores[:-patience], scores[-patience:]
    return bool(before) and max(recent) <= max(before)


def earlier_cycles(session: Session, agent_id: str, model: str) -> list[Cycle]:
    """The agent's prolonged cycles on a model that came to an evaluation, oldest first."""
    runs = sa.select(TrainingRun).filter_by(agent_id=agent_id, stage="environment").order_by(TrainingRun.id)
    made = sa.select(AdapterVersion.job_id, AdapterVersion.token, AdapterVersion.id).filter_by(agent_id=agent_id)
    versions = {(job_id, token): version_id for job_id, token, version_id in session.execute(made).tuples()}
    return [
        Cycle(
            task=task_of(run.recipe),
            score=_score(run.gate),
            drift=_drift(run.steps),
            reference=run.gate.get("reference"),
            version_id=versions.get((run.job_id, run.token)) if run.decision == "published" else None,
        )
        for run in session.scalars(runs)
        if run.recipe.get("recipe", {}).get("prolonged") and run.recipe.get("model") == model
        if run.gate and run.gate.get("checks")
    ]


def task_of(recipe: Mapping[str, Any]) -> str:
    """What a recorded recipe practises."""
    return f"{recipe['name']} {recipe['difficulty']}"


def _score(gate: Mapping[str, Any]) -> float:
    """The share of held-out items that were right, above the difficulty that was reached: where this follows the agent,
    it is what rises."""
    return float(gate["checks"][0]["after"] + gate.get("difficulty", [0])[-1])


def _drift(steps: Collection[Mapping[str, Any]]) -> float | None:
    known = [step["kl_base"] for step in steps if step.get("kl_base") is not None]
    return median(known[-_STEADY:]) if known else None

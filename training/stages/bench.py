"""What stages share: the slots, the bench they work on, how they end, and the checks that every candidate passes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from agents.messages import Message
from training import preference
from training.gate import Check, Verdict, kept
from training.monitors import Monitors
from training.preference import EncodedAnswer, EncodedDislike, EncodedPair
from training.rewards.registry import REWARDS, Makers
from training.rollouts import TokenPair, TrainablePolicy
from training.suite import Outcome, Suite

START, INCUMBENT, POLICY = 1, 2, 3
"""The cycle-start snapshot (the frozen judge), where this stage starts (its reference), what it trains."""
PROCESS = 4
"""A reward model that learns along with the policy, in a bench that has one."""
SLOTS = 4
"""Without it."""
ANCHOR = 5
"""An earlier version that prolonged learning is held to, in a bench that has one."""

Tell = Callable[[int, int, str], None]
"""Progress: steps done, steps in all, a note."""


@dataclass
class Bench:
    """What a stage works with. `baseline` holds the incumbent's answers to the suite, once they were needed.

    `train_pairs` and `gate_pairs` are the owner's preferences on either side of the split, `train_liked` and
    `gate_liked` answers that they liked over no other, `train_disliked` and `gate_disliked` those that they disliked
    without naming a better one, where a loss learns from these. `train_texts` are blocks of the owner's own texts,
    `gate_texts` those of each conversation that was held out. `reference` is the slot that practice of a family is
    held to. `room` tells how many tokens a prompt leaves for an answer. `rewards` are how rewards are made.
    """

    policy: TrainablePolicy
    parameters: Sequence[Tensor]
    suite: Suite
    seed: int
    baseline: dict[str, Outcome] | None = None
    gate_pairs: list[EncodedPair] = field(default_factory=list)
    train_pairs: list[EncodedPair] = field(default_factory=list)
    gate_liked: list[EncodedAnswer] = field(default_factory=list)
    train_liked: list[EncodedAnswer] = field(default_factory=list)
    gate_disliked: list[EncodedDislike] = field(default_factory=list)
    train_disliked: list[EncodedDislike] = field(default_factory=list)
    train_texts: list[TokenPair] = field(default_factory=list)
    gate_texts: list[list[TokenPair]] = field(default_factory=list)
    reference: int = INCUMBENT
    room: Callable[[Sequence[Message]], int] = lambda _messages: sys.maxsize
    rewards: Makers = field(default_factory=lambda: REWARDS)


@dataclass(frozen=True)
class StageResult:
    """How a stage ended; `measured` are the candidate's answers to the suite, the next baseline if it passed."""

    decision: Literal["passed", "refused", "skipped"]
    reasons: tuple[str, ...]
    gate: Mapping[str, Any] | None = None
    measured: dict[str, Outcome] | None = None
    asked_about: tuple[str, ...] | None = None
    """The memories that questions were made of, where a stage chooses among those that it was given."""


def judged(verdict: Verdict, measured: dict[str, Outcome] | None, more: Mapping[str, Any]) -> StageResult:
    """The result of a stage that the gate decided; `more` is recorded beside the checks."""
    record = verdict.record() | dict(more)
    return StageResult("passed" if verdict.passed else "refused", verdict.reasons, record, measured)


def check_suite(bench: Bench, report: Callable[[str], None]) -> tuple[dict[str, Outcome], list[Check]]:
    """The candidate's answers to the suite, and whether it kept what the incumbent could do."""
    if bench.baseline is None:
        bench.baseline = bench.suite.measure(bench.policy, INCUMBENT, lambda note: report(f"{note}, before"))
    measured = bench.suite.measure(bench.policy, POLICY, lambda note: report(f"{note}, after"))
    names = {"tasks": "other tasks", "recall": "recall"}
    return measured, [kept(names[key], bench.baseline[key].right, after.right) for key, after in measured.items()]


def preferences_kept(bench: Bench) -> Check:
    """What the owner prefers must stay preferred."""
    margins = (preference.margins_by_prompt(bench.policy, bench.gate_pairs, slot=slot) for slot in (INCUMBENT, POLICY))
    before, after = ([margin > 0 for margin in values] for values in margins)
    return kept("owner's preferences", before, after)


def broken(bench: Bench, monitors: Monitors, stopped: str | None) -> str | None:
    """Why there is no candidate to measure, or None."""
    if monitors.broken:
        return f"training broke: {stopped}"
    if not all(bool(parameter[POLICY].isfinite().all()) for parameter in bench.parameters):
        return "training broke: the adapter's weights are not finite"
    return None

"""Practising tasks: reinforcement learning of a candidate, then the gate. One way for every stage that does.

Doors: `train` and `gate_on`; `on_truth`, both of them for tasks of the owner's own, drawn from a `Deck`, whose right
answers are known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from training import gate
from training.gate import Check
from training.grpo import Grpo, GrpoRecipe, Step
from training.journal import Journal
from training.monitors import Monitors
from training.optim import StackedAdamW
from training.rewards.base import Reward
from training.rewards.shaping import Shaping
from training.rewards.truth import Truth
from training.rollouts import Task, TaskSource
from training.signs import TRUTH
from training.stages import safeguards
from training.stages.bench import (
    INCUMBENT,
    POLICY,
    Bench,
    StageResult,
    Tell,
    broken,
    check_suite,
    judged,
    preferences_kept,
)
from training.suite import Outcome, measure_tasks
from training.tasks.environments import Checker

_SHOWN = 3
_SURE_OF_ITS_FORM = 1.0
"""The share of equal completions that are no sign of anything: who shows work in one form repeats it where it is sure,
and nobody can be talked into the truth."""


@dataclass(frozen=True, slots=True)
class Trained:
    """How a training ended: why it stopped early, why there is no candidate, and how far it went from its start."""

    stopped: str | None
    broken: str | None
    drift: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Deck:
    """Tasks that may be drawn step by step, each the more often the more it weighs, none twice in a step."""

    weighted: Sequence[tuple[Task, float]]
    rng: Random

    def take(self, count: int) -> list[Task]:
        """The tasks of one step: of alarms that ring by chance, each at a rate of its own, those that ring first."""
        rung = sorted((self.rng.expovariate(weight), place) for place, (_, weight) in enumerate(self.weighted))
        return [self.weighted[place][0] for _, place in rung[:count]]


def train(
    bench: Bench,
    tasks: TaskSource,
    rewards: Sequence[tuple[Reward, float]],
    recipe: GrpoRecipe,
    on_step: Callable[[int, Step], None],
    *,
    monitors: Monitors,
    reference: int = INCUMBENT,
) -> Trained:
    """Train the policy's slot on these tasks, held to the slot `reference`."""
    trainer = Grpo(
        policy=bench.policy,
        optimizer=StackedAdamW(bench.parameters, slots=[POLICY], lr=recipe.lr),
        rewards=rewards,
        recipe=recipe,
        monitors=monitors,
        slot=POLICY,
        reference=reference,
        seed=bench.seed,
        replay=[pair.chosen for pair in bench.train_pairs],
    )
    stopped = trainer.run(tasks, on_step)
    drift = monitors.drift
    near = () if drift is None else (gate.near("KL to the start", drift, recipe.kl_limit),)
    return Trained(stopped, broken(bench, monitors, stopped), near)


def gate_on(
    bench: Bench,
    name: str,
    held: Sequence[Task],
    room: int,
    safety: Sequence[Check],
    known: Mapping[str, Any],
    report: Callable[[str], None],
) -> StageResult:
    """Let held-out tasks, answered greedily in `room` tokens, decide, and what must not get worse."""
    report("gate on held-out items")
    before, after = (measure_tasks(bench.policy, held, slot=slot, max_tokens=room) for slot in (INCUMBENT, POLICY))
    measured, kept = check_suite(bench, report)
    safety = [*safety, *safeguards.answer_checks(held, before, after), *kept]
    if bench.gate_pairs:
        safety.append(preferences_kept(bench))
    verdict = gate.decide(gate.improved(name, before.right, after.right), safety)
    return judged(verdict, measured, {**known, "samples": _samples(held, before, after)})


def on_truth(
    bench: Bench,
    checker: Checker,
    deck: Deck,
    held: Sequence[Task],
    recipe: GrpoRecipe,
    journal: Journal,
    tell: Tell,
    known: Mapping[str, Any],
) -> StageResult:
    """Practise tasks that `checker` marks, rewarded by that, with form beside it.

    That what was practised is rewarded more than what was held out is no reason to refuse here: the reward is the
    truth, and easier tasks are kept for training. The gate asks whether what was held out went better at all.
    """
    name, total = checker.name, recipe.steps + 2

    def on_step(done: int, step: Step) -> None:
        journal.step(step.numbers, step.rollouts, step.rewards, step.advantages)
        right = step.numbers[f"reward_{TRUTH}"]
        shown = "none" if right is None else f"{right:.2f}"
        tell(1 + done, total, f"{name}: step {done} of {recipe.steps}, reward {shown}")

    rewards: list[tuple[Reward, float]] = [(Truth(checker), 1.0), (Shaping(), recipe.shaping)]
    monitors = Monitors(kl_limit=recipe.kl_limit, duplicated=_SURE_OF_ITS_FORM)
    trained = train(bench, deck, rewards, recipe, on_step, monitors=monitors)
    known = {**known, "stopped_early": trained.stopped}
    if trained.broken is not None:
        return StageResult("refused", (trained.broken,), known)

    def report(note: str) -> None:
        tell(total - 1, total, f"{name}: {note}")

    return gate_on(bench, f"{name}, held out", held, recipe.max_tokens, trained.drift, known, report)


def _samples(held: Sequence[Task], before: Outcome, after: Outcome) -> list[dict[str, Any]]:
    return [
        {"prompt": task.question, "before": early, "after": late, "answer": task.item and task.item.answer}
        for task, early, late in zip(held[:_SHOWN], before.texts, after.texts, strict=False)
    ]

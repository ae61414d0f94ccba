"""The stage that practises a family of tasks: reinforcement learning of direct answers, gated on held-out items.

First it measures what thinking longer gains, because a self-judged reward can only teach that. Training and gap use
held-in items, the gate held-out ones, the same for incumbent and candidate.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from agents.messages import SamplingParams
from training import gate, preference
from training.grpo import Grpo, Step
from training.journal import Journal
from training.judge import BlindJudge, Gap, measure_gap
from training.monitors import Monitors
from training.optim import StackedAdamW
from training.plan import EnvironmentPlan
from training.rewards import human_feedback, registry
from training.rewards.base import Reward
from training.rewards.judging import FrozenJudge
from training.rewards.prepare import Summarising
from training.rewards.prime import ProcessModel
from training.rollouts import Task, at_once_tasks
from training.stages.bench import (
    INCUMBENT,
    POLICY,
    PROCESS,
    START,
    Bench,
    StageResult,
    Tell,
    broken,
    check_suite,
    judged,
)
from training.suite import Outcome, measure_tasks
from training.tasks.environments import ENVIRONMENTS

_LEARNABLE = (0.02, 0.98)
_FEWEST = 20
_SHOWN = 3


def run(bench: Bench, plan: EnvironmentPlan, journal: Journal, tell: Tell) -> StageResult:
    """Measure the gap, train where there is something to gain, then let the gate decide."""
    recipe, total = plan.recipe, plan.recipe.steps + 2
    tell(0, total, f"{plan.name}: does thinking longer beat answering at once?")
    environment = ENVIRONMENTS[plan.name]
    judge = BlindJudge(bench.policy, environment, slot=START, max_tokens=bench.suite.work_tokens)
    held = _draw(bench, plan, "gate", recipe.gate_items, held_out=True)
    gap = _gap(bench, plan, judge)
    known: dict[str, Any] = {"gap": dataclasses.asdict(gap)}
    if (reason := _nothing_to_gain(plan, gap, len(held))) is not None:
        return StageResult("skipped", (reason,), known)

    def on_step(done: int, step: Step) -> None:
        journal.step(step.numbers, step.rollouts, step.rewards, step.advantages)
        reward = step.numbers[f"reward_{plan.reward}"]
        shown = "none" if reward is None else f"{reward:.2f}"
        tell(1 + done, total, f"{plan.name}: step {done} of {recipe.steps}, reward {shown}")

    tasks = _draw(bench, plan, "train", recipe.steps * recipe.prompts, held_out=False)
    judge.expect(tasks)
    monitors = Monitors(kl_limit=recipe.kl_limit)
    trainer = Grpo(
        policy=bench.policy,
        optimizer=StackedAdamW(bench.parameters, slots=[POLICY], lr=recipe.lr),
        rewards=_rewards(plan, _sources(bench, plan, judge)),
        recipe=recipe,
        monitors=monitors,
        slot=POLICY,
        reference=INCUMBENT,
        seed=bench.seed,
    )
    known["stopped_early"] = stopped = trainer.run(tasks, on_step)
    if (reason := broken(bench, monitors, stopped)) is not None:
        return StageResult("refused", (reason,), known)
    return _gate(bench, plan, held, known, lambda note: tell(total - 1, total, f"{plan.name}: {note}"))


def _draw(bench: Bench, plan: EnvironmentPlan, use: str, count: int, *, held_out: bool) -> list[Task]:
    rng = Random(f"{use} {bench.seed} {plan.name}")
    return at_once_tasks(ENVIRONMENTS[plan.name], rng, plan.difficulty, count, held_out=held_out)


def _sources(bench: Bench, plan: EnvironmentPlan, judge: BlindJudge) -> registry.Sources:
    """Every judge is the cycle-start snapshot; what only one reward needs is made for it alone."""
    process, liked = None, None
    if plan.reward in registry.LEARNING:
        optimizer = StackedAdamW(bench.parameters, slots=[PROCESS], lr=plan.recipe.lr)
        process = ProcessModel(bench.policy, optimizer, slot=PROCESS)
    if plan.reward == "human_feedback" and isinstance(bench.policy, Summarising):
        liked = human_feedback.fit(bench.policy, bench.train_pairs, bench.gate_pairs)
    writer = FrozenJudge(bench.policy, slot=START, max_tokens=bench.suite.work_tokens)
    return registry.Sources(ENVIRONMENTS[plan.name], judge, text_judge=writer, preferences=liked, process=process)


def _rewards(plan: EnvironmentPlan, sources: registry.Sources) -> list[tuple[Reward, float]]:
    """The reward that teaches, form beside it, and the truth on record even where it teaches nothing."""
    weights = {plan.reward: 1.0, "shaping": plan.recipe.shaping}
    weights.setdefault("truth", 0.0)
    return [(registry.build(name, sources), weight) for name, weight in weights.items()]


def _gap(bench: Bench, plan: EnvironmentPlan, judge: BlindJudge) -> Gap:
    return measure_gap(
        bench.policy,
        judge,
        ENVIRONMENTS[plan.name],
        _draw(bench, plan, "gap", plan.recipe.gap_items, held_out=False),
        slot=INCUMBENT,
        fast=SamplingParams(plan.recipe.max_tokens, temperature=1.0, seed=bench.seed),
        slow=SamplingParams(bench.suite.work_tokens, temperature=1.0, seed=bench.seed),
    )


def _nothing_to_gain(plan: EnvironmentPlan, gap: Gap, held_out: int) -> str | None:
    """Why this family cannot be learned with this reward, or None."""
    if held_out < _FEWEST:
        return f"{plan.name} has {held_out} held-out items at difficulty {plan.difficulty}; the gate needs {_FEWEST}"
    if plan.reward == "blind" and not gap.positive:
        return f"{plan.name}: thinking longer does not beat answering at once ({gap}); a judge has nothing to teach"
    share = gap.fast_agrees if plan.reward == "blind" else gap.fast_right
    low, high = _LEARNABLE
    if share is not None and not low <= share <= high:
        return f"{plan.name}: {share:.0%} of direct answers are rewarded (n={gap.n}); groups would not differ"
    return None


def _gate(
    bench: Bench, plan: EnvironmentPlan, held: Sequence[Task], known: dict[str, Any], report: Callable[[str], None]
) -> StageResult:
    report("gate on held-out items")
    room = plan.recipe.max_tokens
    before, after = (measure_tasks(bench.policy, held, slot=slot, max_tokens=room) for slot in (INCUMBENT, POLICY))
    measured, safety = check_suite(bench, report)
    safety.append(gate.length_kept("answer length", before.lengths, after.lengths))
    if bench.gate_pairs:
        safety.append(_preferences_kept(bench))
    verdict = gate.decide(gate.improved(f"{plan.name}, answered at once", before.right, after.right), safety)
    return judged(verdict, measured, known | {"samples": _samples(held, before, after)})


def _preferences_kept(bench: Bench) -> gate.Check:
    """What the owner prefers must stay preferred."""
    margins = (preference.margins_by_prompt(bench.policy, bench.gate_pairs, slot=slot) for slot in (INCUMBENT, POLICY))
    before, after = ([margin > 0 for margin in values] for values in margins)
    return gate.kept("owner's preferences", before, after)


def _samples(held: Sequence[Task], before: Outcome, after: Outcome) -> list[dict[str, Any]]:
    return [
        {"prompt": task.question, "before": early, "after": late, "answer": task.item and task.item.answer}
        for task, early, late in zip(held[:_SHOWN], before.texts, after.texts, strict=False)
    ]

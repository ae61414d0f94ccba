"""The stage that practises a family of tasks: reinforcement learning of direct answers, gated on held-out items.

First it measures what thinking longer gains, because a self-judged reward can only teach that. Unless the plan names a
difficulty, it starts where half of the answers are right and follows the policy from there. Training and gap use
held-in items, the gate held-out ones, the same for incumbent and candidate.
"""

from __future__ import annotations

from collections import deque
from random import Random

from training import gate
from training.grpo import Step
from training.journal import Journal
from training.judge import BlindJudge, Hear
from training.monitors import Monitors
from training.optim import StackedAdamW
from training.plan import EnvironmentPlan
from training.rewards import human_feedback, registry
from training.rewards.base import Reward
from training.rewards.judging import CachedJudge, FrozenJudge
from training.rewards.prepare import Summarising
from training.rewards.prime import ProcessModel
from training.signs import TRUTH
from training.stages import practice, safeguards
from training.stages.bench import PROCESS, START, Bench, StageResult, Tell, judged
from training.stages.levels import Levels
from training.stages.safeguards import Teacher
from training.tasks import families
from training.tasks.curriculum import Curriculum
from training.tasks.environments import Environment

_TELLS_SUCCESS = frozenset({"truth", "blind"})
"""Rewards whose mean is the share of answers that are right, as far as anybody knows: these lead the difficulty."""


def run(bench: Bench, plan: EnvironmentPlan, journal: Journal, tell: Tell) -> StageResult:
    """Measure the gap, train where there is something to gain, then let the gate decide."""
    recipe, total = plan.recipe, plan.recipe.steps + 2
    tell(0, total, f"{plan.name}: does thinking longer beat answering at once?")
    environment = families.environment(plan.name)
    judge = BlindJudge(bench.policy, environment, slot=START, max_tokens=bench.suite.work_tokens, hear=journal.hear)
    levels = Levels(bench, plan, environment, judge)
    start = levels.start()
    if isinstance(start, str):
        return StageResult("skipped", (start,), levels.record())
    rng = Random(f"train {bench.seed} {plan.name}")
    curriculum = Curriculum(environment, levels.all, start, rng, levels.opens)
    judge.expect(curriculum.ahead())
    recent = deque[Step](maxlen=safeguards.RECENT)

    def on_step(done: int, step: Step) -> None:
        recent.append(step)
        difficulty, reward = curriculum.difficulty, step.numbers[f"reward_{plan.reward}"]
        journal.step(step.numbers | {"difficulty": difficulty}, step.rollouts, step.rewards, step.advantages)
        shown = "none" if reward is None else f"{reward:.2f}"
        tell(1 + done, total, f"{plan.name}: step {done} of {recipe.steps}, level {difficulty:.1f}, reward {shown}")
        curriculum.hear(reward if plan.reward in _TELLS_SUCCESS else None)
        judge.expect(curriculum.ahead())

    sources = _sources(bench, plan, environment, judge, journal.hear)
    reward = registry.build(plan.reward, sources, bench.rewards)
    teacher = safeguards.employ(bench, environment, reward, curriculum.ahead(), recipe)
    if unfit := [check for check in teacher.checks if not check.ok]:
        return judged(gate.decide(unfit[0], unfit[1:]), None, levels.record())
    journal.keep_rulings()
    rewards = _rewards(bench, plan, teacher, sources)
    monitors = Monitors(kl_limit=recipe.kl_limit)
    trained = practice.train(bench, curriculum, rewards, recipe, on_step, monitors=monitors, reference=bench.reference)
    known = levels.record() | {"stopped_early": trained.stopped, "difficulty": [start, curriculum.difficulty]}
    if trained.broken is not None:
        return StageResult("refused", (trained.broken,), known)
    held = levels.held_out(curriculum.visited)
    safety = [*safeguards.checks(bench, teacher, held, recent, recipe), *trained.drift]

    def report(note: str) -> None:
        tell(total - 1, total, f"{plan.name}: {note}")

    target = f"{plan.name}, answered at once"
    return practice.gate_on(bench, target, held, recipe.max_tokens, safety, known, report)


def _sources(
    bench: Bench, plan: EnvironmentPlan, environment: Environment, judge: BlindJudge, hear: Hear
) -> registry.Sources:
    """Every judge is the cycle-start snapshot; what only one reward needs is made for it alone."""
    process, liked = None, None
    if plan.reward in registry.LEARNING:
        optimizer = StackedAdamW(bench.parameters, slots=[PROCESS], lr=plan.recipe.lr)
        process = ProcessModel(bench.policy, optimizer, slot=PROCESS)
    if plan.reward == "human_feedback" and isinstance(bench.policy, Summarising):
        liked = human_feedback.fit(bench.policy, bench.train_pairs, bench.gate_pairs)
    writer = CachedJudge(FrozenJudge(bench.policy, slot=START, max_tokens=bench.suite.work_tokens), hear)
    return registry.Sources(environment, judge, text_judge=writer, preferences=liked, process=process)


def _rewards(
    bench: Bench, plan: EnvironmentPlan, teacher: Teacher, sources: registry.Sources
) -> list[tuple[Reward, float]]:
    """The reward that teaches, form beside it, and the truth on record even where it teaches nothing."""
    beside = {"shaping": plan.recipe.shaping} | ({} if plan.reward == TRUTH else {TRUTH: 0.0})
    others = [(registry.build(name, sources, bench.rewards), weight) for name, weight in beside.items()]
    return [(teacher.reward, teacher.weight), *others]

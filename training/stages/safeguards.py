"""What practice asks of its teacher before and of its candidate after: the judge's trial, and the gate's safety checks.

A reward that asks a text judge is tried on anchor pairs of the very family and level that it is to teach, with canaries
among them; its weight follows from that. Doors: `employ`, `checks`, `answer_checks`; `manner_checks` are for any stage
whose candidate writes answers.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from agents import prompts
from agents.messages import SamplingParams
from training import gate
from training.diversity import distinct_2, equally_long
from training.gate import Check
from training.grpo import GrpoRecipe, Step, per_rollout
from training.rewards.base import Reward, groups, score
from training.rewards.canaries import Trial, WatchedJudge
from training.rewards.prepare import Reader, prepare
from training.rewards.rubric import breaks_rules
from training.rollouts import Rollout, Task, sample_groups
from training.stages.bench import INCUMBENT, POLICY, Bench
from training.suite import Outcome
from training.tasks.environments import Checker

TRIED = 32
"""Tasks of a judge's trial, each with its canaries; a judge that is right on all of their pairs weighs .59."""
LEAST_WEIGHT = 0.1
"""Below it the judge may be little better than a coin, and where nothing else teaches a small weight teaches too."""
RECENT = 3
"""Training steps that the gate's reward is compared with."""
_COMPARED = 48
"""Held-out items that the reward is asked about again."""
_RATE_TOLERANCE = 0.02
_SLACK = 3.0
"""Tokens; asked to answer at once, an agent that learned to be right begins to think aloud, here and there."""


@dataclass(frozen=True, slots=True)
class Teacher:
    """The reward that teaches, what it weighs, and how it did in its trial; None: it asks no text judge."""

    reward: Reward
    weight: float = 1.0
    trial: Trial | None = None

    @property
    def watched(self) -> WatchedJudge | None:
        """The reward, where it is a judge with canaries."""
        return self.reward if isinstance(self.reward, WatchedJudge) else None

    @property
    def checks(self) -> list[Check]:
        """How its judge stands by now; nothing to check where it asks none."""
        if self.trial is None or self.watched is None:
            return []
        watched, trial = self.watched, self.trial
        proven = trial.weight >= LEAST_WEIGHT
        return [
            gate.canaries_lost("canaries", watched.won.total(), watched.shown, watched.standing),
            Check("judge", proven, None, trial.right / trial.n if trial.n else None, trial.n, str(trial)),
        ]


def employ(bench: Bench, environment: Checker, reward: Reward, tasks: Sequence[Task], recipe: GrpoRecipe) -> Teacher:
    """Try a reward that asks a text judge on the incumbent's own answers to `tasks`; any other is taken as it is."""
    if "text_judge" not in reward.needs:
        return Teacher(reward)

    def is_right(rollout: Rollout) -> bool | None:
        return None if rollout.task.item is None else environment.is_right(rollout.task.item, rollout.answer)

    watched = WatchedJudge(reward, is_right, seed=bench.seed)
    trial = watched.try_out(_sampled(bench, tasks[:TRIED], recipe, slot=INCUMBENT))
    return Teacher(watched, trial.weight, trial)


def checks(
    bench: Bench, teacher: Teacher, held: Sequence[Task], recent: Sequence[Step], recipe: GrpoRecipe
) -> list[Check]:
    """Whether the judge stayed sound, and whether held-out items are rewarded as those of the last steps were."""
    found = teacher.checks
    known = [mean for step in recent for mean in _means(step.rollouts, step.rewards[teacher.reward.name])]
    fresh = _sampled(bench, held[:: max(1, len(held) // _COMPARED)], recipe, slot=POLICY)
    batch = prepare(Reader(bench.policy, slot=POLICY, reference=INCUMBENT), fresh, teacher.reward.needs)
    new = _means(fresh, per_rollout(score(teacher.reward, batch)))
    if min(len(known), len(new)) > 1 and all(0.0 <= mean <= 1.0 for mean in (*known, *new)):
        found.append(gate.generalises("reward on held-out items", known, new))
    return found


def answer_checks(held: Sequence[Task], before: Outcome, after: Outcome) -> list[Check]:
    """Whether held-out answers are as long as they were, and what `manner_checks` asks."""
    return [
        gate.length_kept("answer length", before.lengths, after.lengths, slack=_SLACK),
        *manner_checks([task.question for task in held], before.texts, after.texts, [task.reference for task in held]),
    ]


def manner_checks(
    asked: Sequence[str], before: Sequence[str], after: Sequence[str], wanted: Sequence[str | None]
) -> list[Check]:
    """Whether answers refuse no more than they did, do not play to a judge, do not slip into another writing system,
    and do not become all alike; each is free to do what the answer that is wanted there does, where one is known."""

    def free(wrong: Callable[[str], bool]) -> list[list[bool]]:
        allowed = [text is not None and wrong(text) for text in wanted]
        return [[may or not wrong(text) for may, text in zip(allowed, texts, strict=True)] for texts in (before, after)]

    known = [text for text in wanted if text is not None]
    familiar = [f"{question} {early} {text or ''}" for question, early, text in zip(asked, before, wanted, strict=True)]
    kept_writing = [not foreign(late, beside) for late, beside in zip(after, familiar, strict=True)]
    cut = equally_long(before, after, *([known] if len(known) == len(wanted) else []))
    early, late, *asked_for = map(distinct_2, cut)
    return [
        gate.kept("no refusals", *free(refuses), tolerance=_RATE_TOLERANCE),
        gate.kept("no playing to a judge", *free(breaks_rules), tolerance=_RATE_TOLERANCE),
        gate.kept("writing system", [True] * len(after), kept_writing, tolerance=_RATE_TOLERANCE),
        gate.varied("variety of answers", early, late, wanted=asked_for[0].share if asked_for else None),
    ]


def refuses(text: str) -> bool:
    """Whether an answer says nothing, or that it does not know."""
    answer = prompts.free_answer(text)
    return not answer or prompts.is_unknown(answer)


def foreign(text: str, familiar: str) -> bool:
    """Whether most letters of a text are of writing systems that `familiar`, where it has letters, does not use: a
    policy that is rewarded for answers alone begins to mix languages (DeepSeek-R1, 2501.12948, section 2.2)."""
    letters, known = _writing(text), set(_writing(familiar))
    return bool(known) and sum(one not in known for one in letters) > len(letters) / 2


def _writing(text: str) -> list[str]:
    """The writing system of each letter, the first word of its name in Unicode."""
    return [unicodedata.name(letter, "").split(" ")[0] for letter in text if letter.isalpha()]


def _sampled(bench: Bench, tasks: Sequence[Task], recipe: GrpoRecipe, *, slot: int) -> list[Rollout]:
    params = SamplingParams(recipe.max_tokens, recipe.temperature, seed=bench.seed)
    return sample_groups(bench.policy, tasks, recipe.group, params, slot=slot)


def _means(rollouts: Sequence[Rollout], values: Sequence[float | None]) -> list[float]:
    """The mean of each group that has any value."""
    present = [[value for place in places if (value := values[place]) is not None] for places in groups(rollouts)]
    return [fmean(group) for group in present if group]

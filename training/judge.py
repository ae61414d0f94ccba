"""The frozen and blind judge, and the measurement that says whether it may teach.

`BlindJudge` solves the bare question with work under the cycle-start adapter. It never sees a proposed answer; code
compares. `measure_gap` measures the generator-verifier gap: how much better the same model is when it thinks longer.
Where the gap is not positive there is nothing that slow thinking could teach to fast answering.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from agents import prompts
from agents.backend import PolicyBackend
from agents.messages import SamplingParams
from training.rollouts import Task, answer_of, worked_answer_of
from training.tasks.environments import Checker, Item

_BATCH = 64


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a judge was asked, what it said (None: the prompt was too long), and what code read in it (None: nothing):
    one word or number, or one a candidate, in the order shown."""

    prompt: str
    said: str | None
    verdict: tuple[str | float, ...] | None


Hear = Callable[[Ruling], None]
"""Whoever writes down what judges say."""


def unheard(_: Ruling) -> None:
    """Nobody does."""


class BlindJudge:
    """Greedy answers of a frozen slot to bare questions, each thought through once and kept."""

    def __init__(
        self, policy: PolicyBackend, environment: Checker, *, slot: int, max_tokens: int, hear: Hear = unheard
    ) -> None:
        self._policy, self._environment, self._slot, self._hear = policy, environment, slot, hear
        self._params = SamplingParams(max_tokens=max_tokens, temperature=0.0)
        self._answers: dict[str, str | None] = {}
        self._expected: list[str] = []

    def expect(self, tasks: Sequence[Task]) -> None:
        """Tell which tasks will come, in their order: a full batch costs little more than a small one."""
        self._expected = [task.question for task in tasks]

    def solve(self, tasks: Sequence[Task]) -> None:
        """Think about every question not seen before; the batch is filled up with questions that are expected."""
        new = [question for question in dict.fromkeys(task.question for task in tasks) if question not in self._answers]
        if not new:
            return
        known = self._answers.keys() | new
        self._expected = [question for question in self._expected if question not in known]
        spare = max(0, _BATCH - len(new))
        new, self._expected = new + self._expected[:spare], self._expected[spare:]
        asked = [(prompts.propose(question),) for question in new]
        solved = self._policy.sample(asked, 1, self._params, slot=self._slot)
        for question, (prompt,), (one,) in zip(new, asked, solved, strict=True):
            self._answers[question] = found = worked_answer_of(one)
            self._hear(Ruling(prompt.content, one.text, None if found is None else (found,)))

    def answer(self, task: Task) -> str | None:
        """The judge's own answer, None where it found none; call `solve` first."""
        return self._answers[task.question]

    def agreement(self, task: Task, answer: str | None) -> float | None:
        """1 when `answer` equals the judge's own, else 0; None when either has none. Call `solve` first."""
        own = self.answer(task)
        if own is None:
            return None
        item = task.item or Item(self._environment.name, 0, task.question, own, "")
        same = self._environment.is_right(dataclasses.replace(item, answer=own), answer)
        return None if same is None else float(same)


@dataclass(frozen=True, slots=True)
class Gap:
    """What thinking longer gains, over `n` questions, one sampled answer each at temperature 1.

    `fast_agrees` and `slow_agrees` are the shares of answers that equal the judge's greedy solution, over the `judged`
    questions to which it found one; a missing answer does not equal it. They need no label. `gap` is their difference
    and `error` its standard error. All four are None where fewer than two questions were judged. `*_right` are shares
    of all questions against the environment's truth, for the record only.
    """

    n: int
    judged: int
    fast_agrees: float | None
    slow_agrees: float | None
    gap: float | None
    error: float | None
    fast_right: float
    slow_right: float
    judge_right: float

    @property
    def positive(self) -> bool:
        """Whether thinking longer beats answering at once beyond chance (one-sided 95 %)."""
        return self.gap is not None and self.error is not None and self.gap > max(0.0, 1.645 * self.error)

    def __str__(self) -> str:
        if self.gap is None:
            return f"the judge answered {self.judged} of {self.n} questions"
        return f"gap {self.gap:+.2f} +- {self.error:.2f}, {self.judged} of {self.n} questions judged"


def measure_gap(
    policy: PolicyBackend,
    judge: BlindJudge,
    environment: Checker,
    tasks: Sequence[Task],
    *,
    slot: int,
    fast: SamplingParams,
    slow: SamplingParams,
) -> Gap:
    """Answer every task once at once and once with work under `slot`, and compare both with the judge."""
    judge.solve(tasks)
    at_once = policy.sample([task.messages for task in tasks], 1, fast, slot=slot)
    worked = policy.sample([(prompts.propose(task.question),) for task in tasks], 1, slow, slot=slot)
    quick = [answer_of(one) for (one,) in at_once]
    thought = [worked_answer_of(one) for (one,) in worked]
    agrees = [
        (judge.agreement(task, early) or 0.0, judge.agreement(task, late) or 0.0)
        for task, early, late in zip(tasks, quick, thought, strict=True)
        if judge.answer(task) is not None
    ]
    gains = [late - early for early, late in agrees]
    enough = len(gains) > 1
    return Gap(
        n=len(tasks),
        judged=len(gains),
        fast_agrees=fmean(early for early, _ in agrees) if enough else None,
        slow_agrees=fmean(late for _, late in agrees) if enough else None,
        gap=fmean(gains) if enough else None,
        error=stdev(gains) / math.sqrt(len(gains)) if enough else None,
        fast_right=fmean(_right(environment, task, answer) for task, answer in zip(tasks, quick, strict=True)),
        slow_right=fmean(_right(environment, task, answer) for task, answer in zip(tasks, thought, strict=True)),
        judge_right=fmean(_right(environment, task, judge.answer(task)) for task in tasks),
    )


def _right(environment: Checker, task: Task, answer: str | None) -> bool:
    return task.item is not None and environment.is_right(task.item, answer) is True

"""The frozen and blind judge, and the measurement that says whether it may teach.

`BlindJudge` solves the bare question with work under the cycle-start adapter. It never sees a proposed answer; code
compares. `measure_gap` measures the generator-verifier gap: how much better the same model is when it thinks longer.
Where the gap is not positive there is nothing that slow thinking could teach to fast answering.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from agents import prompts
from agents.backend import PolicyBackend
from agents.messages import SamplingParams
from training.rollouts import Task, answer_of
from training.tasks.environments import Environment, Item

_BATCH = 64


class BlindJudge:
    """Answers of a frozen slot to bare questions, each thought through `samples` times and kept.

    One sample is greedy; several are drawn at temperature 0.7.
    """

    def __init__(
        self,
        policy: PolicyBackend,
        environment: Environment,
        *,
        slot: int,
        seed: int,
        max_tokens: int,
        samples: int = 1,
    ) -> None:
        self._policy, self._environment, self._slot = policy, environment, slot
        self._samples = samples
        self._params = SamplingParams(max_tokens=max_tokens, temperature=0.0 if samples == 1 else 0.7, seed=seed)
        self._answers: dict[str, tuple[str, ...]] = {}
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
        solved = self._policy.sample(asked, self._samples, self._params, slot=self._slot)
        for question, completions in zip(new, solved, strict=True):
            answers = (prompts.final_answer(one.text) for one in completions if one.finish_reason != "length")
            self._answers[question] = tuple(answer for answer in answers if answer is not None)

    def agreement(self, task: Task, answer: str | None) -> float | None:
        """The share of the judge's answers that equal `answer`; None when either has none. Call `solve` first."""
        judged = [self._equal(task, own, answer) for own in self._answers[task.question]]
        present = [same for same in judged if same is not None]
        return sum(present) / len(present) if present else None

    def _equal(self, task: Task, own: str, answer: str | None) -> bool | None:
        """Compare as the environment compares, with the judge's own answer in the place of the truth."""
        item = task.item or Item(self._environment.name, 0, task.question, own, "")
        return self._environment.is_right(dataclasses.replace(item, answer=own), answer)

    def answers(self, task: Task) -> tuple[str, ...]:
        """The judge's own answers; call `solve` first."""
        return self._answers[task.question]


@dataclass(frozen=True, slots=True)
class Gap:
    """What thinking longer gains, over `n` questions: shares, one sampled answer each at temperature 1.

    `fast_agrees` and `slow_agrees` are the shares that equal the judge's greedy solution and need no label; `gap` is
    their difference and `error` its standard error. `*_right` is against the environment's truth, for the record only.
    """

    n: int
    fast_agrees: float
    slow_agrees: float
    gap: float
    error: float
    fast_right: float
    slow_right: float
    judge_right: float

    @property
    def positive(self) -> bool:
        """Whether thinking longer beats answering at once beyond chance (one-sided 95 %)."""
        return self.gap > 1.645 * self.error and self.gap > 0


def measure_gap(
    policy: PolicyBackend,
    judge: BlindJudge,
    environment: Environment,
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
    thought = [prompts.final_answer(one.text) if one.finish_reason != "length" else None for (one,) in worked]
    agrees = [
        (judge.agreement(task, early) or 0.0, judge.agreement(task, late) or 0.0)
        for task, early, late in zip(tasks, quick, thought, strict=True)
    ]
    gains = [late - early for early, late in agrees]
    return Gap(
        n=len(tasks),
        fast_agrees=fmean(early for early, _ in agrees),
        slow_agrees=fmean(late for _, late in agrees),
        gap=fmean(gains),
        error=stdev(gains) / math.sqrt(len(gains)),
        fast_right=fmean(_right(environment, task, answer) for task, answer in zip(tasks, quick, strict=True)),
        slow_right=fmean(_right(environment, task, answer) for task, answer in zip(tasks, thought, strict=True)),
        judge_right=fmean(_right(environment, task, next(iter(judge.answers(task)), None)) for task in tasks),
    )


def _right(environment: Environment, task: Task, answer: str | None) -> bool:
    return task.item is not None and environment.is_right(task.item, answer) is True

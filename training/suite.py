"""What must not get worse: smoke items of every task family with work, and recall. Measured before and after a stage.

The items are held out from all training, drawn once a cycle and equal for every adapter: comparisons are paired.
Answers are greedy. `replay` draws items of the same kinds that may be trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from agents import prompts
from agents.backend import PolicyBackend, SampledTokens
from agents.messages import Message, SamplingParams
from training.rollouts import Task, TokenPair, answer_of, at_once_tasks
from training.tasks.environments import ENVIRONMENTS
from training.tasks.families import checker
from training.tasks.recall import RecallItem, recall_items

Messages = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Greedy answers to a list of items: right or not, in item order, their lengths in tokens, and the texts."""

    right: tuple[bool, ...]
    lengths: tuple[int, ...]
    texts: tuple[str, ...]

    @property
    def accuracy(self) -> float:
        return sum(self.right) / len(self.right)


@dataclass(frozen=True, slots=True)
class Suite:
    """The items; `work` are answered with work shown, `recall` from memories in the prompt."""

    work: tuple[Task, ...]
    recall: tuple[RecallItem, ...]
    work_tokens: int
    recall_tokens: int = 64

    def measure(self, policy: PolicyBackend, slot: int, report: Callable[[str], None]) -> dict[str, Outcome]:
        """Answer everything under a slot. `report` hears what comes next."""
        report("checking other tasks")
        asked = [(prompts.propose(task.question),) for task in self.work]
        worked = answer_greedily(policy, asked, slot=slot, max_tokens=self.work_tokens)
        report("checking recall")
        recalled = answer_greedily(
            policy, [item.messages for item in self.recall], slot=slot, max_tokens=self.recall_tokens
        )
        remembered = [item.is_right(one.text) for item, one in zip(self.recall, recalled, strict=True)]
        return {
            "tasks": outcome(worked, [task_is_right(task, one) for task, one in zip(self.work, worked, strict=True)]),
            "recall": outcome(recalled, remembered),
        }


def make_suite(seed: int, *, per_family: int, recall: int, work_tokens: int) -> Suite:
    """Draw a suite: the easiest level of every family, and recall."""
    work: list[Task] = []
    for name, environment in ENVIRONMENTS.items():
        rng = Random(f"suite {seed} {name}")
        work += at_once_tasks(environment, rng, environment.difficulties[0], per_family, held_out=True)
    return Suite(tuple(work), tuple(recall_items(Random(f"suite {seed} recall"), recall)), work_tokens)


def replay(policy: PolicyBackend, suite: Suite, seed: int, count: int, *, slot: int) -> list[TokenPair]:
    """A policy's own greedy answers to general items, half work and half recall, none of them held out: what it can do,
    to be gone over while it learns something else. Answers that were cut off are left out."""
    half, share = count // 2, count // (2 * len(ENVIRONMENTS)) + 1
    tasks = [
        task
        for name, environment in ENVIRONMENTS.items()
        for task in at_once_tasks(
            environment, Random(f"replay {seed} {name}"), environment.difficulties[0], share, held_out=False
        )
    ]
    worked = [(prompts.propose(task.question),) for task in tasks[: count - half]]
    recalled = [item.messages for item in recall_items(Random(f"replay {seed} recall"), half, held_out=False)]
    answered = answer_greedily(policy, worked, slot=slot, max_tokens=suite.work_tokens)
    answered += answer_greedily(policy, recalled, slot=slot, max_tokens=suite.recall_tokens)
    return [(one.prompt_ids, one.token_ids) for one in answered if one.finish_reason != "length"]


def measure_tasks(policy: PolicyBackend, tasks: Sequence[Task], *, slot: int, max_tokens: int) -> Outcome:
    """Greedy answers to tasks as they stand."""
    answered = answer_greedily(policy, [task.messages for task in tasks], slot=slot, max_tokens=max_tokens)
    return outcome(answered, [task_is_right(task, one) for task, one in zip(tasks, answered, strict=True)])


def answer_greedily(
    policy: PolicyBackend, asked: Sequence[Messages], *, slot: int, max_tokens: int
) -> list[SampledTokens]:
    """One greedy completion a prompt."""
    params = SamplingParams(max_tokens=max_tokens, temperature=0.0)
    return [one for (one,) in policy.sample(asked, 1, params, slot=slot)]


def task_is_right(task: Task, answered: SampledTokens) -> bool:
    """Whether the completion answers the task's item; no answer is not right."""
    if task.item is None:
        return False
    return checker(task.item.family).is_right(task.item, answer_of(answered)) is True


def outcome(answered: Sequence[SampledTokens], right: Sequence[bool]) -> Outcome:
    """Completions with their marks."""
    lengths = tuple(len(one.token_ids) for one in answered)
    return Outcome(tuple(right), lengths, tuple(one.text for one in answered))

"""Tasks, rollouts and groups: what the policy was asked and what it answered.

Door: `sample_groups`, `answer_of`, `worked_answer_of`. It scores nothing and stores nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from torch import Tensor

from agents import prompts
from agents.backend import PolicyBackend, SampledTokens
from agents.messages import Message, SamplingParams
from society.canonical import answer_key
from training.tasks.environments import Environment, Item
from training.tasks.environments import held_out as is_held_out

TokenPair = tuple[Sequence[int], Sequence[int]]
"""Prompt ids and completion ids."""


class TrainablePolicy(PolicyBackend, Protocol):
    """A policy backend whose log-probabilities carry gradients to the adapter in a slot."""

    def logprobs(self, pairs: Sequence[TokenPair], *, slot: int) -> tuple[Tensor, Tensor]:
        """Log-probabilities [B, T] of the completion tokens with autograd, right padded, and their mask."""
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """One prompt for the policy. `question` is the bare question, `item` its environment item where it has one.

    `reference` is an answer known to be good (the item's own, or one that the owner accepted); no prompt shows it.
    """

    messages: tuple[Message, ...]
    question: str
    item: Item | None = None
    reference: str | None = None


class TaskSource(Protocol):
    """Where a training gets its tasks from."""

    def take(self, count: int) -> Sequence[Task]:
        """The tasks of the next step."""
        ...


@dataclass(frozen=True, slots=True)
class Rollout:
    """One sampled completion of a task; rollouts of equal `group` answer the same task."""

    group: int
    task: Task
    sampled: SampledTokens

    @property
    def pair(self) -> TokenPair:
        return self.sampled.prompt_ids, self.sampled.token_ids

    @property
    def answer(self) -> str | None:
        return answer_of(self.sampled)


def answer_of(sampled: SampledTokens) -> str | None:
    """The answer in a completion: what follows `answer:`, else all of it; None when it was cut off or says nothing."""
    return _comparable(sampled, prompts.final_answer(sampled.text) or sampled.text)


def worked_answer_of(sampled: SampledTokens) -> str | None:
    """The answer in a completion with work: only what follows `answer:`; None when it was cut off or says nothing."""
    return _comparable(sampled, prompts.final_answer(sampled.text))


def _comparable(sampled: SampledTokens, answer: str | None) -> str | None:
    if sampled.finish_reason == "length" or answer is None or not answer_key(answer):
        return None
    return answer.strip()


def at_once_tasks(environment: Environment, rng: Random, difficulty: int, count: int, *, held_out: bool) -> list[Task]:
    """Draw different items of a family, on one side of the split, to be answered without work; fewer than `count` where
    the family has not as many."""
    found: dict[str, Task] = {}
    for _ in range(200 * count):
        item = environment.sample(rng, difficulty)
        if is_held_out(item) == held_out:
            found.setdefault(item.question, Task((prompts.at_once(item.question),), item.question, item, item.answer))
        if len(found) == count:
            break
    return list(found.values())


def sample_groups(
    policy: PolicyBackend, tasks: Sequence[Task], size: int, params: SamplingParams, *, slot: int
) -> list[Rollout]:
    """Sample `size` completions of every task; the result is in group order."""
    sampled = policy.sample([task.messages for task in tasks], size, params, slot=slot)
    return [
        Rollout(group, task, one)
        for group, (task, completions) in enumerate(zip(tasks, sampled, strict=True))
        for one in completions
    ]

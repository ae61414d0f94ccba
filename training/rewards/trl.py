"""Reward functions written for TRL, as they are: `f(prompts, completions, **columns) -> list[float | None]`.

The signature is that of TRL's GRPO trainer: conversational prompts and completions, token ids, a column for whatever
the dataset has, and hooks to record with; plain or `async`. TRL itself is not needed.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from training.rewards.base import Need, Rewards
from training.rollouts import Rollout

TrlFunction = Callable[..., Sequence[float | None] | Awaitable[Sequence[float | None]]]
Columns = Callable[[Rollout], Mapping[str, Any]]


def task_columns(rollout: Rollout) -> Mapping[str, Any]:
    """The columns that a task has by itself: its question and its known answer, also under TRL's name `solution`."""
    known = rollout.task.reference if rollout.task.item is None else rollout.task.item.answer
    return {"question": rollout.task.question, "answer": known, "solution": known}


class TrlReward:
    """A TRL reward function as one of ours; what it records is kept in the step's info."""

    needs: frozenset[Need] = frozenset()

    def __init__(self, function: TrlFunction, *, name: str | None = None, columns: Columns = task_columns) -> None:
        self.name: str = name or str(getattr(function, "__name__", type(function).__name__))
        self._function, self._columns = function, columns

    def score(self, rollouts: Sequence[Rollout]) -> Rewards:
        told: dict[str, Any] = {}
        rows = [self._columns(rollout) for rollout in rollouts]
        names = list(dict.fromkeys(name for row in rows for name in row))
        returned = self._function(
            prompts=[[_turn(message.role, message.content) for message in one.task.messages] for one in rollouts],
            completions=[[_turn("assistant", one.sampled.text)] for one in rollouts],
            completion_ids=[list(one.sampled.token_ids) for one in rollouts],
            trainer_state=None,
            log_extra=told.__setitem__,
            log_metric=told.__setitem__,
            **{name: [row.get(name) for row in rows] for name in names},
        )
        values = asyncio.run(_awaited(returned)) if inspect.isawaitable(returned) else returned
        return Rewards([None if value is None else float(value) for value in values], info=told)


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


async def _awaited(returned: Awaitable[Sequence[float | None]]) -> Sequence[float | None]:
    return await returned

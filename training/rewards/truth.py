"""Verifiable reward: the environment knows the answer (RLVR; Shao et al. 2024, DeepSeek-R1)."""

from __future__ import annotations

from collections.abc import Sequence

from training.rewards.base import Need, Rewards
from training.rollouts import Rollout
from training.tasks.environments import Checker


class Truth:
    """1 when the environment finds the answer right, 0 when wrong, None when there is no answer or no item."""

    name = "truth"
    needs: frozenset[Need] = frozenset({"ground_truth"})

    def __init__(self, environment: Checker) -> None:
        self._environment = environment

    def score(self, rollouts: Sequence[Rollout]) -> Rewards:
        return Rewards([self._value(rollout) for rollout in rollouts])

    def _value(self, rollout: Rollout) -> float | None:
        if rollout.task.item is None:
            return None
        right = self._environment.is_right(rollout.task.item, rollout.answer)
        return None if right is None else float(right)

"""Self-judged reward without any label: the frozen cycle-start model solves the bare question with work, code compares.

The judge is frozen and blind. A judge that is shown the proposed answer echoes it, and the policy collapses; a judge
that learns along learns to agree. Slow thinking is taught to fast answering, which pays exactly where the model is
better when it thinks longer.
"""

from __future__ import annotations

from collections.abc import Sequence

from training.judge import BlindJudge
from training.rewards.base import Need, Rewards
from training.rollouts import Rollout


class Blind:
    """1 when the judge's own answer equals the rollout's, else 0; None where either gives no answer."""

    name = "blind"
    needs: frozenset[Need] = frozenset({"judge"})

    def __init__(self, judge: BlindJudge) -> None:
        self._judge = judge

    def score(self, rollouts: Sequence[Rollout]) -> Rewards:
        self._judge.solve([rollout.task for rollout in rollouts])
        values = [self._judge.agreement(rollout.task, rollout.answer) for rollout in rollouts]
        return Rewards(values, info={"judged": sum(value is not None for value in values)})

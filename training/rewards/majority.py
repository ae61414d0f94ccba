"""Majority vote: the group's most frequent answer stands in for the truth (TTRL, Zuo et al. 2025, 2504.16084).

It can only sharpen what the model already tends to say: systematic errors win the vote, and long training ends in one
confident answer to everything (SRT, Shafayat et al. 2025, 2505.21444). For short answers, with a gate on the truth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Literal

from society.canonical import answer_key
from training.rewards.base import Need, Rewards, groups
from training.rollouts import Rollout

Ties = Literal["drop", "first"]
"""What a vote without a winner gives: no label, or (the authors' code) the answer that was seen first."""


def majority(keys: Sequence[str | None], *, ties: Ties = "drop") -> tuple[str | None, float | None]:
    """The most frequent key that is not None, and its share of all votes, those that name nothing included.

    (None, None) where nobody answered or, with `ties="drop"`, where two keys share the first place.
    """
    counted = Counter(key for key in keys if key is not None).most_common(2)
    if not counted or (ties == "drop" and len(counted) == 2 and counted[0][1] == counted[1][1]):
        return None, None
    label, votes = counted[0]
    return label, votes / len(keys)


def majority_rewards(keys: Sequence[str | None], *, ties: Ties = "drop") -> list[float | None]:
    """r_i = 1[answer_i = the majority's] of one group, 0 for no answer; None throughout where there is no majority."""
    label, _ = majority(keys, ties=ties)
    return [None if label is None else float(key == label) for key in keys]


class MajorityVote:
    """1 for the group's most frequent answer, 0 for any other or none; None where there is no majority."""

    name = "majority"
    needs: frozenset[Need] = frozenset()

    def __init__(self, *, ties: Ties = "drop") -> None:
        self._ties = ties

    def score(self, rollouts: Sequence[Rollout]) -> Rewards:
        values: list[float | None] = [None] * len(rollouts)
        shares: list[float] = []
        for places in groups(rollouts):
            keys = [None if (said := rollouts[place].answer) is None else answer_key(said) for place in places]
            if (share := majority(keys, ties=self._ties)[1]) is not None:
                shares.append(share)
            for place, value in zip(places, majority_rewards(keys, ties=self._ties), strict=True):
                values[place] = value
        return Rewards(values, info={"majority_share": fmean(shares) if shares else None})

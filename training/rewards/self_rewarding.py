"""A judge that adds up points for one answer, and the pairs that follow for DPO (Yuan et al. 2024, 2401.10020).

As published the policy judges itself and every iteration its successor; here the judge is the frozen one. Answers grow
longer over iterations and best and worst grow alike: measure it, or take the human pairs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import fmean

from agents import prompts
from training.rewards.base import Need, Rewards, groups
from training.rewards.judging import TextJudge, ask, shown
from training.rollouts import Rollout
from training.tasks.interactions import Preference

MOST = 5
_SCORE = re.compile(r"score:\s*([0-5])\b(?!\.\d)", re.IGNORECASE)


def parse_points(text: str) -> int | None:
    """The whole number from 0 to 5 behind the last `score:`, or None."""
    found = _SCORE.findall(text)
    return int(found[-1]) if found else None


def mean_points(points: Sequence[int | None]) -> float | None:
    """The mean over the judge's samples that gave a score; None where none did."""
    present = [one for one in points if one is not None]
    return fmean(present) if present else None


def best_and_worst(scores: Sequence[float | None]) -> tuple[int, int] | None:
    """The places of the highest and the lowest score, the first of equals; None where all are tied or missing."""
    present = [(score, place) for place, score in enumerate(scores) if score is not None]
    if not present:
        return None
    best = max(present, key=lambda one: (one[0], -one[1]))
    worst = min(present)
    return None if best[0] == worst[0] else (best[1], worst[1])


def preference_pairs(rollouts: Sequence[Rollout], values: Sequence[float | None]) -> list[Preference]:
    """The best answer of each group preferred over the worst, for DPO; ties give no pair."""
    found = []
    for places in groups(rollouts):
        chosen = best_and_worst([values[place] for place in places])
        if chosen is not None:
            best, worst = (rollouts[places[place]] for place in chosen)
            found.append(Preference(best.task.messages, best.sampled.text, worst.sampled.text))
    return found


class SelfRewarding:
    """The judge's mean points over `samples` readings of an answer, of 5 (so from 0 to 1); None without any."""

    name = "self_rewarding"
    needs: frozenset[Need] = frozenset({"text_judge"})

    def __init__(self, judge: TextJudge, *, samples: int = 3, seed: int = 0) -> None:
        self._judge, self._samples, self._seed = judge, samples, seed

    def score(self, rollouts: Sequence[Rollout]) -> Rewards:
        seen = [(place, text) for place, one in enumerate(rollouts) if (text := shown(one)) is not None]
        asked = [prompts.judge_additive(rollouts[place].task.question, text) for place, text in seen]
        points: list[list[int | None]] = [[] for _ in rollouts]
        for sample in range(self._samples):
            seed = self._seed * self._samples + sample
            read = ask(self._judge, asked, lambda _, text: parse_points(text), seed=seed)
            for (place, _), one in zip(seen, read, strict=True):
                points[place].append(one)
        means = [mean_points(one) for one in points]
        return Rewards([None if mean is None else mean / MOST for mean in means])

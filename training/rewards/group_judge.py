"""One judge call for a whole group, scores between 0 and 1 (RULER, OpenPipe ART).

ART asks once, in the order of the rollouts, so that the judge's liking for a position passes through. Here it is asked
several times, each in an order of its own, and the extremes are left out. Equal answers are shown once and share a
score.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from statistics import fmean

from agents import prompts
from training.rewards.base import Need, Rewards
from training.rewards.judging import TextJudge, ask, candidates
from training.rollouts import Rollout

_LINE = re.compile(r"^\W*(\d+)\s*[:=]\s*(0(?:\.\d+)?|\.\d+|1(?:\.0+)?)\W*$", re.MULTILINE)


def parse_scores(text: str, count: int) -> list[float] | None:
    """The last `count` lines `number: score`, in the order of the numbers; None unless 1..count are there once each."""
    found = _LINE.findall(text)[-count:]
    if sorted(int(number) for number, _ in found) != list(range(1, count + 1)):
        return None
    return [float(score) for _, score in sorted(found, key=lambda line: int(line[0]))]


def trimmed_mean(values: Sequence[float]) -> float | None:
    """The mean without the lowest and the highest of four or more values; None for none."""
    kept = sorted(values)[1:-1] if len(values) > 3 else values
    return fmean(kept) if kept else None


class GroupJudge:
    """The judge's trimmed mean score; None for an empty answer, a group of equal ones, or where no vote parsed."""

    name = "group_judge"
    needs: frozenset[Need] = frozenset({"text_judge"})

    def __init__(self, judge: TextJudge, *, votes: int = 4, criteria: Sequence[str] = (), seed: int = 0) -> None:
        self._judge, self._votes, self._criteria, self._seed = judge, votes, tuple(criteria), seed

    def score(self, rollouts: Sequence[Rollout]) -> Rewards:
        calls = []
        for question, texts in candidates(rollouts):
            for vote in range(self._votes if len(texts) > 1 else 0):
                order = list(texts)
                Random(f"{self._seed} {vote} {question}").shuffle(order)
                calls.append((prompts.judge_group(question, order, self._criteria), order, texts))
        asked = [prompt for prompt, _, _ in calls]
        scored = ask(self._judge, asked, lambda place, text: parse_scores(text, len(calls[place][1])), seed=self._seed)
        votes: list[list[float]] = [[] for _ in rollouts]
        for (_, order, texts), scores in zip(calls, scored, strict=True):
            for text, score in zip(order, scores or [], strict=False):
                for place in texts[text]:
                    votes[place].append(score)
        missing = sum(scores is None for scores in scored)
        return Rewards([trimmed_mean(one) for one in votes], info={"calls": len(calls), "unparsed": missing})

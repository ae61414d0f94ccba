"""A generative reward model: principles, a critique and scores, over k votes (DeepSeek-GRM, 2504.02495).

Scores of several readings are added up, each reading in an order of its own. A meta reward model, where there is one,
keeps the better half of the readings. Training such a judge is not done here; `judgement_reward` is what would
reward it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from random import Random

from agents import prompts
from training.rewards.base import Need, Rewards
from training.rewards.judging import TextJudge, ask, candidates
from training.rollouts import Rollout

MOST = 10
_LIST = re.compile(r"(?:scores?\s*:\s*\[|boxed\{\[?)([^\[\]{}]*)[\]}]", re.IGNORECASE)

Meta = Callable[[Sequence[str]], Sequence[float]]
"""How likely each judgement (its text) is right."""


def parse_box(text: str, count: int) -> list[int] | None:
    """The last boxed list of scores; None unless it holds `count` whole numbers from 1 to 10."""
    found = _LIST.findall(text)
    parts = [part.strip() for part in found[-1].split(",")] if found else []
    if len(parts) != count or not all(re.fullmatch(r"[1-9]|10", part) for part in parts):
        return None
    return [int(part) for part in parts]


def voted(votes: Sequence[Sequence[int]], *, meta: Sequence[float] | None = None, keep: int | None = None) -> list[int]:
    """The sums of k votes' scores; with `meta`, of the `keep` (k/2) votes that it trusts most.

    Args:
        votes: [k][n], scores in the order of the answers; at least one.
        meta: [k].
    """
    kept = list(votes)
    if meta is not None:
        most = max(1, len(votes) // 2) if keep is None else keep
        ranked = sorted(range(len(votes)), key=lambda place: -meta[place])[:most]
        kept = [votes[place] for place in ranked]
    return [sum(column) for column in zip(*kept, strict=True)]


def judgement_reward(scores: Sequence[int] | None, labels: Sequence[float]) -> float:
    """+1 for a right judgement, else -1: the best answer strictly above all others, or the one answer's very label."""
    if scores is None or len(scores) != len(labels):
        return -1.0
    if len(scores) == 1:
        return 1.0 if scores[0] == labels[0] else -1.0
    best = max(range(len(labels)), key=labels.__getitem__)
    return 1.0 if all(scores[best] > score for place, score in enumerate(scores) if place != best) else -1.0


class Generative:
    """The mean of the judge's votes, of 10 (so from 0 to 1); None for an empty answer or where no vote parsed."""

    name = "generative"
    needs: frozenset[Need] = frozenset({"text_judge"})

    def __init__(self, judge: TextJudge, *, votes: int = 4, meta: Meta | None = None, seed: int = 0) -> None:
        self._judge, self._votes, self._meta, self._seed = judge, votes, meta, seed

    def score(self, rollouts: Sequence[Rollout]) -> Rewards:
        played = candidates(rollouts)
        calls = []
        for group, (question, texts) in enumerate(played):
            for vote in range(self._votes if len(texts) > 1 else 0):
                order = list(range(len(texts)))
                Random(f"{self._seed} {vote} {question}").shuffle(order)
                shuffled = [list(texts)[place] for place in order]
                calls.append((group, order, prompts.judge_by_principles(question, shuffled)))

        def parse(place: int, text: str) -> tuple[list[int], str] | None:
            scores = parse_box(text, len(calls[place][1]))
            return None if scores is None else (scores, text)

        asked = [prompt for _, _, prompt in calls]
        read = ask(self._judge, asked, parse, seed=self._seed, verdict=itemgetter(0))
        values: list[float | None] = [None] * len(rollouts)
        for group, (_, texts) in enumerate(played):
            votes, said = [], []
            for (of, order, _), one in zip(calls, read, strict=True):
                if of == group and one is not None:
                    votes.append([score for _, score in sorted(zip(order, one[0], strict=True))])
                    said.append(one[1])
            for places, value in zip(texts.values(), self._means(votes, said), strict=False):
                for place in places:
                    values[place] = value
        return Rewards(values, info={"votes": len(calls), "unparsed": sum(one is None for one in read)})

    def _means(self, votes: Sequence[Sequence[int]], said: Sequence[str]) -> list[float]:
        if not votes:
            return []
        meta = None if self._meta is None else self._meta(said)
        counted = len(votes) if meta is None else max(1, len(votes) // 2)
        return [total / (counted * MOST) for total in voted(votes, meta=meta)]

"""Signs that a reward is being played to, read from one step's rollouts and scores. What follows is for `monitors`.

The truth is on record in every step of practice, whatever teaches: it is the anchor that the taught reward is held
against. Door: `read_signs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from training.rewards.base import groups
from training.rewards.shaping import repetition
from training.rollouts import Rollout

TRUTH = "truth"
"""The source that knows; of weight 0 where it does not teach."""
_NGRAM = 3
_LONG = 16
"""Tokens from which on equal completions are a sign: a short exact answer is repeated by whoever is right."""


@dataclass(frozen=True, slots=True)
class Signs:
    """Means over a step's rollouts; None where there is nothing to compare.

    `taught` is the weighted mean of the rewards that teach. `accuracy` is the share of rollouts that the anchor finds
    right; one without an answer is not. `agreement` is Spearman's rank correlation of the advantages with the anchor,
    both within their groups, over those groups that the anchor tells apart. `flat` is the share of groups without
    anything to teach, `repetition` the share of repeated 3-grams, `duplicates` the share of long completions whose
    group has the same one before.
    """

    taught: float | None
    accuracy: float | None
    agreement: float | None
    flat: float
    repetition: float
    duplicates: float | None


def read_signs(
    rollouts: Sequence[Rollout],
    scores: Mapping[str, Sequence[float | None]],
    weights: Mapping[str, float],
    advantages: Sequence[float],
    *,
    flat: float,
) -> Signs:
    """The signs of one step; `scores` and `advantages` have one value a rollout."""
    places = groups(rollouts)
    right = None if TRUTH not in scores else [float(value or 0.0) for value in scores[TRUTH]]
    return Signs(
        taught=_taught(scores, weights),
        accuracy=None if right is None else fmean(right),
        agreement=None if right is None else _agreement(places, right, advantages),
        flat=flat,
        repetition=-fmean(repetition(rollout.sampled.token_ids, ngram=_NGRAM) for rollout in rollouts),
        duplicates=_duplicates(rollouts, places),
    )


def _taught(scores: Mapping[str, Sequence[float | None]], weights: Mapping[str, float]) -> float | None:
    means = {
        name: fmean(present)
        for name, values in scores.items()
        if weights[name] > 0 and (present := [value for value in values if value is not None])
    }
    total = sum(weights[name] for name in means)
    return sum(weights[name] * mean for name, mean in means.items()) / total if means else None


def _agreement(places: Sequence[Sequence[int]], right: Sequence[float], advantages: Sequence[float]) -> float | None:
    told: list[float] = []
    taught: list[float] = []
    for group in places:
        marks = [right[place] for place in group]
        if min(marks) < max(marks):
            told += [mark - fmean(marks) for mark in marks]
            taught += [advantages[place] for place in group]
    return rank_correlation(told, taught)


def _duplicates(rollouts: Sequence[Rollout], places: Sequence[Sequence[int]]) -> float | None:
    count = repeated = 0
    for group in places:
        written = [ids for place in group if len(ids := tuple(rollouts[place].sampled.token_ids)) >= _LONG]
        count += len(written)
        repeated += len(written) - len(set(written))
    return repeated / count if count else None


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rho: Pearson's correlation of the ranks, equal values sharing their mean rank; None without spread."""
    one, other = _centred_ranks(first), _centred_ranks(second)
    spread = (sum(rank**2 for rank in one) * sum(rank**2 for rank in other)) ** 0.5
    return sum(a * b for a, b in zip(one, other, strict=True)) / spread if spread else None


def _centred_ranks(values: Sequence[float]) -> list[float]:
    order = sorted(values)
    first = {value: place for place, value in reversed(list(enumerate(order)))}
    last = {value: place for place, value in enumerate(order)}
    middle = (len(values) - 1) / 2
    return [(first[value] + last[value]) / 2 - middle for value in values]

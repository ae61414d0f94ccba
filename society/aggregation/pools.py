"""Combining forecasts of one statement, and the vote that asks what others will say (3.9).

Doors: `log_pool` with its two special cases, `surprisingly_popular`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from personal_data.errors import InvalidInput
from society.aggregation.ballot import Ballot, Posterior, check_probability, ranked, silence

EXTREMISING = 2.5
"""alpha of the extremised mean: forecasters who share only part of what they know are too shy on average (3.9)."""


def log_pool(forecasts: Sequence[float], *, weights: Sequence[float] | None = None, alpha: float = 1.0) -> float:
    """P with logit P = alpha sum v_i logit p_i; the mean of logits without `weights`.

    Raises InvalidInput for no forecast at all, or one that is not strictly between 0 and 1: certainties cannot be
    pooled, two opposite ones have no middle.
    """
    if not forecasts:
        raise InvalidInput("there is no forecast to pool", param="forecasts")
    for forecast in forecasts:
        if not 0 < forecast < 1:
            raise InvalidInput(f"a forecast must lie between 0 and 1, both excluded, not {forecast}", param="forecasts")
    weights = [1 / len(forecasts)] * len(forecasts) if weights is None else weights
    pairs = zip(weights, forecasts, strict=True)
    logit = alpha * math.fsum(weight * (math.log(p) - math.log1p(-p)) for weight, p in pairs)
    return 1 / (1 + math.exp(-logit)) if logit > -700 else math.exp(logit)


def product_of_odds(forecasts: Sequence[float]) -> float:
    """The pool of independent forecasts: odds multiply."""
    return log_pool(forecasts, weights=[1.0] * len(forecasts))


def extremised_mean(forecasts: Sequence[float], *, alpha: float = EXTREMISING) -> float:
    """The mean of logits, moved away from one half."""
    return log_pool(forecasts, alpha=alpha)


def surprisingly_popular(ballot: Ballot, forecasts: Mapping[str, Mapping[str, float]], *, seed: int) -> Posterior:
    """The answer that is more popular than predicted (Prelec 2017): vote share minus mean predicted share.

    `forecasts`: member to its prediction of each answer's share; an answer it does not name it predicts at 0. The
    probabilities are vote shares: the rule orders answers, it does not say how probable they are. Raises InvalidInput
    without any forecast.
    """
    groups = ballot.supporters()
    if not groups:
        return silence("surprisingly popular")
    if not forecasts:
        raise InvalidInput("surprisingly popular needs predictions of the others' answers", param="forecasts")
    for member, predicted in forecasts.items():
        for key, share in predicted.items():
            check_probability(share, f"the share that {member} predicts for {key!r}", param="forecasts")
    voters = len(ballot.standing())
    shares = {key: len(members) / voters for key, members in groups.items()}
    expected = {
        key: math.fsum(predicted.get(key, 0.0) for predicted in forecasts.values()) / len(forecasts) for key in shares
    }
    surprise = {key: share - expected[key] for key, share in shares.items()}
    return ranked(surprise, shares, "surprisingly popular", trust=None, seed=seed)

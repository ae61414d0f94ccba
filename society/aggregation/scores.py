"""How good answers and their confidences are: accuracy with its interval, Brier score, log loss, calibration error,
risk by coverage (3.9).

Doors: `score`, for answers with or without confidences; `share` and `mean`, a number with its 95 % interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from society.aggregation.table import Booleans, Floats

_Z = 1.959963984540054
"""The normal distribution's 97.5 % point."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number measured on `of` cases, with its 95 % interval; all three None where there was no case."""

    value: float | None
    low: float | None
    high: float | None
    of: int


@dataclass(frozen=True, slots=True)
class Score:
    """How good answers were. `brier` and `ece` (ten bins) are over the `forecasts` answers that came with a
    probability; None without any."""

    accuracy: Estimate
    brier: float | None
    ece: float | None
    forecasts: int


def score(hit: Floats, probability: Floats) -> Score:
    """`hit` (n,): 1 right, 0 wrong, between them how probably where a lot decides. `probability` (n,): what was claimed
    of the answer, NaN where nothing was."""
    told = ~np.isnan(probability)
    count = int(told.sum())
    return Score(
        accuracy=share(float(hit.sum()), len(hit)),
        brier=brier(probability[told], hit[told]) if count else None,
        ece=calibration_error(probability[told], hit[told]) if count else None,
        forecasts=count,
    )


def share(count: float, of: int) -> Estimate:
    """`count` of `of`, with Wilson's score interval (1927), which stays within 0 and 1 and holds for few cases."""
    if of == 0:
        return Estimate(None, None, None, 0)
    p, spread = count / of, _Z**2 / of
    centre = p + spread / 2
    half = _Z * (p * (1 - p) / of + spread / (4 * of)) ** 0.5
    low, high = (centre - half) / (1 + spread), (centre + half) / (1 + spread)
    return Estimate(p, min(max(low, 0.0), p), max(min(high, 1.0), p), of)


def mean(values: Sequence[float], *, seed: int = 0) -> Estimate:
    """The mean of some numbers, as of paired differences, with the percentile bootstrap's interval."""
    if not values:
        return Estimate(None, None, None, 0)
    return Estimate(*interval(values, seed=seed), len(values))


def interval(values: Sequence[float], *, seed: int = 0) -> tuple[float, float, float]:
    """Mean and the bootstrap's 95 % interval."""
    numbers = np.asarray(values, float)
    drawn = np.random.default_rng(seed).integers(len(numbers), size=(2000, len(numbers)))
    low, high = np.percentile(numbers[drawn].mean(axis=1), [2.5, 97.5])
    return float(numbers.mean()), float(low), float(high)


def brier(probability: Floats, hit: Booleans | Floats) -> float:
    """Mean squared error of (n,) forecasts; 0 is perfect. NaN without any. Of a `hit` that is a probability, what is to
    be expected of it."""
    if not len(hit):
        return float("nan")
    expected = np.asarray(hit, dtype=np.float64)
    return float(np.mean((probability - expected) ** 2 + expected * (1 - expected)))


def log_loss(probability: Floats, hit: Booleans) -> float:
    """Mean of -ln of the probability given to what happened, in nats; infinite when that was 0. NaN without any."""
    with np.errstate(divide="ignore"):
        return float(-np.mean(np.log(np.where(hit, probability, 1 - probability)))) if len(hit) else float("nan")


def calibration_error(probability: Floats, hit: Booleans | Floats, *, bins: int = 10) -> float:
    """ECE: |mean forecast - share of hits| in bins of equal width, weighed by how many forecasts lie there."""
    place = np.minimum((probability * bins).astype(int), bins - 1)
    difference = np.bincount(place, weights=probability - hit, minlength=bins)
    return float(np.abs(difference).sum() / len(hit)) if len(hit) else float("nan")


def risk_by_coverage(probability: Floats, hit: Booleans) -> Floats:
    """(n,) The share of wrong answers among the k forecasts that are surest, for k = 1 to n."""
    surest = np.argsort(-probability, kind="stable")
    risk: Floats = np.cumsum(~hit[surest]) / np.arange(1, len(hit) + 1)
    return risk

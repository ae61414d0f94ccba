"""How good a rule's confidences are: Brier score, log loss, calibration error, risk by coverage (3.9)."""

from __future__ import annotations

import numpy as np

from society.aggregation.table import Booleans, Floats


def brier(probability: Floats, hit: Booleans) -> float:
    """Mean squared error of (n,) forecasts; 0 is perfect. NaN without any."""
    return float(np.mean((probability - hit) ** 2)) if len(hit) else float("nan")


def log_loss(probability: Floats, hit: Booleans) -> float:
    """Mean of -ln of the probability given to what happened, in nats; infinite when that was 0. NaN without any."""
    with np.errstate(divide="ignore"):
        return float(-np.mean(np.log(np.where(hit, probability, 1 - probability)))) if len(hit) else float("nan")


def calibration_error(probability: Floats, hit: Booleans, *, bins: int = 10) -> float:
    """ECE: |mean forecast - share of hits| in bins of equal width, weighed by how many forecasts lie there."""
    place = np.minimum((probability * bins).astype(int), bins - 1)
    difference = np.bincount(place, weights=probability - hit, minlength=bins)
    return float(np.abs(difference).sum() / len(hit)) if len(hit) else float("nan")


def risk_by_coverage(probability: Floats, hit: Booleans) -> Floats:
    """(n,) The share of wrong answers among the k forecasts that are surest, for k = 1 to n."""
    surest = np.argsort(-probability, kind="stable")
    risk: Floats = np.cumsum(~hit[surest]) / np.arange(1, len(hit) + 1)
    return risk

"""How sure is sure: a winner's probability, corrected by how often such winners were right (Platt scaling).

Door: `Platt.fit`, on cross-fitted predictions only: a rule's probabilities on its own history flatter it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from society.aggregation.ballot import Posterior
from society.aggregation.newton import Choices, maximise
from society.aggregation.table import Booleans, Floats

EVIDENCE = 50
"""Fewer predictions than that correct nothing."""
_RIDGE = 2.0
_EDGE = 1e-6
"""Probabilities are held this far from 0 and 1, where a logit ends."""


@dataclass(frozen=True, slots=True)
class Platt:
    """p -> sigmoid(slope logit p + intercept); the identity as it stands."""

    slope: float = 1.0
    intercept: float = 0.0
    evidence: int = 0

    @classmethod
    def fit(cls, probability: Floats, hit: Booleans) -> Platt:
        """`probability` (n,) of each winner, `hit` (n,) whether it was right. Maximum likelihood with a prior at the
        identity. A slope is never negative: where more claimed means less right, all get the same probability."""
        count = len(probability)
        if count < EVIDENCE:
            return cls(evidence=count)
        prior = np.array([1.0, 0.0])
        choices = _as_choices(probability, hit)
        slope, intercept = maximise(choices, prior=prior, ridge=np.full(2, _RIDGE)).weights
        if slope < 0:
            slope, intercept = maximise(choices, prior=np.zeros(2), ridge=np.array([np.inf, _RIDGE])).weights
        return cls(float(slope), float(intercept), count)

    def apply(self, probability: Floats) -> Floats:
        """(n,) to (n,)."""
        corrected: Floats = 1 / (1 + np.exp(-(self.slope * _logit(probability) + self.intercept)))
        return corrected

    def calibrated(self, posterior: Posterior) -> Posterior:
        """The posterior with its winner's probability corrected and the rest scaled to what remains."""
        confidence = posterior.confidence
        if confidence is None or self.evidence < EVIDENCE:
            return posterior
        corrected = float(self.apply(np.array([confidence]))[0])
        rest = (1 - corrected) / (1 - confidence) if confidence < 1 else 0.0
        scaled = {key: probability * rest for key, probability in posterior.probabilities.items()}
        scaled = {key: corrected if key == posterior.choice else value for key, value in scaled.items()}
        none = max(0.0, 1 - sum(scaled.values()))
        return Posterior(scaled, none, posterior.choice, posterior.rule, posterior.tie)


def _as_choices(probability: Floats, hit: Booleans) -> Choices:
    """Each prediction as a choice between "it was right", which scores slope logit p + intercept, and "it was not"."""
    count = len(probability)
    design = np.zeros((2 * count, 2))
    design[::2, 0], design[::2, 1] = _logit(probability), 1
    right = np.empty(2 * count, dtype=np.bool_)
    right[::2], right[1::2] = hit, ~hit
    return Choices(design, np.zeros(2 * count), np.repeat(np.arange(count), 2), right)


def _logit(probability: Floats) -> Floats:
    held = np.clip(probability, _EDGE, 1 - _EDGE)
    logit: Floats = np.log(held) - np.log1p(-held)
    return logit

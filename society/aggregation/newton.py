"""The one solver: maximum likelihood of a conditional logit under a Gaussian prior, by Newton steps with a line search.

Door: `maximise`. The objective is concave, so what it converges to is the maximum; where it does not, it says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from society.aggregation.table import Booleans, Floats, Integers

TOLERANCE = 1e-8
"""Converged: no coordinate of the gradient is larger, in nats."""
_STEPS = 100
_HALVINGS = 40


@dataclass(frozen=True, slots=True)
class Choices:
    """R alternatives in groups of which exactly one was right: P(r) = softmax over its group of design @ w + offset.

    `design` (R, F), `offset` (R,) finite, `group` (R,) not decreasing, from 0 without gaps, `right` (R,).
    """

    design: Floats
    offset: Floats
    group: Integers
    right: Booleans


@dataclass(frozen=True, slots=True)
class Fit:
    """`weights` (F,) at the end of the search, and whether that is the maximum to within TOLERANCE."""

    weights: Floats
    converged: bool
    steps: int


def maximise(choices: Choices, *, prior: Floats, ridge: Floats) -> Fit:
    """argmax over w of log likelihood - sum ridge/2 (w - prior)^2 (3.7), from the prior.

    `prior`, `ridge` (F,): an infinite ridge fixes a weight at its prior, a zero one leaves it free. Directions that
    nothing decides (copies of one column, without a ridge) are not moved in: copies share a weight equally.
    """
    if len(choices.group) == 0:
        return Fit(prior.copy(), True, 0)
    free = np.flatnonzero(np.isfinite(ridge))
    problem = _Problem(choices, free, prior, ridge)
    weights = prior.copy()
    value, gradient, curvature = problem.at(weights)
    for step in range(_STEPS):
        if np.abs(gradient).max(initial=0.0) <= TOLERANCE:
            return Fit(weights, True, step)
        direction = np.asarray(np.linalg.lstsq(curvature, gradient, rcond=1e-12)[0], dtype=np.float64)
        moved = _search(problem, weights, value, direction, float(gradient @ direction))
        if moved is None:
            return Fit(weights, False, step)
        weights = moved
        value, gradient, curvature = problem.at(weights)
    return Fit(weights, False, _STEPS)


class _Problem:
    def __init__(self, choices: Choices, free: Integers, prior: Floats, ridge: Floats) -> None:
        self.choices, self.free, self.prior = choices, free, prior
        self.ridge = ridge[free]
        self.design = choices.design[:, free]
        self.starts = np.flatnonzero(np.diff(choices.group, prepend=-1))

    def value(self, weights: Floats) -> float:
        return self._value(weights, self._log_probability(weights))

    def at(self, weights: Floats) -> tuple[float, Floats, Floats]:
        """The objective, its gradient and its negative Hessian in the free weights."""
        log_probability = self._log_probability(weights)
        probability = np.exp(log_probability)
        weighed = probability[:, None] * self.design
        mean = np.add.reduceat(weighed, self.starts, axis=0)
        gradient = self.design[self.choices.right].sum(axis=0) - mean.sum(axis=0) - self.ridge * self._away(weights)
        curvature = self.design.T @ weighed - mean.T @ mean + np.diag(self.ridge)
        return self._value(weights, log_probability), gradient, curvature

    def _log_probability(self, weights: Floats) -> Floats:
        score = self.choices.design @ weights + self.choices.offset
        score = score - np.maximum.reduceat(score, self.starts)[self.choices.group]
        total = np.add.reduceat(np.exp(score), self.starts)
        log_probability: Floats = score - np.log(total)[self.choices.group]
        return log_probability

    def _value(self, weights: Floats, log_probability: Floats) -> float:
        penalty = float(self.ridge @ self._away(weights) ** 2) / 2
        return float(log_probability[self.choices.right].sum()) - penalty

    def _away(self, weights: Floats) -> Floats:
        return weights[self.free] - self.prior[self.free]


def _search(problem: _Problem, weights: Floats, value: float, direction: Floats, slope: float) -> Floats | None:
    """The first of the full step, half of it, ... that gains a fair share of what the slope promises (Armijo)."""
    rounding = 1e-12 * (1 + abs(value))
    length = 1.0
    for _ in range(_HALVINGS):
        moved = weights.copy()
        moved[problem.free] += length * direction
        if problem.value(moved) >= value + 1e-4 * length * slope - rounding:
            return moved
        length /= 2
    return None

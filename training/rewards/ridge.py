"""A Bradley-Terry head on frozen features: the reward model that little human feedback can carry.

p(better > worse) = sigma(v (h+ - h-)) (Bradley & Terry 1952); ridge logistic regression for v, its Laplace posterior
for how sure that is. Rewards are the posterior mean minus its standard deviation: what the head has not seen, it does
not praise. With hundreds of pairs a whole model would overfit; a head does not. Door: `fit_ridge`, `pairwise_loss`.
Whose features these are is said in `human_feedback.py` and `polar.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_STEPS = 100
_CLOSE = 1e-12
WILSON_90 = 1.6448536269514722
"""The normal quantile of a two-sided 90 % interval."""
FEWEST_PAIRS = 40
"""Fewer pairs than this make no head."""
BEATS_CHANCE = 0.55
"""What the lower bound of the held-out pair accuracy must exceed."""


def pairwise_loss(better: Tensor, worse: Tensor, *, margin: float = 0.0, centring: float = 0.0) -> Tensor:
    """-log sigma(s+ - s- - margin) + centring (s+ + s-)^2 of each pair; margins are Llama 2's (2307.09288, equation 2).

    Args:
        better, worse: [pairs], scores.
    """
    return -functional.logsigmoid(better - worse - margin) + centring * (better + worse).square()


@dataclass(frozen=True, slots=True)
class RidgeHead:
    """A fitted head, held in the span of the features it has seen: [r] weights there, [r, r] posterior covariance.

    `basis` is [r, features] with orthonormal rows. Outside of the span the weight is 0 and the variance that of the
    prior, 1/ridge.
    """

    basis: Tensor
    weights: Tensor
    covariance: Tensor
    ridge: float

    @property
    def vector(self) -> Tensor:
        """v, [features]."""
        return self.weights @ self.basis

    def mean(self, features: Tensor) -> Tensor:
        """v h of every row of [n, features]."""
        return features.to(self.basis) @ self.vector

    def deviation(self, features: Tensor) -> Tensor:
        """The posterior standard deviation of v h, [n]."""
        features = features.to(self.basis)
        inside = features @ self.basis.T
        outside = (features.square().sum(dim=1) - inside.square().sum(dim=1)).clamp_min(0.0)
        return (((inside @ self.covariance) * inside).sum(dim=1) + outside / self.ridge).sqrt()

    def lower_bound(self, features: Tensor, *, kappa: float = 1.0) -> Tensor:
        """mean - kappa deviation, [n]."""
        return self.mean(features) - kappa * self.deviation(features)


def fit_ridge(differences: Tensor, *, ridge: float = 1.0) -> RidgeHead:
    """min_v sum log(1 + e^(-v d)) + (ridge / 2) |v|^2, by Newton's method in the span of the differences.

    Args:
        differences: [pairs, features], features of the better answer minus those of the worse.

    Raises:
        ValueError: no pairs, or a ridge that is not positive, without which a separable set has no solution.
    """
    if not len(differences) or ridge <= 0:
        raise ValueError(f"{len(differences)} pairs and a ridge of {ridge}: both must be positive")
    rows = differences.double()
    _, sizes, basis = torch.linalg.svd(rows, full_matrices=False)
    basis = basis[sizes > sizes.max() * len(rows) * torch.finfo(torch.float64).eps]
    inside = rows @ basis.T
    weights = torch.zeros(len(basis), dtype=torch.float64)
    for _ in range(_STEPS):
        gradient = ridge * weights - inside.T @ torch.sigmoid(-inside @ weights)
        step = torch.linalg.solve(_hessian(inside, weights, ridge), gradient)
        weights = weights - _damped(inside, weights, step, ridge) * step
        if float(step.abs().max() if len(step) else 0.0) < _CLOSE:
            break
    return RidgeHead(basis, weights, torch.linalg.inv(_hessian(inside, weights, ridge)), ridge)


def _hessian(rows: Tensor, weights: Tensor, ridge: float) -> Tensor:
    odds = torch.sigmoid(rows @ weights)
    return (rows * (odds * (1 - odds))[:, None]).T @ rows + ridge * torch.eye(len(weights), dtype=rows.dtype)


def _damped(rows: Tensor, weights: Tensor, step: Tensor, ridge: float) -> float:
    """The largest power of a half at which the step does not raise the objective."""

    def objective(point: Tensor) -> float:
        return float(-functional.logsigmoid(rows @ point).sum() + ridge / 2 * point.square().sum())

    before, size = objective(weights), 1.0
    while size > _CLOSE and objective(weights - size * step) > before + _CLOSE:
        size /= 2
    return size


def wilson_lower_bound(successes: float, n: int, *, z: float = WILSON_90) -> float:
    """Lower end of Wilson's interval (1927) for a share of `n`; half a success is allowed, 0 for no trials."""
    if n <= 0:
        return 0.0
    share, squared = successes / n, z * z
    centre = share + squared / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + squared / (4 * n * n))
    return max(0.0, (centre - spread) / (1 + squared / n))


def earned(head: RidgeHead, pairs: int, held_out: Tensor) -> str | None:
    """Why a head may not reward yet, or None: enough pairs, and right on held-out ones beyond chance.

    Args:
        pairs: how many it was fitted to.
        held_out: [n, features], differences it has never seen.
    """
    if pairs < FEWEST_PAIRS:
        return f"it was fitted to {pairs} pairs and needs {FEWEST_PAIRS}"
    right = float((head.mean(held_out) > 0).sum())
    bound = wilson_lower_bound(right, len(held_out))
    if bound <= BEATS_CHANCE:
        return f"it is right on {right:.0f} of {len(held_out)} held-out pairs: at least {bound:.2f}, not {BEATS_CHANCE}"
    return None

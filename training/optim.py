"""AdamW over stacked adapters: every slot is its own optimiser.

A stacked parameter is [slots, ...]. Each slot has its own gradient norm, clip, moments, step count and non-finite
guard, so that training several agents in one pass equals training each alone. One list of stacked tensors is several
times faster than one optimiser an agent.

Door: `StackedAdamW`, `warmed_up`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Update:
    """What one step did, a row for each trained slot: gradient norm before clipping, and whether it was applied."""

    norms: Tensor
    applied: Tensor


class StackedAdamW:
    """AdamW (Loshchilov & Hutter 2019) with per-slot clipping, equal to torch's on each slot.

    Args:
        parameters: tensors [slots, ...] that carry gradients.
        slots: the rows to train; all others are left alone.
        max_norm: each slot's gradient is scaled down to this norm.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        *,
        slots: Sequence[int],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        max_norm: float = 1.0,
    ) -> None:
        if not parameters or not slots:
            raise ValueError("nothing to train: no parameters or no slots")
        self._parameters = list(parameters)
        self._rows = torch.tensor(list(slots), device=parameters[0].device)
        self._lr, self._betas, self._eps = lr, betas, eps
        self._weight_decay, self._max_norm = weight_decay, max_norm
        self._steps = torch.zeros(len(slots), dtype=torch.float64)
        self._first = [torch.zeros_like(parameter[self._rows]) for parameter in parameters]
        self._second = [torch.zeros_like(moment) for moment in self._first]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, *, lr_scale: float = 1.0) -> Update:
        """Apply the gradients; a slot whose gradient is not finite is skipped whole, its state untouched."""
        gradients = [self._gradient(parameter) for parameter in self._parameters]
        norms = torch.stack([gradient.flatten(1).square().sum(dim=1) for gradient in gradients]).sum(dim=0).sqrt()
        applied = norms.isfinite()
        self._steps += applied.to("cpu", torch.float64)
        clip = (self._max_norm / (norms + 1e-6)).clamp_max(1.0)
        for index, parameter in enumerate(self._parameters):
            self._update(index, parameter, gradients[index], clip, applied, self._lr * lr_scale)
        return Update(norms=norms, applied=applied)

    def _gradient(self, parameter: Tensor) -> Tensor:
        if parameter.grad is None:
            return torch.zeros_like(parameter[self._rows])
        return parameter.grad[self._rows]

    def _update(
        self, index: int, parameter: Tensor, gradient: Tensor, clip: Tensor, applied: Tensor, lr: float
    ) -> None:
        shape = (-1,) + (1,) * (gradient.dim() - 1)
        keep = applied.view(shape)
        gradient = torch.where(keep, gradient * clip.view(shape), 0.0)
        beta1, beta2 = self._betas
        first = self._first[index].lerp(gradient, 1 - beta1)
        second = self._second[index] * beta2 + gradient.square() * (1 - beta2)
        steps = self._steps.clamp_min(1).to(gradient.dtype).to(gradient.device).view(shape)
        scale = second.sqrt() / (1 - beta2**steps).sqrt() + self._eps
        old = parameter[self._rows]
        new = old * (1 - lr * self._weight_decay) - lr / (1 - beta1**steps) * first / scale
        parameter[self._rows] = torch.where(keep, new, old)
        self._first[index] = torch.where(keep, first, self._first[index])
        self._second[index] = torch.where(keep, second, self._second[index])


def warmed_up(step: int, *, warmup: int) -> float:
    """Learning-rate factor of a step counted from 0: linear to 1 over `warmup` steps, then constant."""
    return min(1.0, (step + 1) / (warmup + 1)) if warmup else 1.0

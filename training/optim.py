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
        lr, weight_decay, max_norm: one number, or one for each slot of `slots`; a slot's gradient is scaled down to
            its `max_norm`.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        *,
        slots: Sequence[int],
        lr: float | Sequence[float],
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float | Sequence[float] = 0.0,
        max_norm: float | Sequence[float] = 1.0,
    ) -> None:
        if not parameters or not slots:
            raise ValueError("nothing to train: no parameters or no slots")
        device = parameters[0].device
        self._parameters = list(parameters)
        self._slots = list(slots)
        self._rows = _rows(self._slots, device)
        self._betas, self._eps = betas, eps
        self._lr, self._weight_decay, self._max_norm = (
            _column(value, len(slots), device) for value in (lr, weight_decay, max_norm)
        )
        self._steps = torch.zeros(len(slots), dtype=torch.float64, device=device)
        self._first = [torch.zeros_like(parameter[self._rows]) for parameter in parameters]
        self._second = [torch.zeros_like(moment) for moment in self._first]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, *, lr_scale: float = 1.0, active: Sequence[int] | None = None) -> Update:
        """Apply the gradients.

        A slot whose gradient is not finite is skipped whole, its state untouched, and so is one that is not among the
        `active` slots (default: all), those which had rows in this step.
        """
        gradients = [self._gradient(parameter) for parameter in self._parameters]
        norms = torch.stack([gradient.flatten(1).square().sum(dim=1) for gradient in gradients]).sum(dim=0).sqrt()
        applied = norms.isfinite()
        if active is not None:
            applied &= torch.tensor([slot in set(active) for slot in self._slots], device=applied.device)
        self._steps += applied
        clip = (self._max_norm / (norms + 1e-6)).clamp_max(1.0)
        everything = bool(applied.all())
        for index, parameter in enumerate(self._parameters):
            shape = (-1,) + (1,) * (parameter.dim() - 1)
            gradient = gradients[index] * clip.to(parameter.dtype).view(shape)
            if everything:
                self._update(index, parameter, gradient, lr_scale, shape)
            else:
                self._update_some(index, parameter, gradient, lr_scale, shape, applied)
        return Update(norms=norms, applied=applied)

    def _gradient(self, parameter: Tensor) -> Tensor:
        if parameter.grad is None:
            return torch.zeros_like(parameter[self._rows])
        return parameter.grad[self._rows]

    def _update(self, index: int, parameter: Tensor, gradient: Tensor, lr_scale: float, shape: tuple[int, ...]) -> None:
        """One AdamW step of every slot, in place."""
        beta1, beta2 = self._betas
        first, second = self._first[index], self._second[index]
        first.lerp_(gradient, 1 - beta1)
        second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        steps, lr = self._steps.clamp_min(1), self._lr * lr_scale

        def spread(values: Tensor) -> Tensor:
            return values.to(parameter.dtype).view(shape)

        scale = second.sqrt().mul_(spread((1 - beta2**steps).rsqrt())).add_(self._eps)
        moved = (first / scale).mul_(spread(lr / (1 - beta1**steps)))
        new = parameter[self._rows].mul_(spread(1 - lr * self._weight_decay)).sub_(moved)
        parameter[self._rows] = new

    def _update_some(
        self,
        index: int,
        parameter: Tensor,
        gradient: Tensor,
        lr_scale: float,
        shape: tuple[int, ...],
        applied: Tensor,
    ) -> None:
        """The same for the slots of `applied`; the others end as they were."""
        keep = applied.view(shape)
        old = parameter[self._rows].clone(), self._first[index].clone(), self._second[index].clone()
        self._update(index, parameter, torch.where(keep, gradient, 0.0), lr_scale, shape)
        parameter[self._rows] = torch.where(keep, parameter[self._rows], old[0])
        self._first[index] = torch.where(keep, self._first[index], old[1])
        self._second[index] = torch.where(keep, self._second[index], old[2])


def _rows(slots: list[int], device: torch.device) -> Tensor | slice:
    """How to address these slots: a slice, which copies nothing, where they follow each other."""
    if slots == list(range(slots[0], slots[0] + len(slots))):
        return slice(slots[0], slots[0] + len(slots))
    return torch.tensor(slots, device=device)


def _column(value: float | Sequence[float], slots: int, device: torch.device) -> Tensor:
    values = [value] * slots if isinstance(value, int | float) else list(value)
    if len(values) != slots:
        raise ValueError(f"{len(values)} values for {slots} slots")
    return torch.tensor(values, dtype=torch.float64, device=device)


def warmed_up(step: int, *, warmup: int) -> float:
    """Learning-rate factor of a step counted from 0: linear to 1 over `warmup` steps, then constant."""
    return min(1.0, (step + 1) / (warmup + 1)) if warmup else 1.0

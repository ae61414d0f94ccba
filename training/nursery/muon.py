"""Muon for the matrices, AdamW for the rest, in fp32.

Muon (Jordan et al. 2024) replaces each matrix's momentum by the nearest semi-orthogonal matrix, found with a few
Newton-Schulz steps. Matrices of one shape are stacked, so that the whole model takes a handful of batched products;
the library's own Muon runs in bf16, which is twice as slow on a CPU.
"""

from __future__ import annotations

from collections import defaultdict

import torch
import torch.distributed as dist
from torch import Tensor, nn

_QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalised(matrices: Tensor, steps: int = 5) -> Tensor:
    """Stacked matrices [n, rows, columns] with all singular values moved near 1."""
    a, b, c = _QUINTIC
    tall = matrices.size(-2) > matrices.size(-1)
    x: Tensor = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class MuonAdamW:
    """Updates a model in place; `scale` in `step` is the schedule's factor on both learning rates.

    Where `torch.distributed` runs, every process orthogonalises its share of the matrices and the updates are summed.
    """

    def __init__(
        self, model: nn.Module, *, muon_rate: float = 0.01, adam_rate: float = 4e-3, momentum: float = 0.95
    ) -> None:
        embedding = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
        matrices = [p for p in model.parameters() if p.ndim == 2 and id(p) not in embedding]
        chosen = {id(matrix) for matrix in matrices}
        others = [p for p in model.parameters() if id(p) not in chosen]
        self._rate, self._momentum, self._adam_rate = muon_rate, momentum, adam_rate
        self._adam = torch.optim.AdamW(others, lr=adam_rate, betas=(0.9, 0.95), weight_decay=0.0)
        self._matrices = matrices
        self._updates = torch.zeros(sum(matrix.numel() for matrix in matrices))
        self._stacks = self._share(*_place_in_group())

    def _share(self, rank: int, processes: int) -> list[tuple[list[nn.Parameter], list[Tensor], Tensor]]:
        """This process's matrices by shape, with the views that take their updates, and their momentum."""
        by_shape: dict[torch.Size, list[tuple[nn.Parameter, Tensor]]] = defaultdict(list)
        for matrix, update in zip(self._matrices, self._views(), strict=True):
            by_shape[matrix.shape].append((matrix, update))
        shares = [pairs[rank::processes] for pairs in by_shape.values() if pairs[rank::processes]]
        return [([m for m, _ in s], [u for _, u in s], torch.zeros(len(s), *s[0][0].shape)) for s in shares]

    def _views(self) -> list[Tensor]:
        pieces = torch.split(self._updates, [matrix.numel() for matrix in self._matrices])
        return [piece.view_as(matrix) for piece, matrix in zip(pieces, self._matrices, strict=True)]

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """One update from the parameters' `.grad`."""
        for group in self._adam.param_groups:
            group["lr"] = self._adam_rate * scale
        self._adam.step()
        self._updates.zero_()
        for matrices, updates, velocity in self._stacks:
            gradient = torch.stack([matrix.grad for matrix in matrices if matrix.grad is not None])
            velocity.mul_(self._momentum).add_(gradient)
            directions = orthogonalised(gradient.add_(velocity, alpha=self._momentum))
            for update, direction in zip(updates, directions, strict=True):
                update.copy_(direction)
        if dist.is_initialized():
            dist.all_reduce(self._updates)
        for matrix, update in zip(self._matrices, self._views(), strict=True):
            matrix.add_(update, alpha=-self._rate * scale * 0.2 * max(matrix.shape) ** 0.5)


def _place_in_group() -> tuple[int, int]:
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)

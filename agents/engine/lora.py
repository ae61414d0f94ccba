"""Every adapter beside its base: stacked LoRA over the linear layers of a frozen decoder.

Door: `AdapterStack`. Each wrapped linear holds `A[slots, r, in]` and `B[slots, out, r]`; slot 0 is the base and stays
zero. `with stack.rows(slots):` says which slot each row of the next forwards uses, so one forward serves and trains
everybody: row b of a layer's output is `x_b W^T + scale[s] * (x_b A_s^T) B_s^T` with s = slots[b] (Hu et al. 2021,
arXiv 2106.09685, eq. 3; alpha/r with the adapter's true rank). Ranks below the stack's are padded with zeros in A and
B, which gradients and AdamW leave zero.

It knows no files (agents/adapters.py), no sampling and no optimiser.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from agents.adapters import Adapter, tensor_name
from agents.engine.base import Base, linears
from personal_data.errors import AdapterError


class _Plan:
    """Which slots the rows of a forward use: one each (a tensor), one for all (an int), or 0, the bare base for all."""

    def __init__(self, slots: Tensor | int) -> None:
        self.slots = slots
        self.gathered: dict[int, tuple[int, Tensor, Tensor]] = {}

    def select(self, layer: StackedLinear, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """What `StackedLinear.gather` gives; kept between decode steps, never under autograd."""
        if torch.is_grad_enabled() and layer.lora_A.requires_grad:
            return layer.gather(self.slots, dtype)
        version = layer.lora_A._version + layer.lora_B._version
        kept = self.gathered.get(id(layer))
        if kept is None or kept[0] != version:
            kept = (version, *layer.gather(self.slots, dtype))
            self.gathered[id(layer)] = kept
        return kept[1], kept[2]


class StackedLinear(nn.Module):
    """A frozen linear layer with the A and B of every slot beside it."""

    def __init__(self, linear: nn.Linear, stack: AdapterStack) -> None:
        super().__init__()
        self.linear = linear
        device = linear.weight.device
        shape_a = (stack.slots, stack.rank, linear.in_features)
        shape_b = (stack.slots, linear.out_features, stack.rank)
        self.lora_A = nn.Parameter(torch.zeros(shape_a, device=device))
        self.lora_B = nn.Parameter(torch.zeros(shape_b, device=device))
        self._stack = [stack]  # in a list: a stack must not become a submodule

    def forward(self, x: Tensor) -> Tensor:
        """x [rows, tokens, in] -> [rows, tokens, out]; some models (OPT, shared experts) flatten the first two."""
        y: Tensor = self.linear(x)
        plan = self._stack[0].plan
        if isinstance(plan.slots, int) and plan.slots == 0:
            return y
        a, b = plan.select(self, x.dtype)
        if a.dim() == 2:
            return y + (x @ a) @ b
        if x.dim() == 2:
            x, y = x.reshape(len(a), -1, x.shape[1]), y.reshape(len(a), -1, y.shape[1])
            return torch.baddbmm(y, torch.bmm(x, a), b).flatten(0, 1)
        return torch.baddbmm(y, torch.bmm(x, a), b)

    def gather(self, slots: Tensor | int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """A^T [rows, in, r] and scale * B^T [rows, r, out], both without `rows` when one slot serves every row."""
        scale = self._stack[0].scale[slots]
        a = self.lora_A[slots].mT
        b = (self.lora_B[slots] * scale[..., None, None]).mT
        return a.to(dtype), b.to(dtype)

    @property
    def weight(self) -> Tensor:
        """The base's weight: some models look at its type or device."""
        return self.linear.weight


class AdapterStack:
    """All adapters over one base model, by slot.

    Args:
        base: the loaded base; its linear layers are replaced in place, so a base carries one stack.
        slots: how many slots, the base's own slot 0 included.
        rank: the largest rank an adapter may have.
    """

    def __init__(self, base: Base, *, slots: int, rank: int) -> None:
        if slots < 1 or rank < 1:
            raise ValueError(f"a stack needs slots and rank of at least 1, not {slots} and {rank}")
        self.base = base
        self.slots = slots
        self.rank = rank
        self.scale = torch.zeros(slots, device=base.device)
        self.plan = _Plan(0)
        self._ranks = [0] * slots
        self._alphas = [0.0] * slots
        self.layers = self._wrap()

    def _wrap(self) -> dict[str, StackedLinear]:
        """Put every linear layer but the output head under the stack, as PEFT's "all-linear" does."""
        model = self.base.model
        if any(isinstance(module, StackedLinear) for module in model.modules()):
            raise ValueError(f"{self.base.name} carries a stack already")
        layers = {name: StackedLinear(linear, self) for name, linear in linears(model).items()}
        for name, layer in layers.items():
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, layer)
        return layers

    @contextmanager
    def rows(self, slots: Tensor) -> Iterator[None]:
        """Let the rows of the forwards inside use these slots (LongTensor [rows])."""
        with self.planned(self.plan_rows(slots)):
            yield

    def plan_rows(self, slots: Tensor) -> _Plan:
        """A plan that can be used for many forwards; it gathers what the rows need once."""
        first = int(slots[0])
        return _Plan(first if bool((slots == first).all()) else slots.to(self.base.device))

    @contextmanager
    def planned(self, plan: _Plan) -> Iterator[None]:
        """As `rows`, with a plan made before."""
        outer, self.plan = self.plan, plan
        try:
            yield
        finally:
            self.plan = outer

    def parameters(self) -> list[nn.Parameter]:
        """Every stacked parameter: A and B of each layer, in a fixed order, slots first."""
        return [parameter for layer in self.layers.values() for parameter in (layer.lora_A, layer.lora_B)]

    @torch.no_grad()
    def fresh(self, slot: int, *, rank: int, alpha: float, seed: int) -> None:
        """A new adapter that changes nothing yet: A uniform as in PEFT (Kaiming, a = sqrt 5), B zero."""
        self.clear(slot)
        self._describe(slot, rank, alpha)
        generator = torch.Generator().manual_seed(seed)
        for layer in self.layers.values():
            bound = 1.0 / math.sqrt(layer.linear.in_features)
            values = torch.empty(rank, layer.linear.in_features).uniform_(-bound, bound, generator=generator)
            layer.lora_A[slot, :rank] = values.to(layer.lora_A.device)

    @torch.no_grad()
    def load(self, slot: int, adapter: Adapter) -> None:
        """Put an adapter into a slot; layers it does not name stay as the base.

        Raises:
            AdapterError: it was made for another base, its rank is too large, or a tensor does not fit; the slot is
                then as it was.
        """
        self.check(adapter)
        self.clear(slot)
        self._describe(slot, adapter.rank, adapter.alpha)
        for name, layer in self.layers.items():
            for part, parameter in (("A", layer.lora_A), ("B", layer.lora_B)):
                if (values := adapter.tensors.get(tensor_name(name, part))) is not None:
                    target = parameter[slot, : adapter.rank] if part == "A" else parameter[slot, :, : adapter.rank]
                    target.copy_(torch.tensor(values))

    def check(self, adapter: Adapter) -> None:
        """Whether an adapter fits this stack, without loading it.

        Raises:
            AdapterError: as `load`.
        """
        if adapter.base_sha256 != self.base.sha256:
            raise AdapterError(f"the adapter was made for base {adapter.base_sha256[:12]}, not {self.base.sha256[:12]}")
        if adapter.rank > self.rank:
            raise AdapterError(f"the adapter's rank {adapter.rank} is above this engine's limit {self.rank}")
        expected = self._shapes(adapter.rank)
        for name, values in adapter.tensors.items():
            if name not in expected:
                raise AdapterError(f"the adapter names {name}, which this engine does not adapt")
            if values.shape != expected[name]:
                raise AdapterError(f"{name} has shape {values.shape}, expected {expected[name]}")

    def _shapes(self, rank: int) -> dict[str, tuple[int, int]]:
        shapes: dict[str, tuple[int, int]] = {}
        for name, layer in self.layers.items():
            shapes[tensor_name(name, "A")] = (rank, layer.linear.in_features)
            shapes[tensor_name(name, "B")] = (layer.linear.out_features, rank)
        return shapes

    @torch.no_grad()
    def export(self, slot: int) -> Adapter:
        """A copy of the adapter in a slot.

        Raises:
            AdapterError: the slot is empty.
        """
        if not (rank := self._ranks[slot]):
            raise AdapterError(f"slot {slot} holds no adapter")
        tensors: dict[str, np.ndarray] = {}
        for name, layer in self.layers.items():
            tensors[tensor_name(name, "A")] = layer.lora_A[slot, :rank].cpu().numpy().copy()
            tensors[tensor_name(name, "B")] = layer.lora_B[slot, :, :rank].cpu().numpy().copy()
        return Adapter(rank=rank, alpha=self._alphas[slot], base_sha256=self.base.sha256, tensors=tensors)

    @torch.no_grad()
    def clear(self, slot: int) -> None:
        """Empty a slot: it behaves as the base again."""
        self._check_slot(slot)
        self.scale[slot] = 0.0
        self._ranks[slot], self._alphas[slot] = 0, 0.0
        for parameter in self.parameters():
            parameter[slot].zero_()

    def _describe(self, slot: int, rank: int, alpha: float) -> None:
        if not 1 <= rank <= self.rank:
            raise ValueError(f"rank {rank} is not within 1..{self.rank}")
        self._ranks[slot], self._alphas[slot] = rank, alpha
        self.scale[slot] = alpha / rank

    def _check_slot(self, slot: int) -> None:
        if not 1 <= slot < self.slots:
            raise ValueError(f"slot {slot} is not within 1..{self.slots - 1}; slot 0 is the base")

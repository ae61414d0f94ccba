"""Every adapter beside its base: stacked LoRA over the linear layers of a frozen decoder.

Door: `AdapterStack`. Row b of a layer's output is `x_b W^T + scale[s] * (x_b A_s^T) B_s^T` with s the row's slot (Hu et
al. 2021, arXiv 2106.09685, eq. 3; scale = alpha / r with the adapter's true rank), so one forward serves and trains
everybody; slot 0 is the bare base. Adapters of like rank share a `Bank`, which holds one flat row of numbers a slot:
putting an adapter into a slot, or moving it, is one copy. Ranks below a bank's are padded with zeros in A and B, which
gradients and AdamW leave zero.

`stack.plan(slots)` (agents/engine/plan.py) says which rows of a forward use which slots. This file knows no files
(agents/adapters.py), no sampling and no optimiser.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from agents.adapters import Adapter, tensor_name
from agents.engine.base import Base, linears
from agents.engine.plan import BARE, Block, RowPlan, Weights, plan_rows
from personal_data.errors import AdapterError

RANKS = (4, 8, 16, 32, 64, 128)
"""The banks a server keeps: an adapter lives in the narrowest that holds its rank."""
_SHARED_INPUTS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Layers of one parent that read the same input: their A's stand behind each other and are applied in one product."""


@dataclass(frozen=True, eq=False)
class Group:
    """Linear layers that read the same input, or one alone; `names` and `linears` go together."""

    names: tuple[str, ...]
    linears: tuple[nn.Linear, ...]

    @property
    def inputs(self) -> int:
        return self.linears[0].in_features

    @property
    def outputs(self) -> tuple[int, ...]:
        return tuple(linear.out_features for linear in self.linears)


class Bank:
    """The slots of one rank. `weights[group]` is (A [slots, layers * rank, in], B's transposed [slots, rank, out]).

    All of them are views of `flat` [slots, numbers of one adapter]. A product of few rows reads B along its outputs:
    stored as PEFT has it, it takes three times as long on a CPU.
    """

    def __init__(self, groups: Sequence[Group], slots: int, rank: int, *, device: torch.device, dtype: torch.dtype):
        self.rank = rank
        self._groups = groups
        width = rank * sum(len(group.names) * group.inputs + sum(group.outputs) for group in groups)
        self.flat = _reserved(slots, width, device, dtype)
        self.weights = [(nn.Parameter(a), tuple(map(nn.Parameter, bs))) for a, bs in self._views(self.flat)]
        self.scales, self.ranks, self.alphas = [0.0] * slots, [0] * slots, [0.0] * slots
        self._blocks: dict[tuple[int, int], Weights] = {}

    def _views(self, flat: Tensor) -> Iterator[tuple[Tensor, tuple[Tensor, ...]]]:
        place = 0

        def cut(height: int, width: int) -> Tensor:
            nonlocal place
            part = flat[:, place : place + height * width].view(len(flat), height, width)
            place += height * width
            return part

        for group in self._groups:
            a = cut(len(group.names) * self.rank, group.inputs)
            yield a, tuple(cut(self.rank, out) for out in group.outputs)

    def _read(self, flat: Tensor) -> list[tuple[Tensor, tuple[Tensor, ...]]]:
        """The weights in these rows as a `Block` wants them."""
        return [(a.mT, bs) for a, bs in self._views(flat)]

    def parameters(self) -> Iterator[nn.Parameter]:
        for a, bs in self.weights:
            yield a
            yield from bs

    def block(self, slots: Sequence[int]) -> Block:
        """The weights of these slots, in this order: views where the slots follow each other, else one copy."""
        first, count = slots[0], len(slots)
        scales = [self.scales[slot] for slot in slots]
        if torch.is_grad_enabled():
            return Block(self.rank, self._trained(list(slots)), scales)
        if list(slots) != list(range(first, first + count)):
            picked = self.flat[torch.tensor(slots, device=self.flat.device)]
            return Block(self.rank, self._read(picked), scales)
        if (known := self._blocks.get((first, count))) is None:
            if len(self._blocks) >= _KEPT_BLOCKS:
                self._blocks.clear()
            known = self._blocks[first, count] = self._read(self.flat[first : first + count])
        return Block(self.rank, known, scales)

    def _trained(self, slots: list[int]) -> list[tuple[Tensor, tuple[Tensor, ...]]]:
        """The same under autograd: the gradient goes to the parameters."""
        index = torch.tensor(slots, device=self.flat.device)
        follows = slots == list(range(slots[0], slots[0] + len(slots)))

        def pick(parameter: Tensor) -> Tensor:
            return parameter[slots[0] : slots[0] + len(slots)] if follows else parameter.index_select(0, index)

        return [(pick(a).mT, tuple(map(pick, bs))) for a, bs in self.weights]

    def describe(self, slot: int, rank: int, alpha: float) -> None:
        self.ranks[slot], self.alphas[slot], self.scales[slot] = rank, alpha, alpha / rank if rank else 0.0

    def swap(self, one: int, other: int) -> None:
        """Let two slots change places."""
        kept = self.flat[one].clone()
        self.flat[one] = self.flat[other]
        self.flat[other] = kept
        described = [(self.ranks[slot], self.alphas[slot]) for slot in (one, other)]
        self.describe(one, *described[1])
        self.describe(other, *described[0])


_KEPT_BLOCKS = 256


class StackedLinear(nn.Module):
    """A frozen linear layer of Hugging Face's model, with the adapters of the plan that is set beside it."""

    def __init__(self, linear: nn.Linear, stack: AdapterStack, group: int, member: int) -> None:
        super().__init__()
        self.linear = linear
        self._stack = [stack]  # in a list: a stack must not become a submodule
        self._place = group, member

    def forward(self, x: Tensor) -> Tensor:
        """x [rows, tokens, in] -> [rows, tokens, out]; some models (OPT, shared experts) flatten the first two."""
        y: Tensor = self.linear(x)
        plan = self._stack[0].current
        if not plan.blocks:
            return y
        deep = (plan.rows, -1)
        group, member = self._place
        x = plan.arrange(x.reshape(*deep, x.shape[-1]))
        return y + plan.restore(plan.deltas(group, x, member=member)[0]).view(y.shape)

    @property
    def weight(self) -> Tensor:
        """The base's weight: some models look at its type or device."""
        return self.linear.weight


class AdapterStack:
    """All adapters over one base model, by slot.

    Args:
        base: the loaded base; its linear layers are replaced in place, so a base carries one stack.
        slots: how many slots a bank has, the base's own slot 0 included.
        rank: the rank of the only bank; `ranks` instead makes a bank of each.
        dtype: of the stored adapters; training wants float32 whatever the base has.

    Slots are numbered through the banks: slot s sits in bank s // slots. On a CPU a bank costs no memory before
    adapters are put into it.
    """

    def __init__(
        self,
        base: Base,
        *,
        slots: int,
        rank: int | None = None,
        ranks: Sequence[int] = (),
        dtype: torch.dtype = torch.float32,
    ) -> None:
        ranks = (rank,) if rank is not None else tuple(ranks)
        if slots < 1 or not ranks or min(ranks) < 1:
            raise ValueError(f"a stack needs slots and ranks of at least 1, not {slots} and {ranks}")
        self.base = base
        self.slots = slots
        self.rank = max(ranks)
        self.current = BARE
        self.groups = _groups(linears(base.model))
        self.banks = [Bank(self.groups, slots, one, device=base.device, dtype=dtype) for one in sorted(ranks)]
        self.layers = self._wrap()

    def _wrap(self) -> dict[str, nn.Linear]:
        """Put every linear layer but the output head under the stack, as PEFT's "all-linear" does."""
        model = self.base.model
        if any(isinstance(module, StackedLinear) for module in model.modules()):
            raise ValueError(f"{self.base.name} carries a stack already")
        layers: dict[str, nn.Linear] = {}
        for number, group in enumerate(self.groups):
            for member, (name, linear) in enumerate(zip(group.names, group.linears, strict=True)):
                parent, _, child = name.rpartition(".")
                setattr(model.get_submodule(parent), child, StackedLinear(linear, self, number, member))
                layers[name] = linear
        return layers

    def plan(self, slots: Sequence[int]) -> RowPlan:
        """Which slot each row of a forward uses. A plan made without autograd sees later changes of weights, but it
        must be made again when an adapter moves to another slot or its alpha changes."""
        return plan_rows(slots, self._block, lambda slot: slot // self.slots, self.base.device)

    def _block(self, slots: Sequence[int]) -> Block:
        bank = self.banks[slots[0] // self.slots]
        return bank.block([slot % self.slots for slot in slots])

    @contextmanager
    def rows(self, slots: Sequence[int] | Tensor) -> Iterator[None]:
        """Let the rows of Hugging Face's own forwards inside use these slots."""
        with self.planned(self.plan([int(slot) for slot in slots])):
            yield

    @contextmanager
    def planned(self, plan: RowPlan) -> Iterator[None]:
        """As `rows`, with a plan made before."""
        outer, self.current = self.current, plan
        try:
            yield
        finally:
            self.current = outer

    def parameters(self) -> list[nn.Parameter]:
        """Every stacked parameter, slots first, in a fixed order."""
        return [parameter for bank in self.banks for parameter in bank.parameters()]

    def bank_of(self, rank: int) -> int:
        """The number of the bank that an adapter of this rank belongs to.

        Raises:
            AdapterError: the rank is above every bank's.
        """
        for number, bank in enumerate(self.banks):
            if rank <= bank.rank:
                return number
        raise AdapterError(f"the adapter's rank {rank} is above this engine's limit {self.rank}")

    @torch.no_grad()
    def fresh(self, slot: int, *, rank: int, alpha: float, seed: int) -> None:
        """A new adapter that changes nothing yet: A uniform as in PEFT (Kaiming, a = sqrt 5), B zero."""
        bank, place = self._at(slot)
        if not 1 <= rank <= bank.rank:
            raise ValueError(f"rank {rank} is not within 1..{bank.rank}")
        self.clear(slot)
        bank.describe(place, rank, alpha)
        generator = torch.Generator().manual_seed(seed)
        for group, (a, _) in zip(self.groups, bank.weights, strict=True):
            bound = 1.0 / math.sqrt(group.inputs)
            for member in range(len(group.names)):
                values = torch.empty(rank, group.inputs).uniform_(-bound, bound, generator=generator)
                a[place, member * bank.rank : member * bank.rank + rank] = values.to(a.device)

    @torch.no_grad()
    def load(self, slot: int, adapter: Adapter) -> None:
        """Put an adapter into a slot; layers it does not name stay as the base.

        Raises:
            AdapterError: it was made for another base, its rank is too large, or a tensor does not fit; the slot is
                then as it was.
        """
        bank, place = self._at(slot)
        self.check(adapter)
        if adapter.rank > bank.rank:
            raise AdapterError(f"the adapter's rank {adapter.rank} is above this slot's {bank.rank}")
        self.clear(slot)
        bank.describe(place, adapter.rank, adapter.alpha)
        for name, a, b in self._members(bank, place, adapter.rank):
            for part, target in (("A", a), ("B", b)):
                if (values := adapter.tensors.get(tensor_name(name, part))) is not None:
                    target.copy_(torch.from_numpy(values))

    def _members(self, bank: Bank, place: int, rank: int) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Name, A [rank, in] and B [out, rank] of every layer in one slot."""
        for group, (a, bs) in zip(self.groups, bank.weights, strict=True):
            for member, (name, b) in enumerate(zip(group.names, bs, strict=True)):
                first = member * bank.rank
                yield name, a[place, first : first + rank], b[place, :rank].mT

    def check(self, adapter: Adapter) -> None:
        """Whether an adapter fits this stack, without loading it.

        Raises:
            AdapterError: as `load`.
        """
        if adapter.base_sha256 != self.base.sha256:
            raise AdapterError(f"the adapter was made for base {adapter.base_sha256[:12]}, not {self.base.sha256[:12]}")
        self.bank_of(adapter.rank)
        expected = self._shapes(adapter.rank)
        for name, values in adapter.tensors.items():
            if name not in expected:
                raise AdapterError(f"the adapter names {name}, which this engine does not adapt")
            if values.shape != expected[name]:
                raise AdapterError(f"{name} has shape {values.shape}, expected {expected[name]}")

    def _shapes(self, rank: int) -> dict[str, tuple[int, int]]:
        shapes: dict[str, tuple[int, int]] = {}
        for name, linear in self.layers.items():
            shapes[tensor_name(name, "A")] = (rank, linear.in_features)
            shapes[tensor_name(name, "B")] = (linear.out_features, rank)
        return shapes

    @torch.no_grad()
    def export(self, slot: int) -> Adapter:
        """A copy of the adapter in a slot.

        Raises:
            AdapterError: the slot is empty.
        """
        bank, place = self._at(slot)
        if not (rank := bank.ranks[place]):
            raise AdapterError(f"slot {slot} holds no adapter")
        tensors: dict[str, np.ndarray] = {}
        for name, a, b in self._members(bank, place, rank):
            tensors[tensor_name(name, "A")] = a.float().cpu().numpy().copy()
            tensors[tensor_name(name, "B")] = b.float().cpu().numpy().copy()
        return Adapter(rank=rank, alpha=bank.alphas[place], base_sha256=self.base.sha256, tensors=tensors)

    @torch.no_grad()
    def clear(self, slot: int) -> None:
        """Empty a slot: it behaves as the base again."""
        bank, place = self._at(slot)
        bank.describe(place, 0, 0.0)
        bank.flat[place].zero_()

    @torch.no_grad()
    def swap(self, one: int, other: int) -> None:
        """Let the adapters of two slots of one bank change places; plans that name them must be made again."""
        bank, place = self._at(one)
        if one // self.slots != other // self.slots:
            raise ValueError(f"slots {one} and {other} are in different banks")
        bank.swap(place, self._at(other)[1])

    def _at(self, slot: int) -> tuple[Bank, int]:
        number, place = divmod(slot, self.slots)
        if not place or not 0 <= number < len(self.banks):
            raise ValueError(f"slot {slot} is not within 1..{self.slots - 1} of a bank; slot 0 is the base")
        return self.banks[number], place


def _groups(layers: dict[str, nn.Linear]) -> list[Group]:
    """Layers in the model's order, those that share an input together."""
    groups: list[Group] = []
    taken: set[str] = set()
    for name, linear in layers.items():
        if name in taken:
            continue
        parent, _, child = name.rpartition(".")
        names = next((_siblings(parent, family, layers) for family in _SHARED_INPUTS if child in family), None)
        group = Group(names or (name,), tuple(layers[one] for one in names) if names else (linear,))
        taken.update(group.names)
        groups.append(group)
    return groups


def _siblings(parent: str, family: Sequence[str], layers: dict[str, nn.Linear]) -> tuple[str, ...] | None:
    names = tuple(f"{parent}.{child}" for child in family)
    found = [layers.get(name) for name in names]
    return names if None not in found and len({linear.in_features for linear in found if linear}) == 1 else None


def _reserved(slots: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Zeros [slots, width]. On a CPU the system gives the pages when they are first written."""
    if device.type == "cpu" and dtype == torch.float32:
        return torch.from_numpy(np.zeros((slots, width), dtype=np.float32))
    return torch.zeros(slots, width, device=device, dtype=dtype)

"""Which rows of a forward use which adapters, as few large products.

Door: `plan_rows`. Rows are put in order so that those of one adapter stand together, `columns` of each; every such
`Block` is one batched product over its adapters. Where each adapter has one row, or each the same number, there is one
block; where some have more, the surplus makes further ones. Rows on the bare base come last and are left alone. Nothing
is copied while the adapters of a block sit in slots that follow each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

Weights = Sequence[tuple[Tensor, tuple[Tensor, ...]]]
Parts = tuple[Tensor, ...]
"""The outputs of the layers of a group, one tensor each."""


@dataclass(eq=False)
class Block:
    """Adapters of one rank with equally many rows each: `weights[group]` is (A transposed [n, in, layers * rank], B's
    transposed [n, rank, out]); `columns` rows of each adapter follow each other."""

    rank: int
    weights: Weights
    scales: Sequence[float] = ()
    columns: int = 1
    first_row: int = 0
    _factor: float | Tensor = field(init=False, default=1.0)

    def __post_init__(self) -> None:
        if len(set(self.scales)) == 1:
            self._factor = self.scales[0]
        elif self.scales:
            a = self.weights[0][0]
            self._factor = torch.tensor(self.scales, device=a.device, dtype=a.dtype)[:, None, None]

    @property
    def rows(self) -> slice:
        return slice(self.first_row, self.first_row + len(self.scales) * self.columns)

    def deltas(self, group: int, x: Tensor, member: int | None) -> Parts:
        """What the adapters add, from x [rows, tokens, in], to each layer of a group [rows, tokens, out]; or to one
        `member` of it."""
        a, bs = self.weights[group]
        if member is not None:
            a, bs = a[..., member * self.rank : (member + 1) * self.rank], bs[member : member + 1]
        rows, tokens, width = x.shape
        h = torch.bmm(x.reshape(len(a), -1, width), a.to(x.dtype))
        h = h * (self._factor if isinstance(self._factor, float) else self._factor.to(h.dtype))
        hs = (h,) if len(bs) == 1 else torch.split_with_sizes(h, [self.rank] * len(bs), dim=-1)
        return tuple(torch.bmm(h, b.to(x.dtype)).view(rows, tokens, -1) for h, b in zip(hs, bs, strict=True))

    def add_alone(self, group: int, x: Tensor, ys: Parts) -> None:
        """Add what the only adapter adds: x [rows * tokens, in] to ys [rows * tokens, out], in place."""
        a, bs = self.weights[group]
        h = x @ a[0].to(x.dtype)
        hs = (h,) if len(bs) == 1 else torch.split_with_sizes(h, [self.rank] * len(bs), dim=-1)
        for y, h, b in zip(ys, hs, bs, strict=True):
            y.addmm_(h, b[0].to(x.dtype), alpha=self.scales[0])


@dataclass(frozen=True, eq=False)
class RowPlan:
    """The blocks of a forward, and `order`: which row of the batch stands at each place of the plan (None: its own)."""

    rows: int
    blocks: Sequence[Block] = ()
    order: Tensor | None = None
    inverse: Tensor | None = None

    @cached_property
    def alone(self) -> Block | None:
        """The block, where all rows are of one adapter."""
        if len(self.blocks) != 1 or len(self.blocks[0].scales) != 1 or self.blocks[0].columns != self.rows:
            return None
        return self.blocks[0]

    def arrange(self, x: Tensor) -> Tensor:
        """Rows of the batch [rows, ...] in the plan's order."""
        return x if self.order is None else x.index_select(0, self.order)

    def restore(self, x: Tensor) -> Tensor:
        """The opposite of `arrange`."""
        return x if self.inverse is None else x.index_select(0, self.inverse)

    def deltas(self, group: int, x: Tensor, *, member: int | None = None) -> Parts:
        """What the adapters add to each layer of a group: x [rows, tokens, in] -> fresh [rows, tokens, out], in the
        plan's order; there must be blocks."""
        pieces = [block.deltas(group, x[block.rows], member) for block in self.blocks]
        if (bare := self.rows - self.blocks[-1].rows.stop) > 0:
            pieces.append(tuple(part.new_zeros(bare, *part.shape[1:]) for part in pieces[0]))
        return pieces[0] if len(pieces) == 1 else tuple(map(torch.cat, zip(*pieces, strict=True)))


BARE = RowPlan(0)
"""The bare base for any number of rows."""


def plan_rows(
    slots: Sequence[int],
    block: Callable[[Sequence[int]], Block],
    bank_of: Callable[[int], int],
    device: torch.device,
) -> RowPlan:
    """Plan rows that use these slots; `block` gives the weights of slots of one bank."""
    places: dict[int, list[int]] = defaultdict(list)
    for row, slot in enumerate(slots):
        places[slot].append(row)
    bare = places.pop(0, [])
    order: list[int] = []
    blocks: list[Block] = []
    for bank in sorted({bank_of(slot) for slot in places}):
        waiting = {slot: places[slot] for slot in sorted(places) if bank_of(slot) == bank}
        while waiting:
            columns = min(map(len, waiting.values()))
            made = block(list(waiting))
            made.columns, made.first_row = columns, len(order)
            blocks.append(made)
            order += [row for rows in waiting.values() for row in rows[:columns]]
            waiting = {slot: rows[columns:] for slot, rows in waiting.items() if len(rows) > columns}
    order += bare
    if order == list(range(len(order))):
        return RowPlan(len(order), blocks)
    forth = torch.tensor(order, device=device)
    return RowPlan(len(order), blocks, forth, torch.argsort(forth))

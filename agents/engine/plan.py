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
    _alpha: float = field(init=False, default=1.0)
    _factors: Tensor | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if len(set(self.scales)) == 1:
            self._alpha = self.scales[0]
        elif self.scales:
            a = self.weights[0][0]
            self._factors = torch.tensor(self.scales, device=a.device, dtype=a.dtype)[:, None, None]

    @property
    def rows(self) -> slice:
        return slice(self.first_row, self.first_row + len(self.scales) * self.columns)

    def add(self, group: int, x: Tensor, ys: Parts, member: int | None) -> Parts:
        """Each y [rows, tokens, out] plus the adapters' part from x [rows, tokens, in]; of one layer, if `member`."""
        a, bs = self.weights[group]
        if member is not None:
            a, bs = a[..., member * self.rank : (member + 1) * self.rank], bs[member : member + 1]
        flat = (len(a), -1)
        h = torch.bmm(x.reshape(*flat, x.shape[-1]), a.to(x.dtype))
        if self._factors is not None:
            h = h * self._factors.to(h.dtype)
        hs = (h,) if len(bs) == 1 else torch.split(h, self.rank, dim=-1)
        return tuple(
            torch.baddbmm(y.reshape(*flat, y.shape[-1]), h, b.to(x.dtype), alpha=self._alpha).view(y.shape)
            for y, h, b in zip(ys, hs, bs, strict=True)
        )


@dataclass(frozen=True, eq=False)
class RowPlan:
    """The blocks of a forward, and `order`: which row of the batch stands at each place of the plan (None: its own)."""

    rows: int
    blocks: Sequence[Block] = ()
    order: Tensor | None = None
    inverse: Tensor | None = None

    def arrange(self, x: Tensor) -> Tensor:
        """Rows of the batch [rows, ...] in the plan's order."""
        return x if self.order is None else x.index_select(0, self.order)

    def restore(self, x: Tensor) -> Tensor:
        """The opposite of `arrange`."""
        return x if self.inverse is None else x.index_select(0, self.inverse)

    def add(self, group: int, x: Tensor, ys: Parts, *, member: int | None = None) -> Parts:
        """What a group of layers gives, with what the adapters add: x [rows, tokens, in], each y [rows, tokens, out] as
        the base has it, in the plan's order."""
        if not self.blocks:
            return ys
        pieces = [block.add(group, x[block.rows], tuple(y[block.rows] for y in ys), member) for block in self.blocks]
        if (end := self.blocks[-1].rows.stop) < self.rows:
            pieces.append(tuple(y[end:] for y in ys))
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

"""Training forwards that read a prompt once for all of its completions.

A group of rollouts shares its prompt, and a preference pair does too. `SharedPromptPolicy` puts the completions of one
prompt behind each other in one row; a mask lets each see the prompt and itself only, and positions restart after the
prompt. Log-probabilities and gradients are those of separate rows. For 8 short answers to one prompt it is several
times cheaper. Models with sliding windows take the plain path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from agents.engine.base import Base
from agents.engine.decoder import Sequences
from agents.engine.lora import AdapterStack
from agents.engine.policy import EnginePolicy, Slots, in_brief, precise
from training.rollouts import TokenPair

ROW_TOKENS = 512
"""Completions start a new row beyond this many tokens: attention costs the square of a row."""


@dataclass
class _Row:
    """One prompt under one slot and the completions behind it: (pair number, first column) of each."""

    slot: int
    prompt: tuple[int, ...]
    width: int
    places: list[tuple[int, int]] = field(default_factory=list)


class SharedPromptPolicy(EnginePolicy):
    """An engine policy whose `logprobs`, `score` and `summaries` pack completions of equal prompts into one row."""

    def __init__(self, base: Base, stack: AdapterStack) -> None:
        super().__init__(base, stack)
        self._packs = _sees_everything(base)

    def logprobs(self, pairs: Sequence[TokenPair], *, slot: Slots) -> tuple[Tensor, Tensor]:
        """As `EnginePolicy.logprobs`."""
        slots = [slot] * len(pairs) if isinstance(slot, int) else list(slot)
        rows = pack(pairs, slots)
        if not self._packs or len(rows) == len(pairs):
            return super().logprobs(pairs, slot=slot)
        logits, _, targets, places = self._read_packed(rows, pairs)
        chosen = torch.log_softmax(logits, dim=-1)[places, targets]
        lengths = torch.tensor([len(completion) for _, completion in pairs], device=self.base.device)
        mask = torch.arange(int(lengths.max()), device=self.base.device) < lengths[:, None]
        return torch.zeros(mask.shape, device=mask.device, dtype=chosen.dtype).masked_scatter(mask, chosen), mask

    def _briefly(self, pairs: Sequence[TokenPair], slots: Sequence[int]) -> tuple[Tensor, ...]:
        if not self._packs or not all(completion for _, completion in pairs):
            return super()._briefly(pairs, slots)
        return in_brief(*self._read_packed(pack(pairs, slots), pairs))

    def _read_packed(self, rows: Sequence[_Row], pairs: Sequence[TokenPair]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits and hidden states of the places that predict something, each once; all completion tokens in order,
        and the place that predicts each."""
        self._check(pairs)
        device = self.base.device
        ids, positions, visible, sources = (part.to(device) for part in _lay_out(rows, pairs))
        keep = torch.zeros(ids.numel(), dtype=torch.bool, device=device)
        keep[sources] = True
        seen = Sequences(ids, keep.view(ids.shape), positions, visible)
        logits, hidden = self._decoder.read(seen, self.stack.plan([row.slot for row in rows]))
        targets = torch.tensor([token for _, completion in pairs for token in completion], device=device)
        return precise(logits), hidden, targets, (keep.cumsum(0) - 1)[sources]


def pack(pairs: Sequence[TokenPair], slots: Sequence[int]) -> list[_Row]:
    """Distribute completions over rows of equal prompt and slot, in order. A completion's last token is never an
    input."""
    rows: list[_Row] = []
    open_rows: dict[tuple[int, tuple[int, ...]], _Row] = {}
    for number, ((prompt, completion), slot) in enumerate(zip(pairs, slots, strict=True)):
        ids, inputs = tuple(prompt), len(completion) - 1
        key = slot, ids
        row = open_rows.get(key)
        if row is None or row.width + inputs > max(ROW_TOKENS, len(ids) + inputs):
            row = open_rows[key] = _Row(slot, ids, len(ids))
            rows.append(row)
        row.places.append((number, row.width))
        row.width += inputs
    return rows


def _lay_out(rows: Sequence[_Row], pairs: Sequence[TokenPair]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ids, positions [rows, width], visibility [rows, width, width], the flat place each token is predicted at."""
    width = max(row.width for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    positions = torch.zeros(len(rows), width, dtype=torch.long)
    visible = torch.eye(width, dtype=torch.bool).repeat(len(rows), 1, 1)
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    sources: list[list[int]] = [[] for _ in pairs]
    for place, row in enumerate(rows):
        start = len(row.prompt)
        ids[place, :start] = torch.tensor(row.prompt)
        positions[place, :start] = torch.arange(start)
        visible[place, :start, :start] = causal[:start, :start]
        for number, first in row.places:
            inputs = list(pairs[number][1])[:-1]
            last = first + len(inputs)
            ids[place, first:last] = torch.tensor(inputs, dtype=torch.long)
            positions[place, first:last] = torch.arange(start, start + len(inputs))
            visible[place, first:last, :start] = True
            visible[place, first:last, first:last] = causal[: len(inputs), : len(inputs)]
            sources[number] = [place * width + column for column in (start - 1, *range(first, last))]
    return ids, positions, visible, torch.tensor([column for columns in sources for column in columns])


def _sees_everything(base: Base) -> bool:
    """Whether every layer attends to the whole row, which is what the mask assumes."""
    config = base.model.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    return getattr(config, "sliding_window", None) is None and set(kinds or ["full_attention"]) == {"full_attention"}

"""A key-value cache whose rows come and go between decode steps, for Hugging Face's own attention modules.

Door: `SlotCache`. All rows end at the same column, as in a left-padded batch: a short row leaves its first columns
empty and the mask hides them. So distances between columns are distances between tokens, and every mask that
transformers builds (causal, sliding window) is right without a change to the model. A row leaves by a swap with the
last one; buffers are preallocated and grow by moving the window, which happens once in many steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

_ROOM = 64
"""Columns added at the right when the window moves."""


class _Window:
    """The part of the buffers in use: `rows` rows, columns `start` to `end`; the same for every layer."""

    def __init__(self, capacity: tuple[int, int]) -> None:
        self.capacity = capacity
        self.rows = self.start = self.end = 0

    @property
    def length(self) -> int:
        return self.end - self.start


class _SlotLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer's keys and values, [rows, heads, columns, head size]."""

    is_sliding = False

    def __init__(self, window: _Window) -> None:
        super().__init__()
        self.window = window

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        rows, columns = self.window.capacity
        self.keys = key_states.new_zeros(rows, key_states.shape[1], columns, key_states.shape[3])
        self.values = value_states.new_zeros(rows, value_states.shape[1], columns, value_states.shape[3])
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        window = self.window
        end = window.end + key_states.shape[2]
        self.keys[: window.rows, :, window.end : end] = key_states
        self.values[: window.rows, :, window.end : end] = value_states
        return self.keys[: window.rows, :, window.start : end], self.values[: window.rows, :, window.start : end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.window.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.window.length

    def get_max_length(self) -> int:
        return -1

    def reframe(self, capacity: tuple[int, int], end: int) -> None:
        """Move the live window into new buffers so that it ends at column `end`."""
        window = self.window
        for name, old in (("keys", self.keys), ("values", self.values)):
            new = old.new_zeros(capacity[0], old.shape[1], capacity[1], old.shape[3])
            new[: window.rows, :, end - window.length : end] = old[: window.rows, :, window.start : window.end]
            setattr(self, name, new)


class SlotCache(Cache):  # type: ignore[misc]
    """The cache of one running batch. `lengths[row]` is the number of tokens that a row holds."""

    def __init__(self, layers: int, *, rows: int = 0, columns: int = 0) -> None:
        self.window = _Window((rows, columns))
        self.lengths: list[int] = []
        super().__init__(layers=[_SlotLayer(self.window) for _ in range(layers)])

    @classmethod
    def for_prompts(cls, layers: int, lengths: Sequence[int]) -> SlotCache:
        """An empty cache with just the room to prefill prompts of these lengths in one padded forward."""
        cache = cls(layers, rows=len(lengths), columns=max(lengths))
        cache.window.rows = len(lengths)
        cache.lengths = [length - max(lengths) for length in lengths]
        return cache

    def advance(self, tokens: int) -> None:
        """Take note that a forward has written `tokens` more columns."""
        self.window.end += tokens
        self.lengths = [length + tokens for length in self.lengths]

    def positions(self, tokens: int, device: torch.device) -> Tensor:
        """Positions [rows, tokens] of the next forward's tokens; 0 for padding."""
        first = torch.tensor(self.lengths, device=device)
        return (first[:, None] + torch.arange(tokens, device=device)).clamp_(min=0)

    def mask(self, tokens: int, device: torch.device) -> Tensor:
        """Which columns each row may see in the next forward of `tokens` tokens: BoolTensor [rows, columns]."""
        total = self.window.length + tokens
        first = torch.tensor([self.window.length - length for length in self.lengths], device=device)
        return torch.arange(total, device=device) >= first[:, None]

    def visible(self, tokens: int, device: torch.device) -> Tensor | None:
        """The same for each token, causally: BoolTensor [rows, tokens, columns]; None where every token sees all."""
        if tokens == 1 and min(self.lengths) == self.window.length:
            return None
        total = self.window.length + tokens
        causal = torch.ones(tokens, total, dtype=torch.bool, device=device).tril(self.window.length)
        return self.mask(tokens, device)[:, None] & causal

    def make_room(self, tokens: int = 1) -> None:
        """Make sure that the next forward finds room for `tokens` more columns."""
        rows, columns = self.window.capacity
        if self.window.end + tokens > columns:
            self._reframe(rows, self.window.length)

    def append(self, other: SlotCache, picks: Sequence[int]) -> None:
        """Take over rows of a prefilled cache; a row may be picked more than once (samples of one prompt)."""
        window = self.window
        longest = max(other.lengths[pick] for pick in picks)
        rows = window.rows + len(picks)
        if not self.layers[0].is_initialized or rows > window.capacity[0] or longest > window.end:
            self._adopt(other)
            self._reframe(1 << (rows - 1).bit_length(), max(window.length, longest))
        first = window.rows
        for pick in picks:
            self._copy_row(other, pick, window.rows)
            window.rows += 1
            self.lengths.append(other.lengths[pick])
        assert window.rows == first + len(picks)
        window.start = window.end - max(self.lengths)

    def _adopt(self, other: SlotCache) -> None:
        """Learn head counts, sizes and types from a cache that has seen a forward."""
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            if not mine.is_initialized:
                mine.lazy_initialization(theirs.keys, theirs.values)

    def _copy_row(self, other: SlotCache, pick: int, row: int) -> None:
        length = other.lengths[pick]
        source, target = (
            slice(other.window.end - length, other.window.end),
            slice(self.window.end - length, self.window.end),
        )
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            for buffer, given in ((mine.keys, theirs.keys), (mine.values, theirs.values)):
                buffer[row, :, : target.start] = 0
                buffer[row, :, target] = given[pick, :, source]

    def _reframe(self, rows: int, end: int) -> None:
        capacity = (rows, end + _ROOM)
        for layer in self.layers:
            layer.reframe(capacity, end)
        window = self.window
        window.start, window.end, window.capacity = end - window.length, end, capacity

    def drop(self, row: int) -> None:
        """Remove a row; the last row takes its place. What an empty cache held is freed."""
        window = self.window
        last = window.rows - 1
        if row != last:
            for layer in self.layers:
                layer.keys[row] = layer.keys[last]
                layer.values[row] = layer.values[last]
        self.lengths[row] = self.lengths[last]
        self.lengths.pop()
        window.rows = last
        if last:
            window.start = window.end - max(self.lengths)
        else:
            self.clear()

    def clear(self) -> None:
        """Drop every row and free the buffers."""
        for layer in self.layers:
            layer.keys = layer.values = None
            layer.is_initialized = False
        self.lengths = []
        self.window.capacity = (0, 0)
        self.window.rows = self.window.start = self.window.end = 0

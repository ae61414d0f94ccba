"""Next-token learning on an adapter slot: texts in packed blocks, beside a replay of what must not be forgotten.

Door: `pack`, `Supervised`, `mean_nll`, `nll_of`. Whose texts, and whether a candidate may be published, is decided in
`tasks/texts` and `stages/texts`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from agents.backend import PolicyBackend
from training.monitors import Monitors
from training.optim import StackedAdamW, warmed_up
from training.rollouts import TokenPair, TrainablePolicy


@dataclass(frozen=True, slots=True)
class TextsRecipe:
    """Settings of the stage. `block` is the length of a packed block in tokens; `replay` weighs the NLL of the replay.

    `min_train` counts texts, `min_gate` held-out conversations: the fewest of which one may go the other way and the
    sign test still be passed.
    """

    rank: int = 8
    alpha: float = 16.0
    lr: float = 1e-3
    block: int = 128
    batch: int = 4
    epochs: int = 4
    max_updates: int = 60
    warmup: int = 2
    replay: float = 4.0
    replay_items: int = 120
    min_train: int = 24
    min_gate: int = 8


def pack(texts: Sequence[Sequence[int]], *, end: int, block: int) -> list[TokenPair]:
    """Texts behind each other, each closed by `end` already, cut into blocks of at most `block` tokens to predict.

    No token is lost: the last one of a block is what the next begins with, and the first has `end` before it.
    """
    stream = [end, *(token for text in texts for token in text)]
    starts = range(0, len(stream) - 1, block)
    return [(stream[start : start + 1], stream[start + 1 : start + 1 + block]) for start in starts]


def mean_nll(logp: Tensor, mask: Tensor) -> Tensor:
    """Mean negative log-likelihood a token; `logp` [B, T] is 0 outside of `mask`."""
    return -logp.sum() / mask.sum()


def nll_of(policy: PolicyBackend, blocks: Sequence[TokenPair], *, slot: int) -> float:
    """Negative log-likelihood a token, over all tokens of the blocks."""
    scored = [value for tokens in policy.score(blocks, slot=slot) for value in tokens]
    return -sum(scored) / len(scored)


@dataclass
class Supervised:
    """Trains `slot` of a policy on blocks, with as many pairs of the replay beside them in every batch."""

    policy: TrainablePolicy
    optimizer: StackedAdamW
    recipe: TextsRecipe
    monitors: Monitors
    slot: int
    seed: int

    def updates(self, blocks: int) -> int:
        """How many optimiser steps so many blocks get."""
        return min(math.ceil(blocks * self.recipe.epochs / self.recipe.batch), self.recipe.max_updates)

    def run(
        self, blocks: Sequence[TokenPair], replay: Sequence[TokenPair], on_step: Callable[[int, dict[str, float]], None]
    ) -> str | None:
        """Update from the blocks; `on_step(done, numbers)` hears every step. Returns why it stopped early, or None."""
        batches = shuffled(len(blocks), self.recipe.batch, Random(f"texts {self.seed}"))
        replays = shuffled(len(replay), self.recipe.batch, Random(f"replay {self.seed}"))
        for step in range(self.updates(len(blocks))):
            self.optimizer.zero_grad()
            loss = self._nll([blocks[place] for place in next(batches)])
            numbers = {"text_nll": float(loss.detach())}
            if replay and self.recipe.replay:
                kept = self._nll([replay[place] for place in next(replays)])
                numbers["replay_nll"] = float(kept.detach())
                loss = loss + self.recipe.replay * kept
            torch.autograd.backward(loss)
            update = self.optimizer.step(lr_scale=warmed_up(step, warmup=self.recipe.warmup))
            numbers |= {"loss": float(loss.detach()), "gradient_norm": float(update.norms[0])}
            on_step(step + 1, numbers)
            if (reason := self.monitors.after_update(numbers["loss"], update)) is not None:
                return reason
        return None

    def _nll(self, pairs: Sequence[TokenPair]) -> Tensor:
        return mean_nll(*self.policy.logprobs(pairs, slot=self.slot))


def shuffled(count: int, size: int, rng: Random) -> Iterator[list[int]]:
    """Shuffled passes without end; a batch never holds one place twice unless there are fewer of them than `size`."""
    waiting: list[int] = []
    size = min(size, count)
    while True:
        if len(waiting) < size:
            others = [place for place in range(count) if place not in waiting]
            waiting += rng.sample(others, len(others)) + rng.sample(waiting, len(waiting))
        yield waiting[:size]
        del waiting[:size]

"""Learning from the owner's preferences: DPO with a supervised term, on one adapter slot.

`Dpo` updates a slot from encoded pairs; the reference is another, frozen slot, scored once. `margins_by_prompt` and
`chosen_nll` measure it on pairs kept for the gate. The loss itself is in `losses`, the pairs come from
`tasks/interactions`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean

import torch
from torch import Tensor

from agents.backend import PolicyBackend
from agents.engine.base import Base
from training.losses import dpo_loss
from training.monitors import Monitors
from training.optim import StackedAdamW, warmed_up
from training.rollouts import TokenPair, TrainablePolicy
from training.tasks.interactions import Preference


@dataclass(frozen=True, slots=True)
class PreferenceRecipe:
    """Settings of the stage. About 30 updates of 8 pairs move a style; `sft` anchors the chosen answers' likelihood.

    `min_gate` counts held-out prompts. One pair in four is held out, so 20 of them would ask for some 80 preferences,
    where some dozens must do; 8 is the fewest of which one may go the other way and the sign test still be passed.
    """

    rank: int = 8
    alpha: float = 16.0
    lr: float = 5e-4
    beta: float = 0.2
    label_smoothing: float = 0.0
    sft: float = 1.0
    batch: int = 8
    epochs: int = 6
    max_updates: int = 60
    warmup: int = 2
    min_train: int = 12
    min_gate: int = 8


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """A preference with the token ids of its chosen and rejected completions, each with its prompt."""

    preference: Preference
    chosen: TokenPair
    rejected: TokenPair


def encode_pairs(base: Base, preferences: Sequence[Preference]) -> list[EncodedPair]:
    """Token ids of preferences; a pair that does not fit the model's context is left out."""
    encoded = []
    for preference in preferences:
        prompt = base.encode(preference.messages)
        chosen, rejected = (encode_completion(base, text) for text in (preference.chosen, preference.rejected))
        if len(prompt) + max(len(chosen), len(rejected)) <= base.max_positions:
            encoded.append(EncodedPair(preference, (prompt, chosen), (prompt, rejected)))
    return encoded


def encode_completion(base: Base, text: str) -> list[int]:
    """Token ids of an assistant's answer with its end; the text itself never yields special tokens."""
    ids: list[int] = base.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
    return [*ids, base.tokenizer.eos_token_id]


def updates(pairs: int, recipe: PreferenceRecipe) -> int:
    """How many optimiser steps so many pairs get."""
    return min(math.ceil(pairs * recipe.epochs / recipe.batch), recipe.max_updates)


@dataclass
class Dpo:
    """Trains `slot` of a policy against the frozen slot `reference`."""

    policy: TrainablePolicy
    optimizer: StackedAdamW
    recipe: PreferenceRecipe
    monitors: Monitors
    slot: int
    reference: int
    seed: int

    def run(self, pairs: Sequence[EncodedPair], on_step: Callable[[int, dict[str, float]], None]) -> str | None:
        """Update from the pairs; `on_step(done, numbers)` hears every step. Returns why it stopped early, or None."""
        anchors = margins(self.policy, pairs, slot=self.reference)
        batches = _batches(len(pairs), self.recipe.batch, Random(f"preferences {self.seed}"))
        for step in range(updates(len(pairs), self.recipe)):
            chosen = next(batches)
            batch, anchor = [pairs[place] for place in chosen], [anchors[place] for place in chosen]
            self.optimizer.zero_grad()
            loss, numbers = pair_loss(self.policy, batch, anchor, self.recipe, slot=self.slot)
            torch.autograd.backward(loss)
            update = self.optimizer.step(lr_scale=warmed_up(step, warmup=self.recipe.warmup))
            on_step(step + 1, numbers | {"gradient_norm": float(update.norms[0])})
            if (reason := self.monitors.after_update(numbers["loss"], update)) is not None:
                return reason
        return None


def pair_loss(
    policy: TrainablePolicy,
    batch: Sequence[EncodedPair],
    anchors: Sequence[float],
    recipe: PreferenceRecipe,
    *,
    slot: int,
) -> tuple[Tensor, dict[str, float]]:
    """DPO plus `sft` times the mean token NLL of the chosen answers; `anchors` are the reference's margins."""
    both = [pair.chosen for pair in batch] + [pair.rejected for pair in batch]
    logp, mask = policy.logprobs(both, slot=slot)
    logp = torch.where(mask, logp, 0.0)
    summed = logp.sum(dim=1)
    chosen, rejected = summed[: len(batch)], summed[len(batch) :]
    margin = chosen - rejected - torch.tensor(anchors, dtype=logp.dtype, device=logp.device)
    preference = dpo_loss(margin, beta=recipe.beta, label_smoothing=recipe.label_smoothing).mean()
    nll = -logp[: len(batch)].sum() / mask[: len(batch)].sum()
    loss = preference + recipe.sft * nll
    numbers = {
        "loss": float(loss.detach()),
        "accuracy": float((margin.detach() > 0).float().mean()),
        "margin": float(margin.detach().mean()),
        "chosen_nll": float(nll.detach()),
    }
    return loss, numbers


def margins(policy: PolicyBackend, pairs: Sequence[EncodedPair], *, slot: int) -> list[float]:
    """log p(chosen) - log p(rejected) of each pair, summed over tokens."""
    chosen = policy.score([pair.chosen for pair in pairs], slot=slot)
    rejected = policy.score([pair.rejected for pair in pairs], slot=slot)
    return [sum(better) - sum(worse) for better, worse in zip(chosen, rejected, strict=True)]


def margins_by_prompt(policy: PolicyBackend, pairs: Sequence[EncodedPair], *, slot: int) -> list[float]:
    """The mean margin of each prompt: several pairs of one prompt are one piece of evidence."""
    by_prompt: dict[str, list[float]] = {}
    for pair, margin in zip(pairs, margins(policy, pairs, slot=slot), strict=True):
        by_prompt.setdefault(pair.preference.question, []).append(margin)
    return [fmean(found) for found in by_prompt.values()]


def prompts_of(pairs: Sequence[EncodedPair]) -> int:
    """How many different prompts pairs have."""
    return len({pair.preference.question for pair in pairs})


def chosen_nll(policy: PolicyBackend, pairs: Sequence[EncodedPair], *, slot: int) -> list[float]:
    """Negative log-likelihood a token of each chosen answer."""
    return [-sum(tokens) / len(tokens) for tokens in policy.score([pair.chosen for pair in pairs], slot=slot)]


def _batches(count: int, size: int, rng: Random) -> Iterator[list[int]]:
    """Shuffled passes without end; a batch never holds one pair twice unless there are fewer pairs than `size`."""
    waiting: list[int] = []
    size = min(size, count)
    while True:
        if len(waiting) < size:
            others = [place for place in range(count) if place not in waiting]
            waiting += rng.sample(others, len(others)) + rng.sample(waiting, len(waiting))
        yield waiting[:size]
        del waiting[:size]

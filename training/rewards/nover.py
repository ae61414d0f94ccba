"""NOVER: reasoning is good when it makes a reference answer likely; no verifier (Liu et al. 2025, 2505.16022).

Ranks within a group, because raw perplexities are unstable and depend on length. The reference never enters the
policy's prompt. The paper divides by the natural logarithm of the reasoning's length, the authors' code by log10.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from training.rewards.base import Batch, Need, Rewards, groups, needed

Variant = Literal["paper", "repository"]


def reasoning_perplexity(logprobs: Tensor, reasoning_tokens: int, *, variant: Variant = "paper") -> float:
    """P_r = exp(-sum_i log p(g_i | x, t, g_<i) / (|g| N(|t|))), N = max(1, 1 + log|t|).

    Args:
        logprobs: [n], of the reference's tokens after the reasoning t, under a frozen or lagging policy.
        reasoning_tokens: |t|; 0 counts as 1.
    """
    length = max(reasoning_tokens, 1)
    longer = 1 + (math.log(length) if variant == "paper" else math.log10(length))
    return math.exp(-float(logprobs.sum()) / (len(logprobs) * max(1.0, longer)))


def nover_rewards(perplexities: Sequence[float | None], lengths: Sequence[int]) -> list[float]:
    """R = R_f + 1[R_f = 1] (R_r + R_e) of one group.

    R_r = (n - rank) / n by ascending perplexity, ranks from 0; R_e = the share of the others that are both longer and
    less likely, 0 where fewer than two are valid.

    Args:
        perplexities: P_r of every rollout, None where its form is wrong, which is R_f = 0.
        lengths: tokens of each reasoning.
    """
    valid = [place for place, value in enumerate(perplexities) if value is not None]
    known = {place: value for place, value in enumerate(perplexities) if value is not None}
    order = sorted(valid, key=lambda place: known[place])
    ranks = {place: rank for rank, place in enumerate(order)}
    totals = []
    for place in range(len(perplexities)):
        if place not in known:
            totals.append(0.0)
            continue
        beaten = sum(lengths[place] < lengths[other] and known[place] < known[other] for other in valid)
        efficiency = beaten / (len(valid) - 1) if len(valid) > 1 else 0.0
        totals.append(1.0 + (len(valid) - ranks[place]) / len(valid) + efficiency)
    return totals


class Nover:
    """Form, rank by the reference's perplexity, and brevity; None where the task has no reference answer."""

    name = "nover"
    needs: frozenset[Need] = frozenset({"reference_text"})

    def __init__(self, *, variant: Variant = "paper") -> None:
        self._variant = variant

    def score(self, batch: Batch) -> Rewards:
        references = needed(batch.references, "reference_text", self.name)
        values: list[float | None] = [None] * len(batch)
        for places in groups(batch):
            present = [place for place in places if references[place] is not None]
            read = [references[place] for place in present]
            perplexities = [
                None
                if one.after_reasoning is None
                else reasoning_perplexity(one.after_reasoning, one.reasoning_tokens, variant=self._variant)
                for one in read
            ]
            totals = nover_rewards(perplexities, [one.reasoning_tokens for one in read])
            for place, total in zip(present, totals, strict=True):
                values[place] = total
        return Rewards(values)

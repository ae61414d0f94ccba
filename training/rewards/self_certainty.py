"""Self-certainty: how far from uniform the policy's next tokens are (INTUITOR, Zhao et al. 2025, 2505.19590).

A diagnostic, never alone: optimised by itself it ends in repeated tokens and ever shorter answers.
"""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from training.rewards.base import Batch, Need, Rewards, needed

Variant = Literal["paper", "repository"]
"""The authors' code leaves out the constant log V."""


def self_certainty(logsumexp: Tensor, mean: Tensor, vocabulary: int, *, variant: Variant = "paper") -> Tensor:
    """KL(uniform || p_t) = LSE(z_t) - mean_v z_tv - log V of every token, in nats.

    Args:
        logsumexp, mean: [T], over the `vocabulary` logits of each token.
    """
    return logsumexp - mean - (math.log(vocabulary) if variant == "paper" else 0.0)


class SelfCertainty:
    """The mean self-certainty of a completion's tokens under the policy that sampled it."""

    name = "self_certainty"
    needs: frozenset[Need] = frozenset({"logit_summary"})

    def __init__(self, *, variant: Variant = "paper") -> None:
        self._variant = variant

    def score(self, batch: Batch) -> Rewards:
        values = [
            float(self_certainty(one.logsumexp, one.mean, one.vocabulary, variant=self._variant).mean())
            for one in needed(batch.summaries, "logit_summary", self.name)
        ]
        return Rewards(values)

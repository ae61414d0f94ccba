"""DPO's implicit reward: what preference training has moved a model towards (Rafailov et al. 2023, 2305.18290).

The adapter that the stage started from, against the bare base: one set of weights, read with the adapter on and off.
Only differences within a prompt mean anything, because beta log Z(x) is left out. It trains nothing; `preference.py` is
DPO itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from training.rewards.base import Batch, Need, Rewards, needed


def implicit_token_rewards(logprobs: Tensor, logprobs_ref: Tensor, *, beta: float = 0.1) -> Tensor:
    """beta (log pi(y_t) - log ref(y_t)) of every token; shapes alike, natural logarithms."""
    return beta * (logprobs - logprobs_ref)


def implicit_reward(logprobs: Sequence[float], logprobs_ref: Sequence[float], *, beta: float = 0.1) -> float:
    """beta log(pi(y|x) / ref(y|x)), the sum over the T tokens of one completion (equation 5 without beta log Z(x))."""
    first, second = (torch.tensor(values, dtype=torch.float64) for values in (logprobs, logprobs_ref))
    return float(implicit_token_rewards(first, second, beta=beta).sum())


class Implicit:
    """The implicit reward of the adapter that the stage started from; 0 throughout where it is the bare base."""

    name = "implicit"
    needs: frozenset[Need] = frozenset({"ref_logprobs", "base_logprobs"})

    def __init__(self, *, beta: float = 0.1) -> None:
        self._beta = beta

    def score(self, batch: Batch) -> Rewards:
        tuned = needed(batch.ref_logprobs, "ref_logprobs", self.name)
        bare = needed(batch.base_logprobs, "base_logprobs", self.name)
        return Rewards([implicit_reward(one, other, beta=self._beta) for one, other in zip(tuned, bare, strict=True)])

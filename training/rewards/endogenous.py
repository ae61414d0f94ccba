"""The endogenous reward: a language model's logits read as soft Q-values (Li et al. 2025, 2506.23235).

Inverse soft-Bellman: V(s) = alpha LSE(Q(s, .) / alpha), r(s_h, a_h) = Q(s_h, a_h) - V(s_{h+1}), V(end) = 0. Summed over
a completion it is alpha log p(y|x) + V(x), so that within one prompt it ranks by likelihood under the frozen base: it
favours short and generic text, and a policy trained on it must not become the next reward. Never alone.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from training.rewards.base import Batch, Need, Rewards, needed

Outcome = Literal["mean", "sum"]
"""How the rewards of the tokens become one: the mean does not favour short completions, the sum is the paper's."""


def soft_values(logits: Tensor, *, alpha: float = 1.0) -> Tensor:
    """V = alpha LSE(logits / alpha) over the last dimension: [T, vocabulary] -> [T]."""
    return alpha * (logits / alpha).logsumexp(dim=-1)


def endogenous_token_rewards(chosen: Tensor, values: Tensor) -> Tensor:
    """r_t = chosen logit_t - V_{t+1} of one completion, with V = 0 behind its end.

    Args:
        chosen: [T], the logit of each token that was chosen.
        values: [T], the soft value of the state each was chosen in.
    """
    return chosen - torch.cat([values[1:], values.new_zeros(1)])


class Endogenous:
    """The endogenous reward of a completion under the bare base, a mean over its tokens unless told otherwise."""

    name = "endogenous"
    needs: frozenset[Need] = frozenset({"base_logit_summary"})

    def __init__(self, *, outcome: Outcome = "mean") -> None:
        self._outcome = outcome

    def score(self, batch: Batch) -> Rewards:
        values = []
        for one in needed(batch.base_summaries, "base_logit_summary", self.name):
            tokens = endogenous_token_rewards(one.chosen.double(), one.logsumexp.double())
            values.append(float(tokens.mean() if self._outcome == "mean" else tokens.sum()))
        return Rewards(values)

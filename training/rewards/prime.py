"""PRIME: token rewards from an implicit process reward model that learns online from outcomes (Cui et al. 2025).

2502.01456. The process model is an adapter of its own on the same base; its log-ratio to the reference is the reward of
a token, and a cross-entropy on the outcome trains it on the very rollouts it has just scored. The paper's formula and
the authors' code differ in the baseline; both are here. A group must come from one policy version, because the baseline
is the others' mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor
from torch.nn import functional

from training.optim import StackedAdamW
from training.rewards.base import Batch, Need, Reward, Rewards, groups, needed
from training.rollouts import TokenPair, TrainablePolicy

_EPS = 1e-6


def paper_returns(rewards: Sequence[Tensor], outcomes: Tensor, *, gamma: float = 1.0) -> list[Tensor]:
    """A_t = sum_{s>=t} gamma^(s-t) [r(y_s) - mean of the others' mean r] + r_o - mean of the others' r_o, of one group.

    Args:
        rewards: K tensors [T_i], token rewards.
        outcomes: [K], 1 right, 0 wrong.
    """
    means = torch.stack([one.mean() for one in rewards])
    found = []
    for place, one in enumerate(rewards):
        centred = one - _others(means, place)
        found.append(reverse_cumsum(centred, gamma=gamma) + outcomes[place] - _others(outcomes, place))
    return found


def repository_returns(rewards: Sequence[Tensor], outcomes: Tensor) -> list[Tensor]:
    """The same as the authors' code has it: q'_t = q_t n/(n-1) - (sum of all means)/(n-1), the outcome likewise."""
    count = len(rewards)
    means = torch.stack([one.mean() for one in rewards])
    found = []
    for place, one in enumerate(rewards):
        centred = (one * count - means.sum()) / (count - 1)
        outcome = (outcomes[place] * count - outcomes.sum()) / (count - 1)
        found.append(reverse_cumsum(centred) + outcome)
    return found


def reverse_cumsum(values: Tensor, *, gamma: float = 1.0) -> Tensor:
    """[T] -> [T], sum_{s>=t} gamma^(s-t) v_s."""
    found, running = torch.empty_like(values), values.new_zeros(())
    for place in range(len(values) - 1, -1, -1):
        running = values[place] + gamma * running
        found[place] = running
    return found


def batch_normed(rewards: Sequence[Tensor]) -> list[Tensor]:
    """Token rewards over the largest absolute return of the batch, which keeps them below 1 (authors' code)."""
    largest = max(float(reverse_cumsum(one).abs().max()) for one in rewards)
    return [one / (largest + _EPS) for one in rewards]


def whitened(values: Sequence[Tensor]) -> list[Tensor]:
    """Mean 0 and standard deviation 1 (variance over N - 1) over all tokens together."""
    every = torch.cat(list(values))
    scale = (every.var() + 1e-8).rsqrt()
    return [(one - every.mean()) * scale for one in values]


def outcome_loss(log_ratios: Tensor, outcomes: Tensor, *, beta: float = 0.05) -> Tensor:
    """Cross-entropy of sigma(beta sum_t log(pi_phi / pi_ref)) with the outcome, the mean over rollouts.

    Args:
        log_ratios: [B], summed over the tokens of each rollout.
        outcomes: [B], 1 right, 0 wrong.
    """
    return functional.binary_cross_entropy_with_logits(beta * log_ratios, outcomes)


@dataclass
class ProcessModel:
    """The implicit process reward model: an adapter slot, its optimiser, and the frozen slot it is compared with."""

    policy: TrainablePolicy
    optimizer: StackedAdamW
    slot: int
    beta: float = 0.05
    rows: int = 64

    def log_ratios(self, pairs: Sequence[TokenPair], reference: Sequence[Sequence[float]]) -> list[Tensor]:
        """log pi_phi(y_t) - log pi_ref(y_t) of every completion token, a tensor [T_i] in float64 each."""
        scored = self.policy.score(pairs, slot=self.slot)
        return [
            torch.tensor(one, dtype=torch.float64) - torch.tensor(other, dtype=torch.float64)
            for one, other in zip(scored, reference, strict=True)
        ]

    def update(
        self, pairs: Sequence[TokenPair], reference: Sequence[Sequence[float]], outcomes: Sequence[float]
    ) -> Mapping[str, float]:
        """One step of the cross-entropy on outcomes, in micro-batches of `rows`; loss before it and gradient norm."""
        self.optimizer.zero_grad()
        total = 0.0
        for start in range(0, len(pairs), self.rows):
            part = slice(start, start + self.rows)
            logp, mask = self.policy.logprobs(pairs[part], slot=self.slot)
            anchors = torch.tensor([sum(tokens) for tokens in reference[part]], dtype=logp.dtype, device=logp.device)
            right = torch.tensor(outcomes[part], dtype=logp.dtype, device=logp.device)
            summed = torch.where(mask, logp, 0.0).sum(dim=1) - anchors
            loss = outcome_loss(summed, right, beta=self.beta) * (len(right) / len(pairs))
            torch.autograd.backward(loss)
            total += float(loss.detach())
        applied = self.optimizer.step()
        self.optimizer.zero_grad()
        return {"loss": total, "gradient_norm": float(applied.norms[0])}


class Prime:
    """Token returns of the process model and of the outcome together; None where `outcome` has nothing to say."""

    name = "prime"
    needs: frozenset[Need] = frozenset({"ground_truth", "ref_logprobs", "trainable"})

    def __init__(self, model: ProcessModel, outcome: Reward, *, variant: str = "paper") -> None:
        self._model, self._outcome, self._variant = model, outcome, variant

    def score(self, batch: Batch) -> Rewards:
        outcomes = self._outcomes(batch)
        known = [place for place, value in enumerate(outcomes) if value is not None]
        anchors = needed(batch.ref_logprobs, "ref_logprobs", self.name)
        values: list[list[float] | None] = [None] * len(batch)
        if not known:
            return Rewards(None, values)
        ratios = self._model.log_ratios([batch[place].pair for place in known], [anchors[place] for place in known])
        rewards = dict(zip(known, self._scaled(ratios), strict=True))
        for places in groups(batch):
            members = [place for place in places if place in rewards]
            if len(members) < 2:
                continue  # no others to be compared with
            right = torch.tensor([outcomes[place] for place in members], dtype=torch.float64)
            for place, tokens in zip(members, self._returns([rewards[one] for one in members], right), strict=True):
                values[place] = tokens.tolist()
        return Rewards(None, values, info={"right": fmean(value for value in outcomes if value is not None)})

    def learn(self, batch: Batch) -> Mapping[str, float]:
        """Train the process model on the rollouts it has just scored."""
        outcomes = self._outcomes(batch)
        known = [place for place, value in enumerate(outcomes) if value is not None]
        if not known:
            return {}
        anchors = needed(batch.ref_logprobs, "ref_logprobs", self.name)
        right = [value for value in outcomes if value is not None]
        return self._model.update([batch[place].pair for place in known], [anchors[place] for place in known], right)

    def _outcomes(self, batch: Batch) -> Sequence[float | None]:
        return self._outcome.score(batch).values or [None] * len(batch)

    def _scaled(self, ratios: Sequence[Tensor]) -> list[Tensor]:
        if self._variant == "repository":
            return batch_normed(ratios)
        return [self._model.beta * one for one in ratios]

    def _returns(self, rewards: Sequence[Tensor], outcomes: Tensor) -> list[Tensor]:
        paper = self._variant == "paper"
        return paper_returns(rewards, outcomes) if paper else repository_returns(rewards, outcomes)


def _others(values: Tensor, place: int) -> Tensor:
    """The mean of all but one of [K]."""
    return (values.sum() - values[place]) / (len(values) - 1)

"""Rollouts and prepared batches for the tests of rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from agents.backend import SampledTokens
from agents.engine.policy import TokenSummary
from agents.messages import Message
from training.rewards.base import Batch, Reward
from training.rewards.base import score as hold
from training.rollouts import Rollout, Task


def task(question: str = "What is 2 + 2?", reference: str | None = None) -> Task:
    return Task((Message("user", question),), question, None, reference)


def said(text: str, *, group: int = 0, of: Task | None = None, finish: str = "stop", tokens: int = 2) -> Rollout:
    ids = tuple(range(10, 10 + tokens))
    return Rollout(group, of or task(), SampledTokens((1, 2), ids, (-1.0,) * tokens, text, finish))


def summary(logits: Sequence[Sequence[float]], chosen: Sequence[int], hidden: Tensor | None = None) -> TokenSummary:
    """The summary of a completion from its logits [T, vocabulary]."""
    table = torch.tensor(logits, dtype=torch.float64)
    whole = table.logsumexp(dim=-1)
    picked = table.gather(1, torch.tensor(chosen)[:, None])[:, 0]
    entropy = -(table.softmax(-1) * table.log_softmax(-1)).sum(-1)
    states = torch.zeros(len(chosen), 1) if hidden is None else hidden
    return TokenSummary(table.shape[1], picked - whole, picked, whole, table.mean(dim=-1), entropy, states)


def score(reward: Reward, batch: Batch) -> tuple[Sequence[float | None], Mapping[str, Any]]:
    """The values of a reward that gives one a rollout, held to the contract, and what it wants recorded."""
    rewards = hold(reward, batch)
    assert rewards.values is not None
    return rewards.values, rewards.info

"""PRIME: the paper's and the repository's returns on one example, and a process model that learns online."""

from __future__ import annotations

import math

import pytest
import torch

from agents.messages import Message, SamplingParams
from tests.training.toy import ToyPolicy
from training.optim import StackedAdamW
from training.rewards.base import Batch, Rewards, Trainable
from training.rewards.prepare import Reader, prepare
from training.rewards.prime import (
    Prime,
    ProcessModel,
    batch_normed,
    outcome_loss,
    paper_returns,
    repository_returns,
    reverse_cumsum,
    whitened,
)
from training.rollouts import Task, sample_groups

Q = [torch.tensor([0.2, 0.4], dtype=torch.float64), torch.tensor([-0.2, 0.0], dtype=torch.float64)]
OUTCOMES = torch.tensor([1.0, 0.0], dtype=torch.float64)
TASK = Task((Message("user", "0"),), "0")


def flat(values: list[torch.Tensor]) -> list[float]:
    return torch.cat(values).tolist()


def test_returns_of_paper_and_repository() -> None:
    assert flat(paper_returns(Q, OUTCOMES)) == pytest.approx([1.8, 1.5, -1.8, -1.3])
    found = repository_returns(Q, OUTCOMES)
    assert flat(found) == pytest.approx([1.8, 1.6, -1.8, -1.2])
    assert flat(whitened(found)) == pytest.approx([0.911296, 0.804085, -1.018507, -0.696874], abs=1e-6)


def test_batch_norm_divides_by_the_largest_return() -> None:
    assert flat(batch_normed(Q)) == pytest.approx([1 / 3, 2 / 3, -1 / 3, 0.0], abs=2e-6)


def test_outcome_loss() -> None:
    sums = torch.stack([one.sum() for one in Q])
    assert float(outcome_loss(sums, OUTCOMES, beta=0.05)) == pytest.approx(0.683210, abs=1e-6)
    assert bool(((sums > 0) == (OUTCOMES > 0.5)).all())


def test_discounted_returns() -> None:
    assert reverse_cumsum(torch.tensor([1.0, 2.0, 4.0]), gamma=0.5).tolist() == [3.0, 4.0, 4.0]


class Outcome:
    """Word 1 is right, word 3 cannot be judged."""

    name = "outcome"
    needs = frozenset()

    def score(self, batch: Batch) -> Rewards:
        table = (0.0, 1.0, 0.0, None)
        return Rewards([table[rollout.sampled.token_ids[0]] for rollout in batch])


def test_the_process_model_learns_the_outcome_online_and_touches_no_other_slot() -> None:
    policy = ToyPolicy()
    model = ProcessModel(policy, StackedAdamW([policy.logits], slots=[1], lr=0.2), slot=1, beta=1.0)
    prime = Prime(model, Outcome())
    assert isinstance(prime, Trainable)
    losses = []
    for seed in range(40):
        rollouts = sample_groups(policy, [TASK] * 4, 8, SamplingParams(1, 1.0, seed=seed), slot=3)
        batch = prepare(Reader(policy, slot=3, reference=2), rollouts, prime.needs)
        scored = prime.score(batch)
        losses.append(prime.learn(batch)["loss"])
    assert losses[0] == pytest.approx(math.log(2))
    assert losses[-1] < 0.6 * losses[0]
    assert (policy.logits[[0, 2, 3]] == 0).all()
    assert policy.logits.grad is None
    assert scored.values is None
    assert scored.token_values is not None
    for rollout, tokens in zip(rollouts, scored.token_values, strict=True):
        word = rollout.sampled.token_ids[0]
        if word == 3:
            assert tokens is None
        else:
            assert tokens is not None and (word != 1 or tokens[0] > 0)


def test_micro_batches_of_the_process_model_add_up() -> None:
    weights = []
    for rows in (64, 3):
        policy = ToyPolicy()
        model = ProcessModel(policy, StackedAdamW([policy.logits], slots=[1], lr=0.1), slot=1, rows=rows)
        pairs = [((0,), (word % 4,)) for word in range(8)]
        told = model.update(pairs, [[-1.0]] * 8, [float(word % 2) for word in range(8)])
        weights.append((policy.logits.detach().clone(), told["loss"]))
    torch.testing.assert_close(weights[0][0], weights[1][0], atol=1e-6, rtol=0)
    assert weights[0][1] == pytest.approx(weights[1][1])


def test_a_rollout_without_others_in_its_group_has_no_return() -> None:
    policy = ToyPolicy()
    model = ProcessModel(policy, StackedAdamW([policy.logits], slots=[1], lr=0.1), slot=1)
    rollouts = sample_groups(policy, [TASK], 1, SamplingParams(1, 1.0, seed=1), slot=3)
    batch = prepare(Reader(policy, slot=3, reference=2), rollouts, Prime(model, Outcome()).needs)
    assert Prime(model, Outcome()).score(batch).token_values == [None]

"""Reinforcement learning on a softmax policy, where the right gradient is known exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from agents.messages import Message, SamplingParams
from tests.training.toy import ToyPolicy
from training import grpo
from training.grpo import Grpo, GrpoRecipe, Step, advantages_of, informative, per_rollout
from training.losses import policy_loss
from training.monitors import Monitors
from training.optim import StackedAdamW
from training.rewards.base import Batch, Need, RewardFailed, Rewards
from training.rollouts import Rollout, Task, sample_groups

TASK = Task((Message("user", "0"),), "0")


class Again:
    """The same task for ever."""

    def take(self, count: int) -> list[Task]:
        return [TASK] * count


class Likes:
    """Rewards words as a table says."""

    name = "likes"
    needs: frozenset[Need] = frozenset()

    def __init__(self, *values: float | None) -> None:
        self._values = values

    def score(self, rollouts: Sequence[Rollout]) -> Rewards:
        return Rewards([self._values[rollout.sampled.token_ids[0]] for rollout in rollouts], info={"n": len(rollouts)})


class Fine:
    """The same, a value for every token; None for words that it does not know."""

    name = "fine"
    needs: frozenset[Need] = frozenset({"ref_logprobs"})

    def __init__(self, *values: float | None) -> None:
        self._values = values

    def score(self, batch: Batch) -> Rewards:
        assert batch.ref_logprobs is not None
        found = [self._values[rollout.sampled.token_ids[0]] for rollout in batch]
        return Rewards(None, [None if value is None else [value] for value in found])


def run(policy: ToyPolicy, reward: Likes | Fine, recipe: GrpoRecipe, lr: float = 0.1) -> tuple[list[Step], str | None]:
    steps: list[Step] = []
    trainer = Grpo(
        policy=policy,
        optimizer=StackedAdamW([policy.logits], slots=[3], lr=lr),
        rewards=[(reward, 1.0)],
        recipe=recipe,
        monitors=Monitors(kl_limit=recipe.kl_limit),
        slot=3,
        reference=2,
        seed=5,
    )
    stopped = trainer.run(Again(), lambda done, step: steps.append(step))
    return steps, stopped


def test_mean_gradient_is_the_exact_gradient_of_expected_reward() -> None:
    policy, values = ToyPolicy(), torch.tensor([1.0, 0.2, 0.0, -0.5], dtype=torch.float64)
    with torch.no_grad():
        policy.logits[3, 0] = torch.tensor([0.3, -0.2, 0.5, 0.1])
    odds = policy.distribution(3).detach()
    exact = odds * (values - (odds * values).sum())
    group = 8
    found: list[Tensor] = []
    for seed in range(3000):
        params = SamplingParams(1, 1.0, seed=seed)
        rollouts = sample_groups(policy, [TASK], group, params, slot=3)
        scores = Likes(*values.tolist()).score(rollouts).values
        rewards = torch.tensor(scores, dtype=torch.float64)
        advantages = rewards - rewards.mean()
        policy.logits.grad = None
        logp, mask = policy.logprobs([rollout.pair for rollout in rollouts], slot=3)
        torch.autograd.backward(policy_loss(logp, logp.detach(), advantages, mask).value)
        assert policy.logits.grad is not None
        found.append(-policy.logits.grad[3, 0] * group / (group - 1))  # the group mean contains the sample itself
    sample = torch.stack(found)
    error = sample.std(dim=0) / math.sqrt(len(found))
    assert ((sample.mean(dim=0) - exact).abs() < 3 * error).all()


def test_learns_what_is_rewarded_and_touches_no_other_slot() -> None:
    policy = ToyPolicy()
    steps, stopped = run(policy, Likes(0, 1, 0, 0), GrpoRecipe(steps=40, prompts=4, kl_limit=9.0))
    assert policy.distribution(3)[1] > 0.9
    assert (policy.logits[:3] == 0).all()
    assert steps[0].numbers["reward_likes"] < steps[-1].numbers["reward_likes"]
    assert steps[0].numbers["info"] == {"likes": {"n": 4 * 8}}
    assert stopped is None or "entropy" in stopped


def test_zero_spread_teaches_nothing_and_is_counted() -> None:
    policy = ToyPolicy()
    steps, _ = run(policy, Likes(1, 1, 1, 1), GrpoRecipe(steps=3, prompts=2))
    assert (policy.logits == 0).all()
    assert [step.numbers["informative"] for step in steps] == [0, 0, 0]
    assert steps[0].numbers["loss"] is None


def test_missing_rewards_stay_missing() -> None:
    policy = ToyPolicy()
    steps, _ = run(policy, Likes(None, 1, 0, None), GrpoRecipe(steps=1, prompts=2))
    for value, rollout, advantage in zip(
        steps[0].rewards["likes"], steps[0].rollouts, steps[0].advantages, strict=True
    ):
        assert (value is None) == (rollout.sampled.token_ids[0] in (0, 3))
        assert value is not None or advantage == 0


def test_kl_limit_stops_before_learning_more() -> None:
    steps, stopped = run(ToyPolicy(), Likes(1, 0, 0, 0), GrpoRecipe(steps=60, prompts=4, kl_limit=0.2))
    assert stopped is not None
    assert "KL" in stopped
    assert len(steps) < 60


def test_kl_penalty_holds_the_policy_near_its_reference() -> None:
    free, held = ToyPolicy(), ToyPolicy()
    run(free, Likes(1, 0, 0, 0), GrpoRecipe(steps=30, prompts=4, kl_limit=9.0))
    run(held, Likes(1, 0, 0, 0), GrpoRecipe(steps=30, prompts=4, kl_limit=9.0, kl_beta=1.0))
    assert free.distribution(3)[0] > held.distribution(3)[0] > 0.25


def test_a_reward_that_is_not_a_number_stops_the_run_under_its_name() -> None:
    with pytest.raises(RewardFailed, match="'likes' returned nan"):
        run(ToyPolicy(), Likes(math.nan, 1, 0, 0), GrpoRecipe(steps=2, prompts=2))


def test_gradients_that_are_not_finite_break_the_run_and_leave_the_weights_alone() -> None:
    policy = ToyPolicy()
    policy.logits.register_hook(lambda gradient: gradient * math.inf)  # type: ignore[no-untyped-call]
    steps, stopped = run(policy, Likes(1, 0, 0, 0), GrpoRecipe(steps=20, prompts=2))
    assert stopped == "loss or gradient was not finite 3 times"
    assert len(steps) == 3
    assert (policy.logits == 0).all()


def test_same_seed_same_weights() -> None:
    first, second = ToyPolicy(), ToyPolicy()
    for policy in (first, second):
        run(policy, Likes(0, 1, 0, 0.5), GrpoRecipe(steps=5, prompts=3))
    assert torch.equal(first.logits, second.logits)


def test_several_passes_learn_more_from_one_batch() -> None:
    once, twice = ToyPolicy(), ToyPolicy()
    run(once, Likes(0, 1, 0, 0), GrpoRecipe(steps=4, prompts=4))
    run(twice, Likes(0, 1, 0, 0), GrpoRecipe(steps=4, prompts=4, passes=2))
    assert twice.distribution(3)[1] > once.distribution(3)[1]


def test_micro_batches_add_up_to_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, split = ToyPolicy(), ToyPolicy()
    recipe = GrpoRecipe(steps=4, prompts=3, kl_beta=0.1)
    run(whole, Likes(0, 1, 0, 0.5), recipe)
    monkeypatch.setattr(grpo, "_BATCH_TOKENS", 7)
    run(split, Likes(0, 1, 0, 0.5), recipe)
    torch.testing.assert_close(split.logits, whole.logits, atol=1e-9, rtol=0)


def test_values_a_token_teach_what_the_same_values_a_rollout_do() -> None:
    """With one token a rollout both are one thing."""
    coarse, fine = ToyPolicy(), ToyPolicy()
    recipe = GrpoRecipe(steps=6, prompts=3, kl_beta=0.1)
    coarse_steps, _ = run(coarse, Likes(0, 1, None, 0.5), recipe)
    fine_steps, _ = run(fine, Fine(0, 1, None, 0.5), recipe)
    torch.testing.assert_close(fine.logits, coarse.logits, atol=1e-12, rtol=0)
    assert (fine.logits[3] != 0).any()
    assert fine_steps[0].rewards["fine"] == coarse_steps[0].rewards["likes"]
    assert fine_steps[0].advantages == pytest.approx(coarse_steps[0].advantages)


def test_token_advantages_are_normalised_over_a_groups_tokens_and_meet_whole_rollouts_there() -> None:
    tokens = Rewards(None, [[1.0, 0.0], [0.0], None, [2.0, 2.0]])
    whole = Rewards([1.0, 0.0, 1.0, None])
    recipe = GrpoRecipe(group=2, std_floor=0.0)
    alone = advantages_of({"t": tokens}, {"t": 1.0}, recipe, longest=3)
    assert alone.shape == (2, 2, 3)
    first = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    expected = (first - first.mean()) / first.std()
    assert alone[0, 0, :2].tolist() == pytest.approx(expected[:2].tolist())
    assert alone[0, 1, 0].item() == pytest.approx(expected[2].item())
    assert not alone[1].any()
    assert informative(alone) == [0, 1]
    both = advantages_of({"t": tokens, "w": whole}, {"t": 1.0, "w": 1.0}, recipe, longest=3)
    coarse = advantages_of({"w": whole}, {"w": 1.0}, recipe)
    assert both[0, 0, 0].item() == pytest.approx((alone[0, 0, 0] + coarse[0, 0]).item() / 2)
    assert per_rollout(tokens) == [0.5, 0.0, None, 2.0]


def test_a_token_with_its_own_advantage_gets_its_own_gradient() -> None:
    logp = torch.full((1, 3), -1.0, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, True, False]])
    loss = policy_loss(logp, logp.detach(), torch.tensor([[1.0, -2.0, 7.0]], dtype=torch.float64), mask)
    torch.autograd.backward(loss.value)
    assert logp.grad is not None
    assert logp.grad.tolist() == [[-0.5, 1.0, 0.0]]

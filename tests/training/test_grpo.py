"""Reinforcement learning on a softmax policy, where the right gradient is known exactly."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from agents.backend import SampledTokens
from agents.messages import Message, SamplingParams
from tests.training.toy import ToyPolicy
from training import grpo
from training.grpo import Grpo, GrpoRecipe, Step, advantages_of, informative, per_rollout
from training.losses import LEVELS, POLICY_LOSSES, SCALES, policy_loss
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


def run(
    policy: ToyPolicy, reward: Likes | Fine, recipe: GrpoRecipe, lr: float = 0.1, **more: Any
) -> tuple[list[Step], str | None]:
    steps: list[Step] = []
    trainer = Grpo(
        policy=policy,
        optimizer=StackedAdamW([policy.logits], slots=[3], lr=lr),
        rewards=[(reward, 1.0)],
        recipe=recipe,
        monitors=Monitors(kl_limit=recipe.kl_limit),
        slot=3,
        seed=5,
        **{"reference": 2} | more,
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


@pytest.mark.parametrize("loss", POLICY_LOSSES)
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("scale", SCALES)
def test_every_loss_learns_what_is_rewarded(loss: str, level: str, scale: str) -> None:
    policy = ToyPolicy()
    recipe = GrpoRecipe(loss=loss, level=level, scale=scale, steps=25, prompts=4, passes=2, max_tokens=1, kl_limit=9.0)
    run(policy, Likes(0, 1, 0, 0), recipe)
    assert policy.distribution(3)[1] > 0.6
    assert (policy.logits[:3] == 0).all()


@pytest.mark.parametrize("loss", POLICY_LOSSES)
def test_no_loss_lets_gradients_that_are_not_finite_through(loss: str) -> None:
    policy = ToyPolicy()
    policy.logits.register_hook(lambda gradient: gradient * math.nan)  # type: ignore[no-untyped-call]
    _, stopped = run(policy, Likes(1, 0, 0, 0), GrpoRecipe(loss=loss, steps=20, prompts=2))
    assert stopped == "loss or gradient was not finite 3 times"
    assert (policy.logits == 0).all()


class First(ToyPolicy):
    """Says "red" to everything it is asked, up to and with the call `until`; then it draws."""

    def __init__(self, until: int) -> None:
        super().__init__()
        self.calls, self._until = list[int](), until

    def sample(
        self, prompts: Sequence[Sequence[Message]], n: int, params: SamplingParams, *, slot: int
    ) -> list[list[SampledTokens]]:
        self.calls.append(len(prompts))
        if len(self.calls) > self._until:
            return super().sample(prompts, n, params, slot=slot)
        return super().sample(prompts, n, SamplingParams(1, 0.0), slot=slot)


def test_a_group_without_spread_is_sampled_once_more_then_dropped_and_counted() -> None:
    plain, lucky, luckless = First(1), First(1), First(2)
    for policy, resample in ((plain, 0), (lucky, 1), (luckless, 1)):
        steps, _ = run(policy, Likes(0, 1, 0, 0), GrpoRecipe(steps=1, prompts=3, resample=resample))
        numbers = steps[0].numbers
        assert [rollout.group for rollout in steps[0].rollouts] == [group for group in range(3) for _ in range(8)]
        if policy is lucky:
            assert (numbers["resampled"], numbers["informative"]) == (3, 1.0)
            assert policy.calls == [3, 3]
        else:
            assert (numbers["resampled"], numbers["informative"]) == (3 * resample, 0.0)
            assert numbers["loss"] is None
    assert plain.calls == [3]
    assert luckless.calls == [3, 3]
    assert (lucky.logits[3] != 0).any()
    assert (luckless.logits == 0).all()


def test_only_groups_without_spread_are_sampled_again() -> None:
    """With a rare reward some groups have one success and others none."""
    values = Likes(0, 1, 0, 0)
    recipe = GrpoRecipe(steps=1, prompts=12, group=3)
    before, _ = run(ToyPolicy(), values, recipe)
    after, _ = run(ToyPolicy(), values, dataclasses.replace(recipe, resample=1))
    flat = [
        group
        for group in range(12)
        if len({values._values[one.sampled.token_ids[0]] for one in before[0].rollouts[3 * group : 3 * group + 3]}) == 1
    ]
    assert 0 < len(flat) < 12
    assert after[0].numbers["resampled"] == len(flat)
    changed = {
        late.group
        for early, late in zip(before[0].rollouts, after[0].rollouts, strict=True)
        if early.sampled != late.sampled
    }
    assert changed and changed <= set(flat)
    assert after[0].numbers["informative"] > before[0].numbers["informative"]


def test_a_replay_keeps_an_accepted_answer_likely() -> None:
    free, held = ToyPolicy(), ToyPolicy()
    recipe = GrpoRecipe(steps=30, prompts=4, kl_limit=9.0, ptx=1.0)
    steps, _ = run(free, Likes(1, 0, 0, 0), recipe)
    assert "replay_nll" not in steps[0].numbers
    steps, _ = run(held, Likes(1, 0, 0, 0), recipe, replay=[((0,), (2,))])
    assert steps[0].numbers["replay_nll"] == pytest.approx(math.log(4))
    assert held.distribution(3)[2] > free.distribution(3)[2]


def test_a_replay_of_weight_nought_changes_nothing() -> None:
    without, beside = ToyPolicy(), ToyPolicy()
    recipe = GrpoRecipe(steps=5, prompts=3, ptx=0.0)
    run(without, Likes(0, 1, 0, 0.5), recipe)
    run(beside, Likes(0, 1, 0, 0.5), recipe, replay=[((0,), (2,))])
    assert torch.equal(without.logits, beside.logits)


@pytest.mark.parametrize("reference", [0, 2])
def test_prolonged_learning_measures_how_far_it_is_from_the_bare_base(reference: int) -> None:
    policy = ToyPolicy()
    with torch.no_grad():
        policy.logits[3, 0, 0] = policy.logits[2, 0, 0] = 1.0
    steps, _ = run(
        policy, Likes(1, 0, 0, 0), GrpoRecipe(steps=1, prompts=8, prolonged=True), reference=reference, lr=0.0
    )
    numbers = steps[0].numbers
    odds = policy.distribution(3).detach()
    exact = float((odds * (odds / 0.25).log()).sum())
    assert numbers["kl_base"] == pytest.approx(exact, abs=0.1)
    assert numbers["kl"] == pytest.approx(numbers["kl_base"] if reference == 0 else 0.0, abs=1e-6)


def test_one_source_cannot_outshout_the_others() -> None:
    """One success among 16 is worth 3.75 standard deviations, and counts for 2.5."""
    scored = {"rare": Rewards([1.0] + [0.0] * 15)}
    found = advantages_of(scored, {"rare": 1.0}, GrpoRecipe(group=16))
    assert found[0, 0] == 2.5
    unscaled = advantages_of(scored, {"rare": 1.0}, GrpoRecipe(group=16, scale="none"))
    assert unscaled[0, 0].item() == pytest.approx(15 / 16)

"""The closed-form cases of the field's references, in float64 to 1e-6 (values executed against TRL and verl)."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from training.losses import combine_sources, dpo_loss, group_advantages, kl_k3, policy_loss

TOLERANCE = 1e-6


def doubles(*rows: object) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize(
    ("rewards", "options", "expected"),
    [
        ([1, 0, 0, 1], {"eps": 1e-4}, [0.865875, -0.865875, -0.865875, 0.865875]),
        ([1, 0, 0, 1], {"eps": 1e-6}, [0.866024, -0.866024, -0.866024, 0.866024]),
        ([1, 0, 0, 0], {}, [1.499700, -0.499900, -0.499900, -0.499900]),
        ([1, 0], {}, [0.707007, -0.707007]),
        ([1, 0, 0, 0, 0, 0, 0, 0], {}, [2.474174] + [-0.353453] * 7),
        ([0.50, 0.51, 0.50, 0.51], {"eps": 0.0, "std_floor": 0.1}, [-0.05, 0.05, -0.05, 0.05]),
        ([1, 1, 1, 1], {"eps": 0.0}, [0, 0, 0, 0]),
    ],
)
def test_group_advantages(rewards: list[float], options: dict[str, float], expected: list[float]) -> None:
    found = group_advantages(doubles(rewards), **options)
    torch.testing.assert_close(found[0], doubles(expected)[0], atol=TOLERANCE, rtol=0)


def test_judge_noise_without_a_floor_becomes_unit_advantages() -> None:
    assert group_advantages(doubles([0.50, 0.51, 0.50, 0.51]))[0, 1] == pytest.approx(0.851, abs=5e-4)


def test_two_sources_summed_first_or_normalised_first() -> None:
    first, second = doubles([1, 0, 0, 1]), doubles([0.9, 0.1, 0.5, 0.5])
    summed = group_advantages(first + second)
    torch.testing.assert_close(
        summed[0], doubles([1.070492, -1.070492, -0.594718, 0.594718])[0], atol=TOLERANCE, rtol=0
    )
    normalised = torch.stack([group_advantages(first), group_advantages(second)])
    mean = combine_sources(normalised, doubles([1.0, 1.0])[0])
    expected = doubles([2.090245, -2.090245, -0.865875, 0.865875])
    torch.testing.assert_close(2 * mean, expected, atol=TOLERANCE, rtol=0)


def test_normalising_first_tells_two_successes_from_one() -> None:
    won = doubles([1.0, 0.0])
    lost = doubles([0.0, 0.0])
    both = combine_sources(torch.stack([group_advantages(won), group_advantages(won)]), torch.ones(2).double()) * 2
    one = combine_sources(torch.stack([group_advantages(won), group_advantages(lost)]), torch.ones(2).double()) * 2
    assert both[0, 0] == pytest.approx(1.4140, abs=5e-5)
    assert one[0, 0] == pytest.approx(0.7070, abs=5e-5)


def test_weighted_sources_of_the_default_recipe() -> None:
    truth = group_advantages(doubles([1, 0, 1, 0]), eps=0.0, std_floor=0.1)
    judge = group_advantages(doubles([0.9, 0.6, 0.5, 0.2]), eps=0.0, std_floor=0.1)
    torch.testing.assert_close(judge, doubles([1.212436, 0.173205, -0.173205, -1.212436]), atol=TOLERANCE, rtol=0)
    found = combine_sources(torch.stack([truth, judge]), doubles([1.0, 0.477])[0])
    torch.testing.assert_close(found, doubles([0.977899, -0.530404, 0.530404, -0.977899]), atol=TOLERANCE, rtol=0)


def test_a_missing_reward_counts_for_nothing() -> None:
    nan = math.nan
    found = group_advantages(doubles([1, nan, 0, nan]), eps=0.0)
    assert found[0, [0, 2]].tolist() == pytest.approx([math.sqrt(0.5), -math.sqrt(0.5)])
    assert found[0, [1, 3]].isnan().all()
    combined = combine_sources(torch.stack([found, group_advantages(doubles([1, 0, 1, nan]), eps=0.0)]), torch.ones(2))
    assert combined[0, 3] == 0
    assert combined[0, 1] == pytest.approx(float(group_advantages(doubles([1, 0, 1]), eps=0.0)[0, 1]))


rows = st.lists(st.floats(-5, 5), min_size=4, max_size=4)


@given(st.lists(rows, min_size=1, max_size=5), st.floats(-9, 9))
def test_advantages_sum_to_zero_and_ignore_a_shift(groups: list[list[float]], shift: float) -> None:
    rewards = doubles(*groups)
    found = group_advantages(rewards)
    assert found.sum(dim=1).abs().max() < 1e-9
    torch.testing.assert_close(group_advantages(rewards + shift), found, atol=1e-6, rtol=1e-6)


def case_l1() -> tuple[Tensor, Tensor, Tensor]:
    """Two sequences of 2 and 4 tokens, advantages +1 and -1, log-probabilities -1."""
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]]).bool()
    return torch.full((2, 4), -1.0, dtype=torch.float64), doubles([1.0, -1.0])[0], mask


def test_loss_l1() -> None:
    old, advantages, mask = case_l1()
    logp = old.clone().requires_grad_()
    loss = policy_loss(logp, old, advantages, mask, clip_high=0.2).value
    torch.autograd.backward(loss)
    assert loss.item() == pytest.approx(1 / 3, abs=TOLERANCE)
    expected = doubles([-1 / 6, -1 / 6, 0, 0], [1 / 6] * 4)
    torch.testing.assert_close(logp.grad, expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    ("options", "value"),
    [({"clip_high": 0.2}, 0.35), ({"clip_high": 0.28}, 0.336666667), ({"clip_high": 0.2, "delta": 1.2}, 0.3)],
)
def test_loss_l2(options: dict[str, float], value: float) -> None:
    old, advantages, mask = case_l1()
    ratios = doubles([1.5, 1.0, 1, 1], [0.5, 1, 1, 1.5])
    loss = policy_loss(old + ratios.log(), old, advantages, mask, **options)
    assert loss.value.item() == pytest.approx(value, abs=TOLERANCE)


def test_loss_l2_gradient_and_clip_shares() -> None:
    old, advantages, mask = case_l1()
    logp = (old + doubles([1.5, 1.0, 1, 1], [0.5, 1, 1, 1.5]).log()).requires_grad_()
    loss = policy_loss(logp, old, advantages, mask, clip_high=0.2)
    torch.autograd.backward(loss.value)
    torch.testing.assert_close(logp.grad, doubles([0, -1 / 6, 0, 0], [0, 1 / 6, 1 / 6, 1 / 4]), atol=TOLERANCE, rtol=0)
    assert [loss.clipped_low, loss.clipped_high] == pytest.approx([1 / 6, 1 / 6])


def test_loss_l1_with_kl() -> None:
    old, advantages, mask = case_l1()
    logp = old.clone().requires_grad_()
    reference = old - doubles([math.log(2)] * 4, [0] * 4)
    loss = policy_loss(logp, old, advantages, mask, clip_high=0.2, kl_beta=0.1, logp_ref=reference)
    torch.autograd.backward(loss.value)
    assert loss.value.item() == pytest.approx(0.339771573, abs=TOLERANCE)
    assert loss.kl == pytest.approx(0.064382, abs=TOLERANCE)


def test_padding_gets_no_gradient_whatever_it_holds() -> None:
    old, advantages, mask = case_l1()
    logp = old.masked_fill(~mask, math.nan).requires_grad_()
    loss = policy_loss(logp, old, advantages, mask, kl_beta=0.1, logp_ref=old)
    torch.autograd.backward(loss.value)
    assert loss.value.isfinite()
    assert logp.grad is not None
    assert (logp.grad[~mask] == 0).all()


def test_kl_estimate() -> None:
    half, quarter = doubles(math.log(0.5)), doubles(math.log(0.25))
    assert kl_k3(half, quarter).item() == pytest.approx(0.193147, abs=TOLERANCE)
    assert kl_k3(quarter, half).item() == pytest.approx(0.306853, abs=TOLERANCE)
    p, q = doubles([0.5, 0.5])[0], doubles([0.25, 0.75])[0]
    assert (p * kl_k3(p.log(), q.log())).sum().item() == pytest.approx(0.143841, abs=TOLERANCE)
    assert kl_k3(half, half).item() == 0


@pytest.mark.parametrize(
    ("margin", "options", "value"),
    [
        (2.0, {"beta": 0.1}, 0.598139),
        (2.0, {"beta": 0.1, "label_smoothing": 0.1}, 0.618139),
        (0.0, {"beta": 0.1}, math.log(2)),
    ],
)
def test_dpo_loss(margin: float, options: dict[str, float], value: float) -> None:
    assert dpo_loss(doubles(margin), **options).item() == pytest.approx(value, abs=TOLERANCE)


def test_dpo_gradient() -> None:
    margin = doubles(2.0).requires_grad_()
    torch.autograd.backward(dpo_loss(margin, beta=0.1).sum())
    assert margin.grad is not None
    assert margin.grad.item() == pytest.approx(-0.045017, abs=TOLERANCE)

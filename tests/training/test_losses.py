"""The closed-form cases of the field's references, in float64 to 1e-6 (values executed against TRL and verl)."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from _pytest.mark import ParameterSet
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from training.losses import (
    LEVELS,
    POLICY_LOSSES,
    combine_sources,
    dpo_loss,
    group_advantages,
    ipo_loss,
    kl_k3,
    kto_loss,
    policy_loss,
    share_of,
)

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


def test_advantages_by_the_spread_of_the_whole_batch_or_by_none() -> None:
    groups = doubles([1, 0], [3, 1])
    found = group_advantages(groups, scale="batch")
    torch.testing.assert_close(found, doubles([0.397328, -0.397328], [0.794656, -0.794656]), atol=TOLERANCE, rtol=0)
    assert group_advantages(groups, scale="none").tolist() == [[0.5, -0.5], [1, -1]]
    assert group_advantages(doubles([1, 0, 0, 1]), scale="none").tolist() == [[0.5, -0.5, -0.5, 0.5]]
    assert group_advantages(doubles([1, 0, 0, 0]), scale="none").tolist() == [[0.75, -0.25, -0.25, -0.25]]


def test_an_outlier_is_cut_before_sources_are_combined() -> None:
    """With 16 in a group one success alone is worth 3.75 standard deviations."""
    rare = doubles([1] + [0] * 15)
    assert group_advantages(rare, eps=0.0)[0, 0].item() == pytest.approx(3.75)
    cut = group_advantages(rare, eps=0.0, limit=2.5)
    assert cut[0, 0] == 2.5
    assert cut[0, 1].item() == pytest.approx(-0.25)


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
    whitened = doubles([1.131443, -1.131443, -0.468695, 0.468695])
    torch.testing.assert_close(group_advantages(2 * mean), whitened, atol=TOLERANCE, rtol=0)


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


EQUAL = [[1.0] * 4] * 2
"""Case L1 of the references: ratios of the policy to the sampler."""
MOVED = [[1.5, 1.0, 1.0, 1.0], [0.5, 1.0, 1.0, 1.5]]
"""Case L2."""
SETTINGS: dict[str, Any] = {
    "level": "token", "clip_low": 0.2, "clip_high": 0.2, "delta": None, "cap": 5.0, "longest": 4, "kl_beta": 0.0
}  # fmt: skip


def case(
    loss: str, ratios: list[list[float]], value: float, first: list[float], second: list[float], **changed: Any
) -> ParameterSet:
    """What TRL 1.16 gives for two completions of 2 and 4 tokens with advantages +1 and -1 and sampler log-probabilities
    of -1, beside a reference that is ln 2 below on the first: the value, and the gradient of each real token."""
    name = "-".join([loss, "L1" if ratios is EQUAL else "L2", *(f"{key}={one}" for key, one in changed.items())])
    return pytest.param(SETTINGS | {"loss": loss} | changed, ratios, value, [[*first, 0, 0], second], id=name)


CASES = [
    case("grpo", EQUAL, 0, [-1 / 4] * 2, [1 / 8] * 4),
    case("bnpo", EQUAL, 1 / 3, [-1 / 6] * 2, [1 / 6] * 4),
    case("dapo", EQUAL, 1 / 3, [-1 / 6] * 2, [1 / 6] * 4),
    case("dr_grpo", EQUAL, 1 / 4, [-1 / 8] * 2, [1 / 8] * 4),
    case("dr_grpo", EQUAL, 1 / 8, [-1 / 16] * 2, [1 / 16] * 4, longest=8),
    case("cispo", EQUAL, -1 / 3, [-1 / 6] * 2, [1 / 6] * 4),
    case("grpo", MOVED, -0.0125, [0, -1 / 4], [0, 1 / 8, 1 / 8, 3 / 16]),
    case("bnpo", MOVED, 0.35, [0, -1 / 6], [0, 1 / 6, 1 / 6, 1 / 4]),
    case("dapo", MOVED, 0.35, [0, -1 / 6], [0, 1 / 6, 1 / 6, 1 / 4]),
    case("dr_grpo", MOVED, 0.2625, [0, -1 / 8], [0, 1 / 8, 1 / 8, 3 / 16]),
    case("dapo", MOVED, 0.336666667, [0, -1 / 6], [0, 1 / 6, 1 / 6, 1 / 4], clip_high=0.28),
    case("cispo", MOVED, -0.307762265, [-1 / 4, -1 / 6], [1 / 12, 1 / 6, 1 / 6, 1 / 4]),
    case("cispo", MOVED, -0.089771573, [-1 / 30] * 2, [1 / 30] * 4, cap=0.2),
    case("grpo", MOVED, -0.134697570, [0, 0], [0.116325607] * 4, level="sequence"),
    case("grpo", MOVED, -0.00035, [0, 0], [0] * 4, level="sequence", clip_low=3e-4, clip_high=4e-4),
    case("grpo", MOVED, -0.05, [0, -1 / 4], [0, 1 / 8, 1 / 8, 0], delta=1.2),
    case("dapo", MOVED, 0.3, [0, -1 / 6], [0, 1 / 6, 1 / 6, 0], delta=1.2),
    case("grpo", EQUAL, 0.009657359, [-0.2375] * 2, [1 / 8] * 4, kl_beta=0.1),
    case("dapo", EQUAL, 0.339771573, [-0.95 / 6] * 2, [1 / 6] * 4, kl_beta=0.1),
    case("dr_grpo", EQUAL, 0.254828680, [-0.95 / 8] * 2, [1 / 8] * 4, kl_beta=0.1),
]


def case_l1() -> tuple[Tensor, Tensor, Tensor]:
    """Two sequences of 2 and 4 tokens, advantages +1 and -1, log-probabilities -1."""
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]]).bool()
    return torch.full((2, 4), -1.0, dtype=torch.float64), doubles([1.0, -1.0])[0], mask


@pytest.mark.parametrize(("options", "ratios", "value", "gradient"), CASES)
def test_policy_losses(
    options: dict[str, Any], ratios: list[list[float]], value: float, gradient: list[list[float]]
) -> None:
    old, advantages, mask = case_l1()
    logp = (old + doubles(*ratios).log()).requires_grad_()
    reference = old - doubles([math.log(2)] * 4, [0] * 4)
    loss = policy_loss(logp, old, advantages, mask, logp_ref=reference if options["kl_beta"] else None, **options)
    torch.autograd.backward(loss.value)
    assert loss.value.item() == pytest.approx(value, abs=5e-9)
    torch.testing.assert_close(logp.grad, doubles(*gradient), atol=5e-9, rtol=0)
    if options["kl_beta"]:
        assert loss.kl == pytest.approx(0.0643823935, abs=5e-9)


def test_trl_itself_gives_the_same_values_and_gradients() -> None:
    root = Path(__file__).resolve().parents[2]
    python = root / ".bench" / "bin" / "python"
    if not python.exists():
        if find_spec("trl") is None:
            pytest.skip("TRL is not installed: `make bench-env` brings it")
        python = Path(sys.executable)
    asked = [{**one.values[0], "ratios": one.values[1]} for one in CASES]  # type: ignore[dict-item]
    command = [str(python), "-m", "tests.training.trl_losses", json.dumps(asked)]
    told = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=200)
    for one, theirs in zip(CASES, json.loads(told.stdout.splitlines()[-1]), strict=True):
        assert theirs["value"] == pytest.approx(one.values[2], abs=5e-9), one.id
        torch.testing.assert_close(doubles(*theirs["gradient"]), doubles(*one.values[3]), atol=5e-9, rtol=0)


def test_clip_shares_are_shares_of_tokens() -> None:
    old, advantages, mask = case_l1()
    logp = old + doubles(*MOVED).log()
    clipped = policy_loss(logp, old, advantages, mask, clip_high=0.2)
    assert [clipped.clipped_low, clipped.clipped_high] == pytest.approx([1 / 6, 1 / 6])
    capped = policy_loss(logp, old, advantages, mask, loss="cispo", cap=1.2)
    assert [capped.clipped_low, capped.clipped_high] == pytest.approx([0, 1 / 6])


@pytest.mark.parametrize("name", sorted(set(POLICY_LOSSES) - {"bnpo"}))
@given(lengths=st.lists(st.integers(0, 5), min_size=2, max_size=6), cut=st.integers(1, 5), seed=st.integers(0, 99))
def test_a_step_does_not_depend_on_how_it_is_cut_into_micro_batches(
    name: str, lengths: list[int], cut: int, seed: int
) -> None:
    assume(sum(lengths) > 0)
    shape, noise = (len(lengths), 5), torch.Generator().manual_seed(seed)
    old, moved = (torch.randn(shape, generator=noise, dtype=torch.float64) for _ in range(2))
    gains = torch.randn(len(lengths), generator=noise, dtype=torch.float64)
    mask = torch.arange(5) < torch.tensor(lengths)[:, None]
    places = range(len(lengths))
    whole = policy_loss(moved, old, gains, mask, loss=name, longest=7).value
    pieces = [places[start : start + cut] for start in range(0, len(lengths), cut)]
    parts = [
        share_of(name, [lengths[row] for row in rows], lengths, batches=len(pieces))
        * policy_loss(moved[rows], old[rows], gains[rows], mask[rows], loss=name, longest=7).value
        for rows in map(list, pieces)
    ]
    assert sum(parts).item() == pytest.approx(whole.item(), abs=1e-9)


def test_what_bnpo_averages_over_is_the_micro_batch() -> None:
    assert share_of("bnpo", [2], [2, 4], batches=2) == 0.5
    assert share_of("dapo", [2], [2, 4], batches=2) == pytest.approx(1 / 3)


@pytest.mark.parametrize("name", POLICY_LOSSES)
@pytest.mark.parametrize("level", LEVELS)
def test_an_empty_completion_and_padding_get_no_gradient_whatever_they_hold(name: str, level: str) -> None:
    old, advantages, mask = case_l1()
    mask[0] = False
    logp = old.masked_fill(~mask, math.nan).requires_grad_()
    loss = policy_loss(logp, old, advantages, mask, loss=name, level=level, kl_beta=0.1, logp_ref=old)
    torch.autograd.backward(loss.value)
    assert loss.value.isfinite()
    assert logp.grad is not None
    assert (logp.grad[~mask] == 0).all()
    assert (logp.grad[mask] != 0).all()


@pytest.mark.parametrize("name", POLICY_LOSSES)
def test_a_token_that_is_not_a_number_is_never_hidden(name: str) -> None:
    old, advantages, mask = case_l1()
    broken = old.clone()
    broken[1, 2] = math.nan
    assert policy_loss(broken, old, advantages, mask, loss=name).value.isnan()


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


@pytest.mark.parametrize(("margin", "beta", "value"), [(2.0, 0.1, 9.0), (5.0, 0.1, 0.0), (0.0, 0.5, 1.0)])
def test_ipo_loss(margin: float, beta: float, value: float) -> None:
    assert ipo_loss(doubles(margin), beta=beta).item() == pytest.approx(value, abs=TOLERANCE)


@pytest.mark.parametrize(("log_ratio", "liked"), [(2.0, True), (-1.0, False)])
def test_kto_loss(log_ratio: float, liked: bool) -> None:
    loss = kto_loss(doubles(log_ratio), torch.tensor([liked]), torch.tensor(0.5), beta=0.1)
    assert loss.item() == pytest.approx(0.462570, abs=TOLERANCE)


@given(st.floats(-400, 400), st.floats(0, 400), st.booleans())
def test_kto_is_bounded_and_moves_towards_what_was_said(log_ratio: float, baseline: float, liked: bool) -> None:
    """However far a label is off, its pull is bounded: the gradient is at most beta / 4."""
    ratio = doubles(log_ratio).requires_grad_()
    loss = kto_loss(ratio, torch.tensor([liked]), doubles(baseline)[0], beta=0.1)
    torch.autograd.backward(loss.sum())
    assert 0 <= loss.item() <= 1
    assert ratio.grad is not None
    assert 0 <= (-ratio.grad.item() if liked else ratio.grad.item()) <= 0.025

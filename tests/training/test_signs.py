"""Signs of a reward that is played to: exact values, and what they must not depend on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.backend import SampledTokens
from tests.training.rewarded import said
from training.rollouts import Rollout
from training.signs import Signs, rank_correlation, read_signs

FLOATS = st.lists(st.floats(-10, 10).map(lambda value: round(value, 1)), min_size=2, max_size=12)


def wrote(ids: Sequence[int], *, group: int = 0) -> Rollout:
    sampled = SampledTokens((1, 2), tuple(ids), (-1.0,) * len(ids), "text", "stop")
    return dataclasses.replace(said("text"), group=group, sampled=sampled)


@pytest.mark.parametrize(
    ("first", "second", "rho"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 3, 4, 5], [2, 1, 4, 3, 5], 0.8),
        ([0, 0, 1, 1], [0, 1, 0, 1], 0.0),
        ([0, 0, 1], [1, 2, 3], 0.8660254037844386),
        ([1, 1, 1], [1, 2, 3], None),
        ([], [], None),
    ],
)
def test_rank_correlation(first: list[float], second: list[float], rho: float | None) -> None:
    assert rank_correlation(first, second) == (None if rho is None else pytest.approx(rho))


@given(FLOATS, st.randoms())
def test_ranks_do_not_depend_on_scale_or_order(values: list[float], rng: object) -> None:
    other = [(value * 7919) % 5 for value in values]
    rho = rank_correlation(values, other)
    stretched = rank_correlation([2 * value**3 + 1 for value in values], other)
    turned = rank_correlation(list(reversed(values)), list(reversed(other)))
    swapped = rank_correlation(other, values)
    assert stretched == turned == swapped == (None if rho is None else pytest.approx(rho))
    assert rho is None or -1.0000001 <= rho <= 1.0000001


def signs(truth: Sequence[float | None], advantages: Sequence[float], groups: int = 2) -> Signs:
    size = len(truth) // groups
    rollouts = [said(str(place), group=place // size) for place in range(len(truth))]
    return read_signs(
        rollouts, {"truth": truth, "judge": [0.5] * len(truth)}, {"truth": 0, "judge": 1}, advantages, flat=0
    )


def test_the_advantages_are_held_against_the_truth_within_groups() -> None:
    agreeing = signs([1, 0, 1, 0], [0.5, -0.5, 0.5, -0.5])
    opposed = signs([1, 0, 1, 0], [-0.5, 0.5, -0.5, 0.5])
    assert (agreeing.agreement, opposed.agreement) == (1.0, -1.0)


def test_a_group_that_the_truth_does_not_tell_apart_says_nothing() -> None:
    found = signs([1, 1, 1, 0], [9.0, -9.0, 0.5, -0.5])
    assert found.agreement == 1.0
    assert signs([1, 1, 0, 0], [1.0, -1.0, 1.0, -1.0]).agreement is None


def test_no_answer_is_not_right_and_what_is_not_weighed_is_not_taught() -> None:
    found = read_signs(
        [said("a"), said("b"), said("c"), said("d")],
        {"truth": [1.0, None, None, 0.0], "judge": [0.2, None, 0.4, None], "shaping": [-1.0, 0.0, 0.0, 0.0]},
        {"truth": 0.0, "judge": 0.6, "shaping": 0.2},
        [0.0] * 4,
        flat=0.5,
    )
    assert found.accuracy == 0.25
    assert found.taught == pytest.approx((0.6 * 0.3 + 0.2 * -0.25) / 0.8)
    assert found.flat == 0.5


def test_without_an_anchor_there_is_nothing_to_hold_against() -> None:
    found = read_signs([said("a")], {"judge": [None]}, {"judge": 1.0}, [0.0], flat=1.0)
    assert (found.taught, found.accuracy, found.agreement) == (None, None, None)


def test_repetition_is_counted_in_3_grams() -> None:
    found = read_signs([wrote([7] * 6), wrote(range(6))], {}, {}, [0.0, 0.0], flat=0.0)
    assert found.repetition == pytest.approx((3 / 4 + 0) / 2)


def test_equal_completions_count_where_they_are_long_and_of_one_group() -> None:
    long, other = list(range(20)), list(range(20, 40))
    rollouts = [wrote(long), wrote(long), wrote(long), wrote(other), wrote([3]), wrote([3]), wrote(long, group=1)]
    assert read_signs(rollouts, {}, {}, [0.0] * 7, flat=0.0).duplicates == pytest.approx(2 / 5)
    assert read_signs(rollouts[4:6], {}, {}, [0.0] * 2, flat=0.0).duplicates is None

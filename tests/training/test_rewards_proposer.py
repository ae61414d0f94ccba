"""Challengers' rewards against the figures of the papers and their code, and the properties of each formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import AgglomerativeClustering

from training.rewards.proposer import (
    PROPOSERS,
    absolute_zero,
    average_linkage,
    bleu,
    cluster_shares,
    learnability,
    r_zero,
    spice,
)

RATES = (0.0, 0.25, 0.5, 0.75, 1.0)
ALONE = ["apple pie tonight", "Which bridge fell?", "7 + 4", "Sort these numbers now", "Who paints barns?"]
"""Questions without a word in common."""
rates = st.floats(0, 1)


@pytest.mark.parametrize(
    ("variant", "figures"), [("paper", (0, 0.5, 1, 0.5, 0)), ("code", (0, 0.25, 0.5, 0.25, 0))], ids=["paper", "code"]
)
def test_r_zero(variant: str, figures: tuple[float, ...]) -> None:
    for rate, figure in zip(RATES, figures, strict=True):
        assert r_zero(["a b c d"], [rate], variant=variant) == [  # type: ignore[arg-type]
            pytest.approx(max(0, figure - 1) if variant == "paper" else figure - 1)
        ]
        assert r_zero(["a b c d", None], [rate, None], variant=variant)[0] == pytest.approx(  # type: ignore[arg-type]
            max(0, figure - 0.5) if variant == "paper" else figure - 0.5
        )


def test_absolute_zero() -> None:
    assert [absolute_zero(rate) for rate in RATES] == [0, 0.75, 0.5, 0.25, 0]
    assert [absolute_zero(rate, variant="code") for rate in RATES] == [-0.5, 0.75, 0.5, 0.25, -0.5]
    assert absolute_zero(0.5, "invalid") == absolute_zero(0.5, "invalid", variant="code") == -0.5
    assert absolute_zero(0.5, "malformed") == absolute_zero(0.5, "malformed", variant="code") == -1


@pytest.mark.parametrize(
    ("variant", "figures"),
    [("paper", (0.043937, 0.822578, 1, 0.822578, 0.043937)), ("mini", (0.003866, 0.249352, 1, 0.249352, 0.003866))],
    ids=["paper", "mini"],
)
def test_spice(variant: str, figures: tuple[float, ...]) -> None:
    assert [spice(rate, variant=variant) for rate in RATES] == pytest.approx(figures, abs=1e-6)  # type: ignore[arg-type]
    assert spice(0.5, False, variant=variant) == -0.1  # type: ignore[arg-type]


def test_learnability() -> None:
    assert learnability(0.5) == 0.25
    assert learnability(1 / 8) == 0.109375


def test_papers_are_the_default() -> None:
    assert r_zero(["a b", None], [0.5, None]) == r_zero(["a b", None], [0.5, None], variant="paper") == [0.5, -1]
    assert absolute_zero(1.0) == absolute_zero(1.0, variant="paper") == 0
    assert spice(0.25) == spice(0.25, variant="paper")


@given(rates)
def test_half_right_is_worth_most_and_both_sides_are_worth_the_same(rate: float) -> None:
    for value in (
        learnability,
        spice,
        lambda p: spice(p, variant="mini"),
        lambda p: r_zero(["a", None], [p, None], variant="code")[0],
        lambda p: r_zero(["a", None, None], [p, None, None])[0],
    ):
        assert value(rate) <= value(0.5)
        assert value(rate) == pytest.approx(value(1 - rate), abs=1e-12)


@given(rates, rates)
def test_the_harder_of_two_solvable_tasks_is_worth_more_to_absolute_zero(first: float, second: float) -> None:
    low, high = sorted((first, second))
    if 0 < low < high < 1:
        assert absolute_zero(low) >= absolute_zero(high) > 0


@pytest.mark.parametrize("rate", [-0.01, 1.01, math.nan])
def test_what_is_no_rate_is_refused(rate: float) -> None:
    for call in (learnability, absolute_zero, spice, lambda p: spice(p, variant="mini"), lambda p: r_zero(["a"], [p])):
        with pytest.raises(ValueError, match="pass rate"):
            call(rate)
    with pytest.raises(ValueError, match="no pass rate"):
        r_zero(["a"], [None])


def test_sameness_costs_a_question_the_share_of_its_cluster() -> None:
    same = ["How many apples has Ada got on Monday morning?", "How many apples has Ada got on Sunday morning?"]
    batch = [*same, "Sort 3 9 2 from small to large.", None]
    assert r_zero(batch, [0.5, 0.5, 0.5, None]) == pytest.approx([0.5, 0.5, 0.75, -1])
    assert r_zero(batch, [0.5, 0.25, 0.5, None], variant="code") == pytest.approx([0, -0.25, 0.25, -1])


def test_one_template_repeated_is_worth_nothing() -> None:
    """The natural hack of a challenger, beside as many different questions."""
    copies = ["What is the sum of 4 and 5 and 6?"] * 5
    assert r_zero(copies, [0.5] * 5) == [0] * 5
    assert min(r_zero(ALONE, [0.5] * 5)) == pytest.approx(0.8)


def test_bleu() -> None:
    """Precisions 4/5, 3/4, 2/3 and 1/2, then 4/4, 3/3, 2/2, 1/1 with a brevity penalty, by hand."""
    assert bleu("a b c d e", "a b c d f") == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    assert bleu("a b c d", "a b c d e") == pytest.approx(math.exp(-1 / 4))
    assert bleu("a b c d e", "a b c d") == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    assert bleu("a x b y", "a p b q") == pytest.approx((2 / 4 * 0.1 / 3 * 0.1 / 2 * 0.1 / 1) ** 0.25)
    assert bleu("the the the", "the cat") == pytest.approx((1 / 3 * 0.1 / 2 * 0.1 / 1 * 0.1 / 1) ** 0.25)
    assert (bleu("a b", "a b"), bleu("a b", "c d"), bleu("", "c d"), bleu("", "")) == (1, 0, 0, 1)


words = st.lists(st.lists(st.sampled_from("abcde"), min_size=1, max_size=7).map(" ".join), max_size=12)


@given(words)
def test_shares_are_those_of_clusters(questions: list[str]) -> None:
    shares = cluster_shares(questions)
    assert len(shares) == len(questions)
    assert all(1 / len(questions) <= share <= 1 for share in shares)
    for first, share in zip(questions, shares, strict=True):
        assert all(share == other for second, other in zip(questions, shares, strict=True) if first == second)
    assert cluster_shares(questions, of=2 * len(questions) or 1) == pytest.approx([share / 2 for share in shares])


@given(st.integers(0, 10**6), st.integers(1, 15), st.sampled_from([0.2, 0.4, 0.5, 0.7]))
def test_clusters_are_scikit_learns(seed: int, size: int, threshold: float) -> None:
    """Of the library that R-Zero's code calls, on the same distances."""
    apart = np.triu(np.random.default_rng(seed).random((size, size)), 1)
    apart += apart.T
    found = {frozenset(members) for members in average_linkage(apart, threshold)}
    if size == 1:
        assert found == {frozenset([0])}
        return
    clusters = AgglomerativeClustering(
        n_clusters=None, distance_threshold=threshold, metric="precomputed", linkage="average"
    )
    labels = clusters.fit_predict(apart)
    assert found == {frozenset(np.flatnonzero(labels == label).tolist()) for label in labels}


def test_proposers_by_name_tell_what_each_fair_question_earns() -> None:
    questions, passed = ["Who paints barns?", "Who paints barns now?", "7 + 4"], [0.25, 0.5, 0.75]
    assert set(PROPOSERS) == {"spice", "r_zero", "absolute_zero"}
    assert PROPOSERS["spice"](questions, passed) == [spice(rate) for rate in passed]
    assert PROPOSERS["absolute_zero"](questions, passed) == [0.75, 0.5, 0.25]
    alike = PROPOSERS["r_zero"](questions, passed)
    assert alike == r_zero(questions, passed)
    assert alike[2] == pytest.approx(0.5 - 1 / 3), "alone in its cluster"

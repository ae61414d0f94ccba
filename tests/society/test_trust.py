"""Reliability from outcome to outcome, and effective voters, against 3.1 and 3.5."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal_data.errors import InvalidInput
from society.trust import Counter, Ledger, effective_voters, ledger, log_odds, majority_accuracy


@pytest.mark.parametrize(("voters", "accuracy"), [(1, 0.7), (3, 0.784), (5, 0.83692), (7, 0.873964), (9, 0.90119134)])
def test_independent_voters(voters: int, accuracy: float) -> None:
    assert majority_accuracy(voters, 0.7) == pytest.approx(accuracy, abs=1e-12)


@pytest.mark.parametrize(("voters", "worth"), [(4, 1.818), (8, 2.105), (16, 2.286), (10**6, 2.5)])
def test_correlated_voters_are_worth_two_and_a_half_at_most(voters: int, worth: float) -> None:
    lineages = ["one base"] * voters
    assert effective_voters(lineages, between=0.4, within=0.4) == pytest.approx(worth, abs=5e-4)


def test_clones_are_one_voter() -> None:
    assert effective_voters(["a"] * 7, between=0.4) == pytest.approx(1)
    assert effective_voters(["a", "b", "c"], between=0) == pytest.approx(3)
    mixed = effective_voters(["a"] * 4 + ["b"], between=0)
    assert 1 < mixed < 2  # a crowd of clones drowns the other one
    assert effective_voters([], between=0.4) == 0
    with pytest.raises(InvalidInput):
        effective_voters(["a"], between=math.nan)


def test_a_majority_without_ties() -> None:
    with pytest.raises(InvalidInput, match="odd"):
        majority_accuracy(4, 0.7)


def test_discounted_counts() -> None:
    kept = Ledger(discount=0.9)
    for right in (True, False, True):
        kept = kept.observed("a", "v1", right=right)
    counter = kept.counters["a", "", "v1"]
    assert (counter.right, counter.wrong) == (pytest.approx(1.81), pytest.approx(0.9))
    assert kept.reliability("a", ["v1"]) == pytest.approx(2.81 / 4.71)
    assert kept.reliability("a", ["v1"]) == pytest.approx(0.596603, abs=5e-7)


def test_eight_of_ten_on_beta_2_2() -> None:
    kept = ledger([("a", "", "", 9.0, 3.0)])  # Beta(1, 1) and 9 of 12 are Beta(2, 2) and 8 of 10
    assert kept.reliability("a", [""]) == pytest.approx(10 / 14)
    assert log_odds(kept.reliability("a", [""])) == pytest.approx(0.916291, abs=5e-7)


def test_a_topic_shrinks_to_the_whole_record() -> None:
    kept = Ledger(discount=1.0)
    for _ in range(8):
        kept = kept.observed("a", "", right=True, topic="law")
    for _ in range(10):
        kept = kept.observed("a", "", right=False, topic="sums")
    overall = kept.reliability("a", [""])
    assert overall == pytest.approx(9 / 20)
    assert kept.reliability("a", [""], topic="law") == pytest.approx((8 + 20 * overall) / 28)
    assert kept.reliability("a", [""], topic="music") == pytest.approx(overall)
    assert kept.evidence("a", [""], topic="law") == 8


def test_a_new_adapter_halves_the_record_and_a_late_outcome_finds_its_own() -> None:
    kept = ledger([("a", "", "v1", 8.0, 2.0)], discount=1.0)
    assert kept.reliability("a", ["v2", "v1"]) == pytest.approx((1 + 4) / (2 + 5))
    kept = kept.observed("a", "v2", right=True).observed("a", "v1", right=False)
    assert kept.counters["a", "", "v1"] == Counter(8.0, 3.0)
    assert kept.reliability("a", ["v2", "v1"]) == pytest.approx((1 + 1 + 4) / (2 + 1 + 5.5))
    assert kept.reliability("a", ["v3", "v2", "v1"]) == pytest.approx((1 + 0.5 + 2) / (2 + 0.5 + 2.75))


def test_nothing_known_is_half_right() -> None:
    assert Ledger().reliability("a", []) == 0.5
    assert Ledger().reliability("a", ["v1"], topic="law") == 0.5


@pytest.mark.parametrize("count", [-1.0, math.nan, math.inf])
def test_counts_that_are_none_are_refused(count: float) -> None:
    with pytest.raises(InvalidInput, match="the counters of a"):
        ledger([("a", "", "", count, 0.0)])
    with pytest.raises(InvalidInput):
        Ledger(discount=0)


outcomes = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["v1", "v2"]), st.booleans(), st.sampled_from(["", "law"])),
    max_size=30,
)


@given(outcomes)
def test_a_ledger_survives_as_plain_numbers_and_stays_a_probability(
    observed: list[tuple[str, str, bool, str]],
) -> None:
    kept = Ledger()
    for agent, revision, right, topic in observed:
        kept = kept.observed(agent, revision, right=right, topic=topic)
    assert ledger([tuple(row) for row in json.loads(json.dumps(kept.rows()))]) == kept
    for topic in ("", "law"):
        assert 0 < kept.reliability("a", ["v2", "v1"], topic=topic) < 1

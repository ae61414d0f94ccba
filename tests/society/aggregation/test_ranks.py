"""Borda and Schulze against 3.8."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal_data.errors import InvalidInput
from society.aggregation.ranks import borda, schulze

BALLOTS = {"ACBED": 5, "ADECB": 5, "BEDAC": 8, "CABED": 3, "CAEBD": 7, "CBADE": 2, "DCEBA": 7, "EBADC": 8}
RANKINGS = {f"{ranking}-{n}": ranking for ranking, times in BALLOTS.items() for n in range(times)}


def test_borda_is_not_the_majority() -> None:
    rankings = {**{f"a{n}": "ABC" for n in range(3)}, **{f"b{n}": "BCA" for n in range(2)}}
    outcome = borda(rankings, seed=0)
    assert outcome.points == pytest.approx({"A": 6 / 5, "B": 7 / 5, "C": 2 / 5})
    assert outcome.order == ("B", "A", "C")
    assert schulze(rankings, seed=0).condorcet == "A"
    assert schulze(rankings, seed=0).order == ("A", "B", "C")


def test_the_45_ballots() -> None:
    assert len(RANKINGS) == 45
    outcome = schulze(RANKINGS, seed=0)
    assert outcome.order == tuple("EACBD")
    assert outcome.ties == ()
    assert outcome.condorcet is None
    assert outcome.preferences["E", "A"] + outcome.preferences["A", "E"] == 45
    points = borda(RANKINGS, seed=0)
    assert points.order == tuple("EABCD")
    totals = {"E": 102, "A": 98, "B": 92, "C": 89, "D": 69}
    assert points.points == pytest.approx({candidate: total / 45 for candidate, total in totals.items()})
    first: dict[str, int] = {}
    for ranking in RANKINGS.values():
        first[ranking[0]] = first.get(ranking[0], 0) + 1
    assert max(first, key=first.__getitem__) == "C"
    assert first["C"] == 12


def test_nobody_ranks_its_own() -> None:
    rankings = {"a": "ABC", "b": "BAC", "c": "CAB"}
    own = {"a": ["A"], "b": ["B"], "c": ["C"]}
    outcome = borda(rankings, own=own, seed=0)
    assert outcome.points == pytest.approx({"A": 2.0, "B": 1.0, "C": 0.0})
    assert schulze(rankings, own=own, seed=0).order == ("A", "B", "C")
    weighed = borda({"a": "AB", "b": "BA"}, trust={"a": 0.9, "b": 0.6}, seed=0)
    assert weighed.points == pytest.approx({"A": 0.6, "B": 0.4})


def test_ties_are_told_and_drawn() -> None:
    rankings = {"a": "AB", "b": "BA"}
    assert {schulze(rankings, seed=seed).order[0] for seed in range(20)} == {"A", "B"}
    assert [set(pair) for pair in schulze(rankings, seed=0).ties] == [{"A", "B"}]
    assert borda(rankings, seed=0).ties == (borda(rankings, seed=0).order,)


def test_a_missing_or_lonely_ranking_is_no_opinion() -> None:
    assert schulze({"a": "", "b": "AB"}, seed=0).order == ("A", "B")
    lonely = borda({"a": "C", "b": "AB"}, seed=0)
    assert lonely.points == {"A": 2.0, "B": 0.0, "C": None}
    assert lonely.order == ("A", "B", "C")
    assert schulze({}, seed=0).order == borda({}, seed=0).order == ()
    with pytest.raises(InvalidInput, match="a ranks a candidate twice"):
        borda({"a": "AA"}, seed=0)


ballots = st.lists(st.permutations("ABCD").map("".join), min_size=1, max_size=9)


@given(ballots)
def test_a_condorcet_winner_comes_first(given_: list[str]) -> None:
    outcome = schulze({str(n): ranking for n, ranking in enumerate(given_)}, seed=0)
    assert outcome.condorcet in (None, outcome.order[0])


@given(ballots)
def test_turning_all_ballots_around_turns_an_order_without_ties_around(given_: list[str]) -> None:
    outcome = schulze({str(n): ranking for n, ranking in enumerate(given_)}, seed=0)
    turned = schulze({str(n): ranking[::-1] for n, ranking in enumerate(given_)}, seed=0)
    if not outcome.ties:
        assert turned.order == outcome.order[::-1]


@given(ballots, st.integers(2, 4))
def test_a_crowd_of_equal_size_changes_nothing(given_: list[str], times: int) -> None:
    once = {str(n): ranking for n, ranking in enumerate(given_)}
    many = {f"{n}-{copy}": ranking for n, ranking in enumerate(given_) for copy in range(times)}
    assert schulze(many, seed=0).order == schulze(once, seed=0).order
    assert borda(many, seed=0).order == borda(once, seed=0).order

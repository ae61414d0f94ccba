"""Log-odds against the exact numbers of 3.2 and 3.3, by enumerating everything that can happen."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal_data.errors import InvalidInput
from society.aggregation.ballot import Ballot, Resolved
from society.aggregation.log_odds import BestMember, LogOdds, weighted
from society.aggregation.plurality import count
from society.aggregation.record import Record
from society.aggregation.selector import posterior
from society.aggregation.table import tabulate
from society.trust import log_odds


def expected(accuracies: list[float], decide: str) -> float:
    """P(right) of a rule over all that independent members can say to a question with two answers; ties count half."""
    total = 0.0
    for pattern in itertools.product([True, False], repeat=len(accuracies)):
        chance = math.prod(p if right else 1 - p for p, right in zip(accuracies, pattern, strict=True))
        ballot = Ballot({f"m{seat}": "yes" if right else "no" for seat, right in enumerate(pattern)}, options=2)
        reliability = {f"m{seat}": p for seat, p in enumerate(accuracies)}
        belief = weighted(ballot, reliability) if decide == "log-odds" else count(ballot, {}, seed=0)
        total += chance * (0.5 if belief.tie else belief.choice == "yes")
    return total


@pytest.mark.parametrize(
    ("accuracies", "by_log_odds", "by_majority"),
    [
        ([0.9, 0.6, 0.6], 0.9, 0.792),
        ([0.8, 0.7, 0.7], 0.826, 0.826),
        ([0.95, 0.6, 0.6, 0.6, 0.6], 0.95, 0.80352),
        ([0.7, 0.7, 0.3], 0.784, 0.616),
    ],
)
def test_accuracy_of_known_members(accuracies: list[float], by_log_odds: float, by_majority: float) -> None:
    assert expected(accuracies, "log-odds") == pytest.approx(by_log_odds, abs=1e-12)
    assert expected(accuracies, "majority") == pytest.approx(by_majority, abs=1e-12)


@pytest.mark.parametrize(
    ("probability", "weight"),
    [(0.9, 2.197225), (0.6, 0.405465), (0.8, 1.386294), (0.7, 0.847298), (10 / 14, 0.916291), (0.5, 0.0)],
)
def test_weights(probability: float, weight: float) -> None:
    assert log_odds(probability) == pytest.approx(weight, abs=5e-7)


def test_one_good_member_wins_against_two_among_four_options() -> None:
    ballot = Ballot({"a": "x", "b": "y", "c": "y"}, options=4)
    belief = weighted(ballot, {"a": 0.7, "b": 0.5, "c": 0.4})
    assert belief.choice == "x"
    assert belief.probabilities == pytest.approx({"x": 7 / 15, "y": 6 / 15})
    assert belief.none == pytest.approx(2 / 15)  # the two options that nobody gave, 1/15 each


def test_an_open_question_keeps_a_place_for_an_answer_that_nobody_gave() -> None:
    votes = {f"m{seat}": f"answer {seat}" for seat in range(5)}
    belief = weighted(Ballot(votes), dict.fromkeys(votes, 0.5), k_eff=3.0)
    assert belief.none == pytest.approx(1 / (5 * 2 + 1))  # odds of 2 an answer, one unseen answer
    closed = weighted(Ballot(votes, options=5), dict.fromkeys(votes, 0.5))
    assert closed.none == pytest.approx(0)


def test_a_lineage_weighs_as_two_of_its_members() -> None:
    votes = {"a": "x", "b": "x", "c": "x", "d": "x", "e": "y"}
    reliability = dict.fromkeys("abcd", 0.7) | {"e": 0.9}
    lineages = dict.fromkeys("abcd", "base")
    ballot = Ballot(votes, options=2)
    assert weighted(ballot, reliability, lineages=lineages).choice == "x"
    capped = weighted(ballot, reliability, lineages=lineages, cap=2)
    assert capped.choice == "y"
    assert capped.probabilities["y"] == pytest.approx(9 / (9 + (7 / 3) ** 2))


def test_nobody_one_and_all_alike() -> None:
    assert weighted(Ballot({}), {}).choice is None
    assert weighted(Ballot({"a": None}), {"a": 0.9}).none == 1
    lone = weighted(Ballot({"a": "x"}, options=4), {"a": 0.7})
    assert lone.probabilities == pytest.approx({"x": 0.7})
    with pytest.raises(InvalidInput, match="both excluded"):
        weighted(Ballot({"a": "x"}), {"a": 1.0})
    with pytest.raises(InvalidInput, match="both excluded"):
        weighted(Ballot({"a": "x"}), {"a": math.nan})
    with pytest.raises(InvalidInput, match="more than 1 answer"):
        weighted(Ballot({"a": "x"}), {}, k_eff=math.nan)


members = st.lists(st.tuples(st.sampled_from(["x", "y", "z", None]), st.floats(0.05, 0.95)), min_size=1, max_size=7)


@given(members, st.randoms())
def test_order_and_abstentions_do_not_matter_and_all_sums_to_one(
    given_: list[tuple[str | None, float]], random: object
) -> None:
    seats = list(enumerate(given_))
    reliability = {f"m{seat}": p for seat, (_, p) in seats}
    belief = weighted(Ballot({f"m{seat}": key for seat, (key, _) in seats}), reliability, k_eff=5)
    assert math.fsum([*belief.probabilities.values(), belief.none]) == pytest.approx(1)
    random.shuffle(seats)  # type: ignore[attr-defined]
    shuffled = {f"m{seat}": key for seat, (key, _) in seats}
    assert weighted(Ballot(shuffled), reliability, k_eff=5) == belief
    joined = weighted(Ballot(shuffled | {"silent": None}), reliability, k_eff=5)
    assert joined.choice == belief.choice
    assert joined.probabilities == pytest.approx(dict(belief.probabilities))


def test_the_best_member_speaks_and_the_next_best_where_it_is_silent() -> None:
    history = [
        Resolved(Ballot({"good": "r", "fair": "r" if q % 2 else "w", "shy": "r" if q < 2 else None}), "r")
        for q in range(20)
    ]
    table = tabulate(history, {})
    rule, record = BestMember.fit(table), Record.of(table)
    say = {"good": "1", "fair": "2", "shy": "3"}
    assert posterior(rule, record, Ballot(say), {}, seed=0).choice == "1"
    belief = posterior(rule, record, Ballot(say | {"shy": None}), {}, seed=0)
    assert belief.confidence == pytest.approx(21 / 22)  # as probable as its member is reliable
    assert posterior(rule, record, Ballot(say | {"good": None}), {}, seed=0).choice == "2"  # always right, seldom there
    assert posterior(rule, record, Ballot({"shy": "3", "new": "4"}), {}, seed=0).choice == "3"
    assert posterior(rule, record, Ballot({"new": "4"}), {}, seed=0).choice == "4"


def test_topics_count_in_the_records() -> None:
    draw = np.random.default_rng(0)
    history = []
    for q in range(400):
        topic = "law" if q % 2 else "sums"
        knows = {"jurist": topic == "law", "clerk": topic == "sums"}
        votes = {m: "r" if draw.random() < (0.9 if knows[m] else 0.4) else f"w{draw.integers(5)}" for m in knows}
        history.append(Resolved(Ballot(votes, topic=topic), "r"))
    table = tabulate(history, {})
    rule, record = LogOdds.fit(table), Record.of(table)
    votes = {"jurist": "a", "clerk": "b"}
    assert posterior(rule, record, Ballot(votes, topic="law"), {}, seed=0).choice == "a"
    assert posterior(rule, record, Ballot(votes, topic="sums"), {}, seed=0).choice == "b"

"""Arrays that say the same as the ballots they were made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from society.aggregation.ballot import Ballot, Resolved, Reviews
from society.aggregation.plurality import count
from society.aggregation.record import Record
from society.aggregation.selector import Plurality
from society.aggregation.table import chosen, hits, one, softmax, tabulate

HISTORY = [
    Resolved(Ballot({"a": "x", "b": None}, topic="t", confidences={"a": 0.5}, reviews={"x": Reviews(1, 2)}), "x"),
    Resolved(Ballot({"b": "y", "c": "x"}, options=3, ruled_out=frozenset({"y"})), "y"),
    Resolved(Ballot({}), None),
]


def test_what_stands_and_who_was_right() -> None:
    table = tabulate(HISTORY, {"a": "base", "b": "base"})
    assert (table.members, table.lineages, table.topics) == (("a", "b", "c"), ("base", "c"), ("t",))
    assert table.keys == ("x", "x")  # the answer that was ruled out is no row
    assert table.votes.tolist() == [[1, 0, 0], [0, 0, 1]]
    assert table.right.tolist() == [True, False]
    assert table.invited.tolist() == [[True, True, False], [False, True, True], [False] * 3]
    assert table.correct.tolist() == [[True, False, False], [False, True, False], [False] * 3]
    assert table.reviews.tolist() == [[1, 2], [0, 0]]
    assert table.answers.tolist() == [1, 1, 0]
    record = Record.of(table)
    assert record.right == pytest.approx({"a": 2 / 3, "b": 2 / 3, "c": 1 / 3})
    assert record.useful == pytest.approx({"a": 2 / 3, "b": 2 / 4, "c": 1 / 3})


def test_a_part_is_the_table_of_that_part() -> None:
    whole, part = tabulate(HISTORY, {}), tabulate(HISTORY, {}).part(np.array([1, 2]))
    alone = tabulate(HISTORY[1:], {})
    assert part.keys == alone.keys
    assert part.question.tolist() == [0]
    assert part.votes[:, 1:].tolist() == alone.votes.tolist()
    assert part.members == whole.members


def test_silence_believes_in_none_of_these() -> None:
    table = tabulate(HISTORY, {})
    beliefs = softmax(table, np.zeros(2), np.array([0.0, -np.inf, -np.inf]))
    assert beliefs.probability.tolist() == [0.5, 1.0]
    assert beliefs.none.tolist() == [0.5, 0.0, 1.0]
    choice = chosen(table, beliefs, np.zeros(3), 0)
    assert choice.tolist() == [0, 1, -1]
    assert hits(table, choice).tolist() == [True, False, False]


def test_large_scores_do_not_overflow() -> None:
    table = one(Ballot({"a": "x", "b": "y"}), {})
    beliefs = softmax(table, np.array([2000.0, -2000.0]), np.array([0.0]))
    assert beliefs.probability.tolist() == [1.0, 0.0]


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from(["x", "y", "z", None]), max_size=8),
    st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from(["l", "m"]), max_size=8),
    st.sampled_from([1.0, 2.0, 9.0]),
    st.integers(0, 9),
)
def test_plurality_over_a_table_is_plurality(
    votes: dict[str, str | None], lineages: dict[str, str], cap: float, seed: int
) -> None:
    trust = {member: 0.3 + 0.05 * place for place, member in enumerate("abcdefgh")}
    expected = count(Ballot(votes), lineages, seed=seed, trust=trust, lineage_cap=cap)
    table = one(Ballot(votes), lineages)
    beliefs = Plurality(cap).beliefs(table)
    choice = chosen(table, beliefs, table.by_member(trust, 0.0), seed)[0]
    assert (None if choice < 0 else table.keys[choice]) == expected.choice
    assert dict(zip(table.keys, beliefs.probability, strict=True)) == pytest.approx(dict(expected.probabilities))
    assert beliefs.none[0] == pytest.approx(expected.none)

"""Stopping early changes nothing (3.9)."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal_data.errors import InvalidInput
from society.aggregation.stopping import by_weight, needed

WEIGHTS = {"a": 3.0, "b": 2.0, "c": 2.0, "d": 1.0}


def test_two_calls_are_saved() -> None:
    assert needed({}, "abcd", WEIGHTS)
    assert needed({"a": "x"}, "bcd", WEIGHTS)  # 3 > 5 is not
    assert not needed({"a": "x", "b": "x"}, "cd", WEIGHTS)  # 5 > 3
    assert needed({"a": "x", "b": "y"}, "cd", WEIGHTS)
    assert needed({"a": "x", "b": None}, "cd", WEIGHTS)  # 3 > 3 is not: a tie is still possible
    assert not needed({"a": "x", "b": "y", "c": "x", "d": "y"}, "", WEIGHTS)


def test_an_anti_expert_can_still_change_things() -> None:
    assert needed({"a": "x"}, ["b"], {"a": 1.0, "b": -1.0})
    assert needed({"b": "x"}, ["a"], {"a": 0.5, "b": -1.0})  # what leads now is worth less than any new answer


def test_who_is_not_weighed_could_change_anything() -> None:
    with pytest.raises(InvalidInput, match="e has no weight"):
        needed({"a": "x"}, ["e"], WEIGHTS)


def test_the_weightiest_is_asked_first() -> None:
    assert by_weight("dcba", WEIGHTS) == ("a", "b", "c", "d")
    assert by_weight("ab", {"a": 1.0, "b": -2.0}) == ("b", "a")


def leader(votes: dict[str, str | None], weights: dict[str, float]) -> str | None:
    scores: dict[str, list[float]] = {}
    for member, key in votes.items():
        if key is not None:
            scores.setdefault(key, []).append(weights[member])
    return max(sorted(scores), key=lambda key: math.fsum(scores[key])) if scores else None


@given(
    st.lists(st.tuples(st.sampled_from(["x", "y", "z", None]), st.integers(-3, 6)), min_size=1, max_size=8),
)
def test_the_leader_at_the_stop_is_the_leader_at_the_end(seats: list[tuple[str | None, int]]) -> None:
    weights = {f"m{seat}": float(weight) for seat, (_, weight) in enumerate(seats)}
    votes = {f"m{seat}": key for seat, (key, _) in enumerate(seats)}
    seen: dict[str, str | None] = {}
    order = by_weight(votes, weights)
    for place, member in enumerate(order):
        if not needed(seen, order[place:], weights):
            break
        seen[member] = votes[member]
    if len(seen) < len(votes):
        assert leader(seen, weights) == leader(votes, weights)

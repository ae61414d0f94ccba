"""What hostile numbers and silence meet at the door."""

from __future__ import annotations

import math

import pytest

from personal_data.errors import InvalidInput
from society.aggregation.ballot import Ballot, Posterior, Reviews, ranked, silence


@pytest.mark.parametrize("confidence", [math.nan, math.inf, -0.1, 1.1])
def test_what_is_no_probability_is_no_confidence(confidence: float) -> None:
    with pytest.raises(InvalidInput, match="the confidence of a must be a number from 0 to 1"):
        Ballot({"a": "x"}, confidences={"a": confidence})


def test_other_nonsense_is_refused_too() -> None:
    with pytest.raises(InvalidInput, match="give None for an abstention"):
        Ballot({"a": ""})
    with pytest.raises(InvalidInput, match="2 options or more"):
        Ballot({"a": "x"}, options=1)
    with pytest.raises(InvalidInput, match="below 0"):
        Ballot({"a": "x"}, reviews={"x": Reviews(refuted=-1)})


def test_an_answer_that_a_check_refuted_is_out_whatever_its_votes() -> None:
    ballot = Ballot({"a": "x", "b": "x", "c": "y", "d": None}, ruled_out=frozenset({"x"}))
    assert ballot.standing() == {"c": "y"}
    assert ballot.supporters() == {"y": ("c",)}


def test_silence_is_certain_of_none_of_these() -> None:
    assert silence("any") == Posterior({}, 1.0, None, "any")
    assert silence("any").confidence is None


def test_sums_that_differ_by_rounding_are_a_tie() -> None:
    scores = {"x": 0.1 + 0.2, "y": 0.3}
    belief = ranked(scores, {"x": 0.3, "y": 0.3}, "any", trust={"x": 1.0, "y": 2.0}, seed=0)
    assert belief.choice == "y"
    assert belief.tie == "tie of 2 answers, given to the one whose supporters are trusted more"
    assert belief.none == pytest.approx(0.4)

"""ReConcile's steps and votes against 3.4."""

from __future__ import annotations

import math

import pytest

from personal_data.errors import InvalidInput
from society.aggregation.ballot import Ballot
from society.aggregation.reconcile import recalibrated, reconcile


@pytest.mark.parametrize(
    ("confidence", "weight"),
    [(1.0, 1.0), (0.99, 0.8), (0.9, 0.8), (0.89, 0.5), (0.8, 0.5), (0.79, 0.3), (0.61, 0.3), (0.6, 0.1), (0.0, 0.1)],
)
def test_the_five_steps(confidence: float, weight: float) -> None:
    assert recalibrated(confidence) == weight


@pytest.mark.parametrize("confidence", [1.1, -0.1, math.nan])
def test_what_is_no_confidence_is_refused(confidence: float) -> None:
    with pytest.raises(InvalidInput):
        recalibrated(confidence)


def test_a_certain_voice_against_two_doubtful_ones() -> None:
    ballot = Ballot({"a": "yes", "b": "no", "c": "no"}, confidences={"a": 1.0, "b": 0.85, "c": 0.7})
    belief = reconcile(ballot, seed=0)
    assert belief.choice == "yes"
    assert belief.probabilities == pytest.approx({"yes": 1.0 / 1.8, "no": 0.8 / 1.8})


def test_two_at_the_lowest_step_lose_to_one() -> None:
    ballot = Ballot({"a": "yes", "b": "yes", "c": "no"}, confidences={"a": 0.6, "b": 0.6, "c": 0.8})
    assert reconcile(ballot, seed=0).choice == "no"


def test_a_failed_member_weighs_nothing_and_a_mute_one_is_asked_for_its_confidence() -> None:
    assert reconcile(Ballot({"a": None}), seed=0).choice is None
    with pytest.raises(InvalidInput, match="b stated none"):
        reconcile(Ballot({"a": "x", "b": "y"}, confidences={"a": 0.5}), seed=0)

"""Expectation maximisation against the worked iterations of 3.6, and what it can and cannot find."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from personal_data.errors import InvalidInput
from society.aggregation.ballot import Ballot
from society.aggregation.dawid_skene import Estimate, full, one_coin, open_coin
from tests.society.aggregation.committees import independent

ITEMS = [dict(zip("abc", labels, strict=True)) for labels in ("110", "111", "001", "010")]


def of_one(estimate: Estimate) -> list[float]:
    return [probabilities["1"] for probabilities in estimate.probabilities]


def test_the_worked_example() -> None:
    start = one_coin(ITEMS, "01", steps=0, smoothing=0)
    assert list(start.reliability.values()) == pytest.approx([3 / 4, 2 / 3, 7 / 12])
    first = one_coin(ITEMS, "01", steps=1, smoothing=0)
    expected = [Fraction(30, 37), Fraction(42, 47), Fraction(7, 37), Fraction(10, 31)]
    assert of_one(first) == pytest.approx([float(value) for value in expected], abs=1e-12)
    assert list(first.reliability.values()) == pytest.approx([0.798164, 0.709455, 0.487354], abs=5e-7)
    second = one_coin(ITEMS, "01", steps=2, smoothing=0)
    assert of_one(second) == pytest.approx([0.910373, 0.901766, 0.089627, 0.393762], abs=5e-7)
    assert not second.converged


def labelled(questions: int) -> tuple[list[dict[str, str | None]], list[str]]:
    """Five independent workers; the last calls almost everything "0"."""
    draw = np.random.default_rng(3)
    truth = draw.integers(2, size=questions)
    knows = draw.random((questions, 5)) < np.array([0.9, 0.8, 0.7, 0.6, 1.0])
    said = np.where(knows, truth[:, None], 1 - truth[:, None])
    said[:, 4] = np.where(draw.random(questions) < 0.9, 0, said[:, 4])
    items: list[dict[str, str | None]] = [{f"w{w}": str(row[w]) for w in range(5)} for row in said]
    return items, [str(value) for value in truth]


def test_reliability_is_found_without_labels() -> None:
    items, truth = labelled(1500)
    coin, matrices = one_coin(items, "01"), full(items, "01")
    assert coin.converged
    assert [round(coin.reliability[f"w{w}"], 1) for w in range(4)] == [0.9, 0.8, 0.7, 0.6]
    right = [max(p, key=p.__getitem__) == t for p, t in zip(matrices.probabilities, truth, strict=True)]
    assert np.mean(right) > 0.88
    assert matrices.confusion is not None
    assert matrices.confusion["w4"][0, 0] > 0.97
    assert matrices.confusion["w4"][1, 0] > 0.8  # whatever is right, it says "0"


@pytest.mark.parametrize("rule", [one_coin, full])
def test_silence_agreement_and_nonsense(rule: type[Estimate]) -> None:
    nothing = rule([{"a": None}, {}], "01")  # type: ignore[call-arg,arg-type]
    assert of_one(nothing) == [0.5, 0.5]
    assert nothing.reliability == {}
    agreed = rule([{"a": "1", "b": "1"}] * 4, "01", smoothing=0)  # type: ignore[call-arg,arg-type]
    assert of_one(agreed) == [1.0] * 4
    with pytest.raises(InvalidInput, match="none of the options"):
        rule([{"a": "x"}], "01")  # type: ignore[call-arg,arg-type]
    with pytest.raises(InvalidInput, match="2 or more"):
        rule([], "0")  # type: ignore[call-arg,arg-type]


def test_reliability_is_found_from_open_answers_too() -> None:
    accuracies = [0.9, 0.8, 0.7, 0.6, 0.5]
    ballots = [case.ballot for case in independent(accuracies, 1500, seed=4)]
    found = open_coin(ballots, k_eff=7)
    assert list(found.values()) == pytest.approx(accuracies, abs=0.04)
    assert open_coin([]) == open_coin([Ballot({"a": None})]) == {}
    lone = open_coin([Ballot({"a": "x"})] * 10, smoothing=0)["a"]
    assert 0 <= lone <= 1

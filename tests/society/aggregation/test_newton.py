"""The solver against optima that are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from society.aggregation.newton import Choices, maximise


def coin(heads: int, throws: int, copies: int = 1) -> Choices:
    """Heads scores the sum of the weights, tails 0."""
    design = np.zeros((2 * throws, copies))
    design[::2] = 1
    right = np.zeros(2 * throws, dtype=bool)
    right[: 2 * heads : 2] = True
    right[2 * heads + 1 :: 2] = True
    return Choices(design, np.zeros(2 * throws), np.repeat(np.arange(throws), 2), right)


@pytest.mark.parametrize(("copies", "weight"), [(1, 1.098612), (2, 0.549306), (5, 0.219722)])
def test_copies_share_the_weight_of_one(copies: int, weight: float) -> None:
    fit = maximise(coin(75, 100, copies), prior=np.zeros(copies), ridge=np.zeros(copies))
    assert fit.converged
    assert fit.weights == pytest.approx([weight] * copies, abs=5e-7)


def test_a_prior_holds_what_an_infinite_ridge_fixes() -> None:
    fit = maximise(coin(75, 100, 2), prior=np.array([0.3, 0.0]), ridge=np.array([np.inf, 0.0]))
    assert fit.weights == pytest.approx([0.3, np.log(3) - 0.3])
    assert maximise(coin(75, 100), prior=np.array([0.5]), ridge=np.array([np.inf])).weights == [0.5]


def test_the_gradient_vanishes_at_the_penalised_optimum() -> None:
    fit = maximise(coin(10, 10), prior=np.array([0.2]), ridge=np.array([2.0]))
    assert fit.converged
    weight = fit.weights[0]
    assert 10 / (1 + np.exp(weight)) == pytest.approx(2 * (weight - 0.2), abs=1e-8)


def test_no_optimum_is_said_so_or_lies_beyond_all_doubt() -> None:
    fit = maximise(coin(10, 10), prior=np.zeros(1), ridge=np.zeros(1))
    assert not fit.converged or fit.weights[0] > 18  # ever better as it grows, until rounding ends it


def test_far_starts_come_home() -> None:
    fit = maximise(coin(75, 100), prior=np.array([40.0]), ridge=np.array([1e-6]))
    assert fit.converged
    assert fit.weights[0] == pytest.approx(np.log(3), abs=1e-4)


def test_nothing_to_learn_leaves_the_prior() -> None:
    nothing = Choices(np.zeros((0, 2)), np.zeros(0), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool))
    assert maximise(nothing, prior=np.array([1.0, 2.0]), ridge=np.ones(2)).weights == pytest.approx([1.0, 2.0])

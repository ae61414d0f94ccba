"""Scores that can be computed by hand (3.9)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from society.aggregation.scores import (
    Estimate,
    Score,
    brier,
    calibration_error,
    log_loss,
    mean,
    risk_by_coverage,
    score,
    share,
)


def test_one_forecast_that_comes_true() -> None:
    forecast, hit = np.array([0.7]), np.array([True])
    assert brier(forecast, hit) == pytest.approx(0.09)
    assert log_loss(forecast, hit) == pytest.approx(-math.log(0.7))
    assert calibration_error(forecast, hit) == pytest.approx(0.3)


def test_calibration_is_measured_in_bins() -> None:
    forecast = np.array([0.5] * 10 + [1.0] * 10)
    hit = np.array([True] * 5 + [False] * 5 + [True] * 8 + [False] * 2)
    assert calibration_error(forecast, hit) == pytest.approx(0.1)
    assert log_loss(forecast, hit) == math.inf


def test_risk_grows_with_what_is_answered() -> None:
    risk = risk_by_coverage(np.array([0.2, 0.9, 0.6]), np.array([False, True, False]))
    assert risk == pytest.approx([0, 1 / 2, 2 / 3])


def test_nothing_has_no_score() -> None:
    nothing = np.zeros(0), np.zeros(0, dtype=bool)
    assert math.isnan(brier(*nothing)) and math.isnan(log_loss(*nothing)) and math.isnan(calibration_error(*nothing))


def test_an_outcome_that_a_lot_decides_is_scored_by_what_is_to_be_expected() -> None:
    """Half of the time (.7 - 1)^2, half of the time .7^2."""
    assert brier(np.array([0.7]), np.array([0.5])) == pytest.approx((0.09 + 0.49) / 2)


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [(0, 10, 0.0, 0.277533), (8, 10, 0.490162, 0.943318), (10, 10, 0.722467, 1.0)],
)
def test_wilson_s_interval(count: int, of: int, low: float, high: float) -> None:
    found = share(count, of)
    assert (found.value, found.of) == (count / of, of)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))


@given(st.integers(1, 5000), st.floats(0, 1))
def test_an_interval_holds_its_value_and_is_mirrored_by_the_opposite(of: int, part: float) -> None:
    found, opposite = share(part * of, of), share((1 - part) * of, of)
    assert found.value is not None and found.low is not None and found.high is not None and opposite.low is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high == pytest.approx(1 - opposite.low, abs=1e-9)
    for end in (found.low, found.high):  # the rates that a test at 5 % would just not reject
        assert abs(found.value - end) == pytest.approx(1.959964 * (end * (1 - end) / of) ** 0.5, abs=1e-6)


def test_of_no_case_nothing_is_known() -> None:
    assert share(0, 0) == mean([]) == Estimate(None, None, None, 0)
    assert score(np.zeros(0), np.zeros(0)) == Score(Estimate(None, None, None, 0), None, None, 0)


def test_answers_without_a_claim_count_for_accuracy_alone() -> None:
    found = score(np.array([1.0, 0.0, 1.0]), np.array([0.7, np.nan, np.nan]))
    assert (found.accuracy.value, found.forecasts) == (2 / 3, 1)
    assert (found.brier, found.ece) == (pytest.approx(0.09), pytest.approx(0.3))
    silent = score(np.array([1.0]), np.array([np.nan]))
    assert (silent.brier, silent.ece, silent.forecasts) == (None, None, 0)


def test_the_mean_of_equal_numbers_has_no_spread_and_of_others_lies_within_it() -> None:
    assert mean([0.25] * 9) == Estimate(0.25, 0.25, 0.25, 9)
    found = mean([1.0, 0.0, 0.0, 1.0] * 25)
    assert found.low is not None and found.high is not None
    assert found.value == 0.5 and 0.38 < found.low < 0.43 and 0.57 < found.high < 0.62

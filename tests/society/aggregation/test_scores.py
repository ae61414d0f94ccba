"""Scores that can be computed by hand (3.9)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from society.aggregation.scores import brier, calibration_error, log_loss, risk_by_coverage


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

"""Calibration: nothing without evidence, the truth with it, and never upside down."""

from __future__ import annotations

import numpy as np
import pytest

from society.aggregation.ballot import Posterior
from society.aggregation.platt import EVIDENCE, Platt
from society.aggregation.scores import calibration_error


def boasts(count: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Forecasts whose odds are the square of what they should be, and what happened."""
    draw = np.random.default_rng(seed)
    true = draw.uniform(0.05, 0.95, count)
    odds = (true / (1 - true)) ** 2
    return odds / (1 + odds), draw.random(count) < true


def test_too_little_evidence_changes_nothing() -> None:
    platt = Platt.fit(*boasts(EVIDENCE - 1))
    assert (platt.slope, platt.intercept, platt.evidence) == (1, 0, EVIDENCE - 1)
    belief = Posterior({"x": 0.7, "y": 0.1}, 0.2, "x", "any")
    assert platt.calibrated(belief) is belief


def test_boasting_is_corrected() -> None:
    platt = Platt.fit(*boasts(4000))
    assert platt.slope == pytest.approx(0.5, abs=0.05)
    assert platt.intercept == pytest.approx(0, abs=0.1)
    forecast, hit = boasts(4000, seed=1)
    assert calibration_error(platt.apply(forecast), hit) < 0.03 < calibration_error(forecast, hit)


def test_the_rest_shares_what_remains() -> None:
    platt = Platt(slope=0.5, evidence=1000)
    belief = platt.calibrated(Posterior({"x": 0.9, "y": 0.06}, 0.04, "x", "any", "a tie"))
    assert belief.confidence == pytest.approx(0.75)
    assert belief.probabilities["y"] == pytest.approx(0.15)
    assert belief.none == pytest.approx(0.10)
    assert (belief.choice, belief.tie) == ("x", "a tie")


def test_more_claimed_and_less_right_gives_everybody_the_same() -> None:
    forecast, hit = boasts(2000)
    platt = Platt.fit(forecast, ~hit)
    assert platt.slope == 0
    assert platt.apply(np.array([0.1, 0.9])) == pytest.approx([np.mean(~hit)] * 2, abs=0.01)


@pytest.mark.parametrize("happened", [True, False])
def test_certainties_stay_finite(happened: bool) -> None:
    platt = Platt.fit(np.full(200, 1.0 if happened else 0.0), np.full(200, happened))
    assert 0 < platt.apply(np.array([0.5]))[0] < 1
    assert np.isfinite([platt.slope, platt.intercept]).all()


def test_silence_stays_silence() -> None:
    silent = Posterior({}, 1.0, None, "any")
    assert Platt(slope=0.5, evidence=1000).calibrated(silent) is silent

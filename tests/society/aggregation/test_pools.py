"""Pools and surprisingly popular against 3.9."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal_data.errors import InvalidInput
from society.aggregation.ballot import Ballot
from society.aggregation.pools import extremised_mean, log_pool, product_of_odds, surprisingly_popular


def test_three_forecasts_of_seven_tenths() -> None:
    forecasts = [0.7] * 3
    assert log_pool(forecasts) == pytest.approx(0.7)
    product = product_of_odds(forecasts)
    assert product / (1 - product) == pytest.approx(12.7037, abs=5e-5)
    assert product == pytest.approx(0.927027, abs=5e-7)
    assert extremised_mean(forecasts) == pytest.approx(0.892664, abs=5e-7)


@pytest.mark.parametrize("forecasts", [[], [0.0], [1.0, 0.5], [math.nan]])
def test_certainties_cannot_be_pooled(forecasts: list[float]) -> None:
    with pytest.raises(InvalidInput):
        log_pool(forecasts)


@given(st.lists(st.floats(0.001, 0.999), min_size=1, max_size=8))
def test_a_pool_of_opposites_is_the_opposite(forecasts: list[float]) -> None:
    opposite = [1 - forecast for forecast in forecasts]
    for pool in (log_pool, product_of_odds, extremised_mean):
        assert pool(forecasts) + pool(opposite) == pytest.approx(1)


def test_more_popular_than_predicted_wins() -> None:
    votes = {f"y{n}": "yes" for n in range(13)} | {f"n{n}": "no" for n in range(7)}
    forecasts = {member: {"yes": 0.75, "no": 0.25} for member in votes}
    belief = surprisingly_popular(Ballot(votes), forecasts, seed=0)
    assert belief.choice == "no"
    assert belief.confidence == pytest.approx(0.35)


def test_surprisingly_popular_says_what_it_needs() -> None:
    assert surprisingly_popular(Ballot({"a": None}), {}, seed=0).choice is None
    with pytest.raises(InvalidInput, match="needs predictions"):
        surprisingly_popular(Ballot({"a": "x"}), {}, seed=0)
    with pytest.raises(InvalidInput, match="the share that a predicts"):
        surprisingly_popular(Ballot({"a": "x"}), {"a": {"x": math.nan}}, seed=0)

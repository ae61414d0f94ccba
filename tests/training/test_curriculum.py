"""Difficulty follows the policy: on a simulated policy whose success at every level is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.tasks.curriculum import Curriculum
from training.tasks.environments import ENVIRONMENTS, held_out

ORDER = ENVIRONMENTS["order"]


def curriculum(start: float, *, opens: Callable[[int], bool] = lambda level: True, name: str = "order") -> Curriculum:
    environment = ENVIRONMENTS[name]
    return Curriculum(environment, environment.difficulties, start, Random(7), opens)


def test_a_difficulty_between_two_levels_draws_both_in_proportion() -> None:
    drawn = Counter(task.item.difficulty for task in curriculum(2.25).take(2000) if task.item)
    assert set(drawn) == {2, 3}
    assert drawn[3] / 2000 == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 2000) ** 0.5)


def test_items_are_held_in_and_come_once() -> None:
    family = curriculum(3.0)
    tasks = [task for _ in range(30) for task in family.take(24)]
    assert len({task.question for task in tasks}) == len(tasks)
    assert not any(task.item and held_out(task.item) for task in tasks)


def test_a_small_family_comes_round_again() -> None:
    family = curriculum(1.0, name="weekday")
    seen = Counter(task.question for _ in range(10) for task in family.take(24))
    assert len(seen) < 60
    assert max(seen.values()) - min(seen.values()) <= 24


def test_what_is_ahead_is_what_comes() -> None:
    family = curriculum(2.5)
    ahead = {task.question for task in family.ahead()}
    assert {task.question for task in family.take(16)} <= ahead


@given(st.floats(1, 8), st.floats(0.02, 0.98))
@settings(max_examples=40, deadline=None)
def test_it_settles_where_half_is_right(start: float, slope: float) -> None:
    """A policy that is right with probability 1 - slope (d - 1), between 0 and 1, is brought to 1/2."""
    family = curriculum(start)
    for _ in range(400):
        family.hear(min(1.0, max(0.0, 1 - slope * (family.difficulty - 1))))
    wanted = min(8.0, 1 + 0.5 / slope)
    assert family.difficulty == pytest.approx(wanted, abs=0.3)


def test_it_rises_with_the_policy_and_stays_near_half() -> None:
    """Every step the level at which half is right moves up by a fiftieth."""
    family, rng = curriculum(1.5), Random(3)
    told = []
    for step in range(200):
        can = 1.5 + step / 50
        success = min(1.0, max(0.0, 0.5 + 0.3 * (can - family.difficulty)))
        told.append(sum(rng.random() < success for _ in range(192)) / 192)
        family.hear(told[-1])
    assert family.difficulty > 4.5
    assert 0.45 < sum(told) / len(told) < 0.65


def test_a_level_that_may_not_be_entered_is_asked_for_once_and_never_drawn() -> None:
    asked: list[int] = []

    def opens(level: int) -> bool:
        asked.append(level)
        return level < 4

    family = curriculum(1.5, opens=opens)
    for _ in range(50):
        family.take(4)
        family.hear(1.0)
    assert asked == [3, 4]
    assert family.difficulty == 3
    assert max(family.visited) == 3


def test_without_knowing_what_was_right_it_stays_where_it_is() -> None:
    family = curriculum(2.5)
    family.hear(None)
    assert family.difficulty == 2.5

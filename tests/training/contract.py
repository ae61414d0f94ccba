"""What every `Environment` promises, whoever wrote it."""

from __future__ import annotations

import dataclasses
from random import Random

import pytest

from training.rollouts import at_once_tasks
from training.tasks.environments import Environment, Item, held_out

NOTHING_LIKE_IT = "a zebra of no use, 8.25 and xyzzy"


def keeps_its_promises(environment: Environment, difficulty: int, seed: int) -> Item:
    """Assert all of them on one item; the item."""
    item = environment.sample(Random(seed), difficulty)
    assert item == environment.sample(Random(seed), difficulty), "equal generators draw equal items"
    assert (item.family, item.difficulty) == (environment.name, difficulty)
    assert item.question.strip() and item.answer.strip() and "answer:" not in item.work
    assert environment.is_right(item, item.answer) is True
    assert environment.is_right(item, NOTHING_LIKE_IT) is False
    assert environment.is_right(item, None) is environment.is_right(item, "") is environment.is_right(item, " ") is None
    judges = dataclasses.replace(item, answer=NOTHING_LIKE_IT)
    assert environment.is_right(judges, NOTHING_LIKE_IT) is True, "a judge's answer stands in for the item's own"
    assert environment.is_right(judges, item.answer) is False
    return item


def refuses_other_difficulties(environment: Environment) -> None:
    for difficulty in (0, max(environment.difficulties) + 1):
        with pytest.raises(ValueError, match="has difficulties"):
            environment.sample(Random(0), difficulty)


def has_both_sides(environment: Environment, difficulty: int, *, each: int = 20) -> None:
    """Enough different items to practise and to be measured by."""
    for side in (True, False):
        tasks = at_once_tasks(environment, Random(1), difficulty, each, held_out=side)
        assert len({task.question for task in tasks}) == each
        assert all(task.item is not None and held_out(task.item) is side for task in tasks)

"""Every family's answers against an independent computation, and the held-out split."""

from __future__ import annotations

import datetime
import operator
import re
from collections import Counter
from collections.abc import Callable
from itertools import permutations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.tasks.environments import ENVIRONMENTS, RELATIONS, WEEKDAYS, Item, draw, held_out

MONDAY = datetime.date(2024, 1, 1)


def _arithmetic(question: str) -> str:
    first, sign, second = re.fullmatch(r"What is (\d+) ([-+x]) (\d+)\?", question).groups()  # type: ignore[union-attr]
    return str({"+": operator.add, "-": operator.sub, "x": operator.mul}[sign](int(first), int(second)))


def _sorted_numbers(question: str) -> str:
    return " ".join(map(str, sorted(map(int, re.findall(r"\d+", question)))))


def _sorted_words(question: str) -> str:
    return " ".join(sorted(question.removeprefix("Sort ").removesuffix(" from A to Z.").split()))


def _reversed(question: str) -> str:
    return question.removeprefix("Write ").removesuffix(" backwards.")[::-1]


def _counted(question: str) -> str:
    letter, word = question.removeprefix("How often is ").removesuffix("?").split(" in ")
    return str(Counter(word)[letter])


def _first_in_order(question: str) -> str:
    """Try every ranking of the people; only one fits all the statements."""
    said: list[tuple[str, str]] = re.findall(r"(\w+) is \w+ than (\w+)\.", question)
    people = sorted({name for pair in said for name in pair})
    (ranking,) = [
        order for order in permutations(people) if all(order.index(high) < order.index(low) for high, low in said)
    ]
    asked = question.rsplit(" ", 1)[1].rstrip("?")
    return ranking[0] if asked in {most for _, most, _ in RELATIONS} else ranking[-1]


def _later_weekday(question: str) -> str:
    today, days = re.fullmatch(r"Today is (\w+)\. What day is it in (\d+) days?\?", question).groups()  # type: ignore[union-attr]
    return (MONDAY + datetime.timedelta(WEEKDAYS.index(today) + int(days))).strftime("%A")


INDEPENDENT: dict[str, Callable[[str], str]] = {
    "add": _arithmetic,
    "subtract": _arithmetic,
    "multiply": _arithmetic,
    "sort_numbers": _sorted_numbers,
    "sort_words": _sorted_words,
    "reverse": _reversed,
    "count_letter": _counted,
    "order": _first_in_order,
    "weekday": _later_weekday,
}
items = st.builds(
    lambda name, difficulty, seed: ENVIRONMENTS[name].sample(Random(seed), difficulty),
    st.sampled_from(sorted(ENVIRONMENTS)),
    st.sampled_from((1, 2, 3, 4)),
    st.integers(0, 10**9),
)


def test_every_family_is_checked_here() -> None:
    assert set(INDEPENDENT) == set(ENVIRONMENTS)
    assert all(name == environment.name for name, environment in ENVIRONMENTS.items())


@given(items)
def test_answers_are_right(item: Item) -> None:
    assert item.answer == INDEPENDENT[item.family](item.question)


@given(items)
def test_canonical_forms_are_right_and_others_are_not(item: Item) -> None:
    environment = ENVIRONMENTS[item.family]
    assert environment.is_right(item, f"  {item.answer.upper()}.\n") is True
    assert environment.is_right(item, ", ".join(item.answer.split())) is True
    assert environment.is_right(item, item.answer + " 1") is False
    assert environment.is_right(item, " ") is environment.is_right(item, "?!") is None
    assert environment.is_right(item, None) is None


@given(items)
def test_questions_and_work_keep_to_their_place(item: Item) -> None:
    assert "\n" not in item.question and item.work and "answer:" not in item.work


@given(items.filter(lambda item: item.family in ("add", "subtract", "multiply")))
def test_every_step_of_arithmetic_is_true(item: Item) -> None:
    for sum_of, total in re.findall(r"(\d\+\d\+\d)=(\d\d)", item.work):
        assert sum(map(int, sum_of.split("+"))) == int(total)
    for a, b, lent, rest, borrowed in re.findall(r"(\d)-(\d)-(\d)=(\d) borrow (\d)", item.work):
        assert int(a) - int(b) - int(lent) == int(rest) - 10 * int(borrowed)
    for a, b, product, carry, total in re.findall(r"(\d)x(\d)=(\d\d), \+(\d)=(\d\d)", item.work):
        assert int(a) * int(b) == int(product) and int(product) + int(carry) == int(total)


@given(st.sampled_from(sorted(ENVIRONMENTS)), st.integers(0, 10**6))
def test_equal_seeds_draw_equal_items(name: str, seed: int) -> None:
    assert ENVIRONMENTS[name].sample(Random(seed), 2) == ENVIRONMENTS[name].sample(Random(seed), 2)


def test_an_unknown_difficulty_is_refused() -> None:
    with pytest.raises(ValueError, match="add has difficulties"):
        ENVIRONMENTS["add"].sample(Random(0), 5)


def test_held_out_ignores_the_order_of_the_question() -> None:
    def item(question: str) -> Item:
        return Item("add", 1, question, "", "")

    assert held_out(item("What is 3 + 58?")) == held_out(item("What is 58 + 3?"))


def test_held_out_never_moves() -> None:
    """A moved split would train on what older weights were measured with."""
    kept = [n for n in range(100) if held_out(Item("add", 2, f"What is {n} + 40?", "", ""))]
    assert kept == KEPT


KEPT = [5, 9, 18, 38, 48, 50, 51, 55, 56, 75, 78, 79, 83, 96]


@pytest.mark.parametrize("name", sorted(ENVIRONMENTS))
def test_about_a_tenth_is_held_out(name: str) -> None:
    rng = Random(7)
    share = sum(held_out(ENVIRONMENTS[name].sample(rng, 4)) for _ in range(2000)) / 2000
    assert 0.06 < share < 0.15


def test_draw_keeps_to_its_side() -> None:
    rng = Random(3)
    for side in (True, False):
        assert all(held_out(draw(ENVIRONMENTS["order"], rng, 1, held_out_items=side)) is side for _ in range(50))


def test_a_large_number_may_be_written_with_commas() -> None:
    item = Item("multiply", 4, "What is 99 x 99?", "9801", "")
    assert ENVIRONMENTS["multiply"].is_right(item, "9,801") is True


@pytest.mark.parametrize("answer", ["x a b", "a x b", "a b x", "a a a", "b a"])
def test_letters_are_told_apart_exactly(answer: str) -> None:
    item = Item("reverse", 1, "", answer, "")
    others = {"x a b", "a x b", "a b x", "a a a", "b a", "x b", "b", "a a"} - {answer}
    assert ENVIRONMENTS["reverse"].is_right(item, ", ".join(answer.upper().split()))
    assert not any(ENVIRONMENTS["reverse"].is_right(item, other) for other in others)

"""Pairs of answers to judge: one is right, its place tells nothing, and no gate's question is given away."""

from __future__ import annotations

from random import Random

import pytest

from personal_data.errors import InvalidInput
from tests.training.contract import has_both_sides, keeps_its_promises, refuses_other_difficulties
from training.tasks import families
from training.tasks.environments import ENVIRONMENTS, Environment, Family, Item, held_out
from training.tasks.judging import Judging

DRAWN = 120


def drawn(name: str, difficulty: int = 2, count: int = DRAWN) -> list[Item]:
    family, rng = Judging(ENVIRONMENTS[name]), Random(f"pairs {name}")
    return [family.sample(rng, difficulty) for _ in range(count)]


def parts(item: Item) -> tuple[str, dict[str, str]]:
    """The question below, and both answers by their letter."""
    question, first, second, asked = item.question.rsplit("\n", 3)
    assert asked == "Which answer is better, A or B?"
    return question, {"A": first.removeprefix("A: "), "B": second.removeprefix("B: ")}


@pytest.mark.parametrize("name", sorted(ENVIRONMENTS))
def test_pairs_of_every_family_keep_the_promises(name: str) -> None:
    family = Judging(ENVIRONMENTS[name])
    for seed in range(5):
        keeps_its_promises(family, 2, seed)
    refuses_other_difficulties(family)


@pytest.mark.parametrize("name", ["order", "sort_numbers", "add"])
def test_there_are_enough_of_both_sides(name: str) -> None:
    has_both_sides(Judging(ENVIRONMENTS[name]), 2)


@pytest.mark.parametrize("name", sorted(ENVIRONMENTS))
def test_one_of_both_is_right_and_its_letter_is_as_often_a_as_b(name: str) -> None:
    family = ENVIRONMENTS[name]
    for item in drawn(name):
        question, answers = parts(item)
        of = {
            letter: family.is_right(Item(name, 2, question, answers[item.answer], ""), answers[letter])
            for letter in "AB"
        }
        assert of == {item.answer: True, "AB".replace(item.answer, ""): False}
    assert 0.35 < sum(item.answer == "A" for item in drawn(name)) / DRAWN < 0.65


def test_a_question_that_a_gate_asks_is_not_shown_with_its_answer_in_training() -> None:
    sides = {True: 0, False: 0}
    for item in drawn("order", count=600):
        below = Item("order", 2, parts(item)[0], "", "")
        assert held_out(item) is held_out(below)
        sides[held_out(item)] += 1
    assert sides[True] > 20


def test_the_wrong_answer_looks_like_the_right_one() -> None:
    for item in drawn("sort_numbers"):
        first, second = parts(item)[1].values()
        assert sorted(first.split()) == sorted(second.split())
    stands = []
    for item in drawn("order"):
        question, answers = parts(item)
        stands.append(all(name in question for name in answers.values()))
    assert sum(stands) > 0.6 * DRAWN


def test_a_family_where_nothing_is_wrong_is_refused_by_name() -> None:
    def certain(rng: Random, difficulty: int) -> tuple[str, str, str]:
        return f"Is {rng.random()} a number?", "yes", ""

    family: Environment = Judging(Family("certain", certain))
    with pytest.raises(InvalidInput, match="certain"):
        family.sample(Random(1), 1)


def test_it_is_found_by_name_over_every_family_but_itself() -> None:
    assert families.environment("judge:order").name == "judge:order"
    assert families.checker("judge:order").name == "judge:order"
    for unknown in ("judge:", "judge:judge:order", "judge:nothing", "judge:" * 2000):
        with pytest.raises(InvalidInput, match="unknown environment"):
            families.environment(unknown)

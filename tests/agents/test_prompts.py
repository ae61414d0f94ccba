"""Reading what a model closed its work with."""

from __future__ import annotations

import pytest

from agents.prompts import final_answer, final_verdict, free_answer


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2 + 2 = 4\nanswer: 4", "4"),
        ("The Answer: 42\nthank you", "42"),
        ("answer: 1\nNo. ANSWER:  two words ", "two words"),
        ("answer:", None),
        ("answer 4", None),
        ("İİ answer: straße", "straße"),
    ],
)
def test_the_last_answer_in_any_case(text: str, found: str | None) -> None:
    assert final_answer(text) == found


def test_a_verdict_in_any_case() -> None:
    assert final_verdict("It holds.\nVerdict: yes") == "yes"
    assert final_verdict("It holds.") is None


def test_an_answer_in_free_words_is_what_follows_or_all_of_it() -> None:
    assert free_answer("I weigh it.\nAnswer: Burn wood.\nAnd dry it first.\n") == "Burn wood.\nAnd dry it first."
    assert free_answer(" Burn wood. ") == "Burn wood."
    assert free_answer("Burn wood, is my answer: ") == "Burn wood, is my answer:"
    assert free_answer(" \n") == ""

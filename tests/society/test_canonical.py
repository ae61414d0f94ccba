"""Answers that mean the same have the same key; answers that do not, do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from society.canonical import answer_key, key_of


@pytest.mark.parametrize(
    ("answer", "key"),
    [
        ("42", "42"),
        (" 42. ", "42"),
        ("1,200.50", "1200.5"),
        ("$1,200.50", "$1200.5"),
        ("-$5.00", "-$5"),
        ("+5", "5"),
        ("-0", "0"),
        ("−5", "-5"),
        ("50.0%", "50%"),
        ("４２", "42"),
        ("12,300", "12300"),
        ("12, 300", "12 300"),
        ("3, 1 2", "3 1 2"),
        ("3,1,2", "3 1 2"),
        ("The Blue Pot.", "blue pot"),
        ("under the blue pot", "under blue pot"),
        ("Miro!", "miro"),
        ("Miro :)", "miro"),
        ("**Blue pot**.", "blue pot"),
        ("“Blue pot”", "blue pot"),
        ("[3, 1, 2]", "3 1 2"),
        ("(A)", "a"),
        ("A)", "a"),
        ("An apple, a pear", "apple pear"),
        ("x a b", "x a b"),
        ("X, A, B.", "x a b"),
        ("12,300 people", "12300 people"),
        ("", ""),
        ("!?", ""),
    ],
)
def test_canonical_form(answer: str, key: str) -> None:
    assert answer_key(answer) == key


@pytest.mark.parametrize(
    "answers",
    [
        ("A", "A+", "A-", "A*", ""),
        ("C", "C#", "C++"),
        ("-5 degrees", "5 degrees"),
        ("x > 3", "x < 3", "x = 3"),
        ("3/4", "3, 4", "34"),
        ("5", "$5", "€5", "5%"),
        ("10²", "102", "10"),
        ("1½", "1 1/2", "11/2"),
        ("0471", "471"),
        ("5'", '5"', "5"),
        ("f", "f'", "f(x)"),
        ("R&D", "R D"),
        ("1.5", "15", "1,5"),
        ("9" * 30, "9" * 29 + "8"),
        ("a", "the b", ""),
    ],
    ids=str,
)
def test_answers_that_differ_have_different_keys(answers: tuple[str, ...]) -> None:
    assert len({answer_key(answer) for answer in answers}) == len(answers)


def test_order_matters_in_lists() -> None:
    assert answer_key("1 2 3") != answer_key("3 2 1")


@given(st.integers(-(10**40), 10**40))
def test_every_way_to_write_an_integer_is_one_key(value: int) -> None:
    assert answer_key(str(value)) == answer_key(f"{value:,}") == answer_key(f" {value}.0 ") == str(value)


@given(st.text(max_size=60) | st.text("aA1, .()[]'*\"+-$%the", max_size=20))
def test_a_key_is_its_own_key(text: str) -> None:
    key = answer_key(text)
    assert answer_key(key) == key


def test_a_long_free_text_has_a_bounded_key_that_still_tells_it_apart() -> None:
    long = "burn wood " * 200
    assert key_of(f"{long}.", free=True) == key_of(long.upper(), free=True) != key_of(f"{long} twice", free=True)
    assert len(key_of(long, free=True) or "") < 600 < len(key_of(long, free=False) or "")
    assert key_of("The Blue Pot.", free=True) == answer_key("The Blue Pot.")
    assert key_of("...", free=True) is None

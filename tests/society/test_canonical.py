"""Answers that mean the same have the same key; answers that do not, do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from society.canonical import answer_key


@pytest.mark.parametrize(
    ("answer", "key"),
    [
        ("42", "42"),
        (" 42. ", "42"),
        ("042", "42"),
        ("$1,200.50", "1200.5"),
        ("-0", "0"),
        ("−5", "-5"),
        ("50%", "50%"),
        ("12,300", "12300"),
        ("12, 300", "12 300"),
        ("3, 1 2", "3 1 2"),
        ("3,1,2", "3 1 2"),
        ("The Blue Pot.", "blue pot"),
        ("under the blue pot", "under blue pot"),
        ("Miro!", "miro"),
        ("", ""),
        ("!?", ""),
    ],
)
def test_canonical_form(answer: str, key: str) -> None:
    assert answer_key(answer) == key


def test_order_matters_in_lists() -> None:
    assert answer_key("1 2 3") != answer_key("3 2 1")


@given(st.integers(-(10**12), 10**12))
def test_every_way_to_write_an_integer_is_one_key(value: int) -> None:
    assert answer_key(str(value)) == answer_key(f"{value:,}") == answer_key(f" {value}.0 ") == str(value)


@given(st.text(max_size=60))
def test_a_key_is_its_own_key(text: str) -> None:
    key = answer_key(text)
    assert answer_key(key) == key

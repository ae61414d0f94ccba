"""Quotations of one's own memories: those that stand, those that are made up, and those of which nothing is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from society.checks.citations import checked

SHOWN = ["My cat is called Tom Bombadil.", "The key of the hut is under the barrel, says Ben."]


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ('My memory says: "the key of the hut is under the barrel"', [True]),
        ("My memories tell “my cat is called Tom Bombadil”.", [True]),
        ('My memory says "the key of the hut is under the stone"', [False]),
        ("Ada said: My cat is called Tom Bombadil.\nSo it is Tom.", [True]),
        ("- Ada said: My cat is called Tom Bombadil.", [True]),
        ("Ada said: my cat has no name at all", []),
        ('My memory says "[held back] is under the barrel"', []),
        ('My memory says "the key ... is under the barrel"', []),
        ('My memory says "Tom Bombadil"', []),
        ('He wrote "the key of the hut is under the stone".', []),
        ('Your memory says "the key of the hut is under the stone".', []),
        ("My memory is bad.", []),
    ],
)
def test_what_is_quoted(argument: str, expected: list[bool]) -> None:
    assert [check.passed for check in checked(argument, SHOWN)] == expected


def test_who_was_shown_nothing_quotes_nothing() -> None:
    [check] = checked('My memory says "the key of the hut is under the barrel"', [])
    assert (check.kind, check.written, check.passed) == ("memory", "the key of the hut is under the barrel", False)


@given(st.lists(st.sampled_from(["red", "green", "blue", "door", "hut", "key"]), min_size=3, max_size=12), st.data())
def test_every_part_of_a_memory_stands(words: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(words) - 3))
    end = data.draw(st.integers(start + 3, len(words)))
    [check] = checked(f'My memory says: "{" ".join(words[start:end]).upper()}"', [" ".join(words)])
    assert check.passed


@pytest.mark.parametrize("piece", ['My memory says "', "a said: ", "My memory says that ", '"', "- "])
def test_endless_texts_end(piece: str) -> None:
    checked(piece * 30_000, SHOWN)

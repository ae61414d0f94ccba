"""BM25 by hand, and against a library."""

from __future__ import annotations

import math

import bm25s
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from personal_data.lexical import LexicalIndex, words


def test_words_are_stems_without_what_says_nothing() -> None:
    assert words("I was moving to the cities; it's Miro's") == ["move", "citi", "miro"]
    assert words("moved moves move MOVING") == ["move"] * 4
    assert words("planned planning plans plan") == ["plan"] * 4
    assert words("glass bus this is bring red") == ["glass", "bus", "bring", "red"]


def test_scores_by_hand() -> None:
    """Three documents of 2, 1 and 3 words; the average is 2."""
    index = LexicalIndex([["cat", "miro"], ["cat"], ["boat", "boat", "green"]])
    rare, common = math.log(1 + 2.5 / 1.5), math.log(1 + 1.5 / 2.5)
    scores = index.scores(["boat", "cat"])
    assert np.allclose(scores[0], common * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 1)))
    assert np.allclose(scores[1], common * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 0.5)))
    assert np.allclose(scores[2], rare * 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 1.5)))
    assert not index.scores(["oar"]).any()
    assert len(LexicalIndex().scores(["cat"])) == 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=8), min_size=2, max_size=12),
    st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=4, unique=True),
)
def test_the_library_gives_the_same(documents: list[list[str]], query: list[str]) -> None:
    library = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    library.index(documents, show_progress=False)
    known = [word for word in query if any(word in document for document in documents)]
    expected = library.get_scores(known) * 2.2 if known else np.zeros(len(documents))
    assert np.allclose(LexicalIndex(documents).scores(query), expected, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.lists(st.sampled_from("abcdef"), max_size=8), st.booleans()), max_size=12))
def test_the_others_count_for_nothing(documents: list[tuple[list[str], bool]]) -> None:
    among = np.array([counted for _, counted in documents], bool)
    found = LexicalIndex([document for document, _ in documents]).scores(["a", "c", "f"], among)
    alone = LexicalIndex([document for document, counted in documents if counted]).scores(["a", "c", "f"])
    assert np.allclose(found[among], alone) and not found[~among].any()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=8), max_size=12), st.integers(0, 12))
def test_one_by_one_is_all_at_once(documents: list[list[str]], first: int) -> None:
    grown = LexicalIndex(documents[:first])
    for document in documents[first:]:
        grown.add(document)
    query = ["a", "c", "f"]
    assert np.array_equal(grown.scores(query), LexicalIndex(documents).scores(query))

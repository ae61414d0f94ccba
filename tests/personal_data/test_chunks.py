"""Parts of a text lose nothing, are short enough, and overlap by a sentence."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from personal_data.chunks import _TOKENS, _tokens, chunks, embed
from personal_data.embedding import HashingEmbedder


def test_a_short_text_is_whole() -> None:
    assert chunks("My cat is called Miro. It sleeps.\nMuch.") == ["My cat is called Miro. It sleeps.\nMuch."]


def test_sentences_stay_whole_and_the_last_one_is_said_again() -> None:
    sentences = [f"On day {number} we sailed to the island of Utö and back." for number in range(60)]
    parts = chunks(" ".join(sentences))
    assert len(parts) > 3
    said = [[f"{one}." for one in part.rstrip(".").split(". ")] for part in parts]
    assert all(set(part) <= set(sentences) for part in said)
    assert all(before[-1] == after[0] for before, after in pairwise(said))
    assert said[0] + [one for part in said[1:] for one in part[1:]] == sentences


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=3000))
def test_parts_are_short_and_lose_no_word(text: str) -> None:
    parts = chunks(text)
    if len(parts) == 1:
        return
    assert all(0 < _tokens(part) <= _TOKENS for part in parts)
    joined = "".join("".join(parts).split())
    place = 0
    for letter in "".join(text.split()):  # in order, with what is said twice in between
        place = joined.index(letter, place) + 1


def test_vectors_of_each_text() -> None:
    embedder = HashingEmbedder()
    long = " ".join(f"Sentence number {number} is here." for number in range(100))
    short, several = embed(embedder, [("Ada", "My cat."), ("Ada", long)])
    assert np.array_equal(short, embedder.embed(["Ada: My cat."]))
    assert several.shape == (len(chunks(f"Ada: {long}")), 256)
    assert np.array_equal(several[-1], embedder.embed([chunks(f"Ada: {long}")[-1]])[0])
    assert embed(embedder, []) == []

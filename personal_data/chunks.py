"""Texts in parts that an embedder can read, and their vectors.

Doors: `chunks`, `embed`. The default embedder reads 256 tokens and would leave out what follows. A longer text is cut
where sentences end; each part begins with the last sentence of the one before, so that what is said across a border is
found. A memory of several parts has several vectors, and is as near to a question as the nearest of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

import numpy as np

from personal_data.embedding import Embedder, Vectors

_TOKENS = 230
"""As `_tokens` guesses them: some less than the embedder's 256."""
_SENTENCE = re.compile(r"(?<=[.!?…。！？])\s+|\n+")
_PIECE = re.compile(r"\w+|[^\w\s]")


def chunks(text: str) -> list[str]:
    """A text in parts, in order; one that is short enough is the only part."""
    if _tokens(text) <= _TOKENS:
        return [text]
    parts: list[str] = []
    part: list[str] = []
    size = 0
    for sentence in _sentences(text):
        length = _tokens(sentence)
        if part and size + length > _TOKENS:
            parts.append(" ".join(part))
            last = _tokens(part[-1])
            part, size = ([part[-1]], last) if last + length <= _TOKENS else ([], 0)
        part.append(sentence)
        size += length
    return [*parts, " ".join(part)]


def _sentences(text: str) -> Iterator[str]:
    """Sentences; one that is too long for a part is cut between words, a word that is, anywhere."""
    for sentence in filter(None, map(str.strip, _SENTENCE.split(text))):
        if _tokens(sentence) <= _TOKENS:
            yield sentence
            continue
        line: list[str] = []
        size = 0
        for word in sentence.split():
            for start in range(0, len(word), _TOKENS):
                bit = word[start : start + _TOKENS]
                length = _tokens(bit)
                if size + length > _TOKENS:
                    yield " ".join(line)
                    line, size = [], 0
                line.append(bit)
                size += length
        yield " ".join(line)


def _tokens(text: str) -> int:
    """About how many tokens a text has: four letters of a word each, one a letter beyond ASCII."""
    return sum(math.ceil(len(piece) / 4) if piece.isascii() else len(piece) for piece in _PIECE.findall(text))


def embed(embedder: Embedder, said: Sequence[tuple[str, str]]) -> list[Vectors]:
    """The vectors [parts, size] of each (speaker, text). Who speaks is read with the text: questions name people.

    Raises:
        BackendError: as the embedder does.
    """
    if not said:
        return []
    parts = [chunks(f"{speaker}: {text}") for speaker, text in said]
    vectors = embedder.embed([part for of_one in parts for part in of_one])
    return np.split(vectors, np.cumsum([len(of_one) for of_one in parts])[:-1])

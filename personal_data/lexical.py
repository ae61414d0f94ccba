"""BM25 over texts that come and go one by one.

Door: `LexicalIndex`. Robertson & Zaragoza 2009, "The Probabilistic Relevance Framework", eq. 3.15, with the inverse
document frequency that never goes below zero. Libraries for BM25 index a corpus once and for all; a memory that grows
by a turn would have them start again each time. Documents are numbered in the order in which they come.
"""

from __future__ import annotations

import math
import re
import threading
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import Stemmer

Scores = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_K1, _B = 1.2, 0.75
"""How soon a repeated word stops counting, and how much a long text is discounted: Lucene's values."""
_WORD = re.compile(r"\w+(?:['’]\w+)?")
_SILENT = (
    "a about after all also am an and any are as at be been before being but by can could did do does doing for from "
    "get got had has have having he her hers him his how i i'd i'll i'm i've if in into is it it's its just like me my "
    "no not of oh on one or our out over she should so some such than that that's the their them then there these they "
    "this those to too up us very was we were what when where which while who whom why will with would yes you your "
    "yours"
)
_STOPWORDS = frozenset(_SILENT.split())
_STEMMER = Stemmer.Stemmer("english")
_ONE_AT_A_TIME = threading.Lock()
"""A stemmer keeps the word that it works on."""


def words(text: str) -> list[str]:
    """The stems of a text's words, in order, without those that say nothing."""
    found = (word.replace("’", "'") for word in _WORD.findall(text.casefold()))
    return [_stem(word) for word in found if word not in _STOPWORDS]


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    """Porter's second English stemmer; words of other languages mostly pass as they are."""
    with _ONE_AT_A_TIME:
        stem: str = _STEMMER.stemWord(word)
    return stem


class LexicalIndex:
    """The postings of numbered documents."""

    def __init__(self, documents: Iterable[Sequence[str]] = ()) -> None:
        self._postings: dict[str, tuple[array[int], array[int]]] = {}
        self._lengths = array("I")
        for document in documents:
            self.add(document)

    def __len__(self) -> int:
        return len(self._lengths)

    def add(self, document: Sequence[str]) -> int:
        """Add a document's words; its number."""
        number = len(self._lengths)
        for word, count in Counter(document).items():
            if (posting := self._postings.get(word)) is None:
                posting = self._postings[word] = array("I"), array("I")
            posting[0].append(number)
            posting[1].append(count)
        self._lengths.append(len(document))
        return number

    def holding(self, query: Iterable[str]) -> set[int]:
        """The numbers of the documents that hold all of these words."""
        postings = [self._postings.get(word) for word in query]
        if not postings or any(posting is None for posting in postings):
            return set()
        return set.intersection(*(set(posting[0]) for posting in postings if posting is not None))

    def scores(self, query: Sequence[str], among: Mask | None = None) -> Scores:
        """BM25 of every document, 0 where it shares no word with the query.

        With `among` [documents] it is as if there were no others: they count for nothing, not even in how rare a word
        is, and score 0.
        """
        found = np.zeros(len(self), np.float32)
        lengths = np.array(self._lengths, np.float32)
        counted = lengths if among is None else lengths[among]
        if not counted.any():
            return found
        average = counted.mean()
        for word, weight in Counter(query).items():
            if (posting := self._postings.get(word)) is None:
                continue
            numbers, counts = np.array(posting[0], np.intp), np.array(posting[1], np.float32)
            if among is not None:
                numbers, counts = numbers[among[numbers]], counts[among[numbers]]
            saturation = counts + _K1 * (1 - _B + _B * lengths[numbers] / average)
            found[numbers] += weight * _rarity(len(numbers), len(counted)) * counts * (_K1 + 1) / saturation
        return found


def _rarity(holding: int, documents: int) -> float:
    return math.log(1 + (documents - holding + 0.5) / (holding + 0.5))

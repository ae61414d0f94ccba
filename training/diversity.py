"""How varied a set of answers is: distinct-2, the share of different ones among all pairs of neighbouring words.

An agent that answers everything alike has collapsed, whatever its reward says (the measure: Li et al. 2016, A
Diversity-Promoting Objective Function). Doors: `distinct_2`, and `equally_long` before two sets are compared; what
follows from it is for the gate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Distinct:
    """`share` of different pairs of words, None where no answer has two words; `without` is the share when each answer
    is left out in turn, from which the jackknife tells how sure the share is."""

    share: float | None
    without: tuple[float | None, ...]


def distinct_2(texts: Sequence[str]) -> Distinct:
    """Over all texts together; case does not count."""
    each = [Counter(pairwise(text.casefold().split())) for text in texts]
    every = sum(each, Counter[tuple[str, str]]())
    kinds, total = len(every), every.total()
    without = []
    for mine in each:
        only_here = sum(every[pair] == count for pair, count in mine.items())
        without.append(_share(kinds - only_here, total - mine.total()))
    return Distinct(_share(kinds, total), tuple(without))


def equally_long(*sets: Sequence[str]) -> list[list[str]]:
    """Answers to the same prompts in the same order, each cut to as many words as the shortest one to its prompt.

    The more pairs there are, the more of them repeat: shares are comparable where both are of as many pairs.
    """
    lengths = [min(len(text.split()) for text in texts) for texts in zip(*sets, strict=True)]
    return [[" ".join(text.split()[:most]) for text, most in zip(texts, lengths, strict=True)] for texts in sets]


def _share(kinds: int, total: int) -> float | None:
    return kinds / total if total else None

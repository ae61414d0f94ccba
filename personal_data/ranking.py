"""Which memories bear on a question: several rankings of all of them, fused by reciprocal ranks.

Door: `rank`. By words and by meaning, of a memory alone and of it with its neighbours in the conversation (an answer
often says only half: "Yes, next Friday!"); and, where a question names a time or a speaker, by those within. Ranks are
fused as Cormack et al. 2009 do, eq. 1, so that scores of different kinds need no common scale. Everything here is a
function of a shelf and a question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from personal_data.lexical import Mask, Scores, words
from personal_data.shelf import NOBODY, Numbers, Shelf
from personal_data.timewords import Span, spans

_RRF_K = 5
"""The paper's is 60, for rankings of which none is good; on `benchmarks/dialogues/tuned` that finds .56 among the first
five, 30 finds .60, 5 finds .70."""
_LEAST = np.float32(0.01)
"""Of a mean's squared length: vectors that cancel each other say nothing."""
DEPTH = 200
"""Places of each ranking that count."""
_WORDS_BEFORE, _WORDS_AFTER = np.float32(0.5), np.float32(0.2)
"""What the score of the memory before, and after, counts beside a memory's own."""
_BEFORE, _AFTER = np.float32(1.0), np.float32(0.5)
"""What their vectors count in the mean."""
_FADES, _HALF_LIFE_YEARS = 0.1, 2.0
"""The oldest memory loses so much of its score, half of it in so many years. Where old and new are asked for alike, as
in `benchmarks/dialogues/tuned`, that changes nothing; a tenth in one year costs .01 of recall@5."""
_HINDSIGHT_DAYS = 7.0
"""What happened is told afterwards: "last weekend we ..."."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A memory's number on the shelf, its fused score, and its place (1 = best) in each ranking that it is in."""

    number: int
    score: float
    why: Mapping[str, int]


def rank(
    shelf: Shelf, question: str, cosines: Scores | None, *, asked_at: float, allowed: Mask, k: int
) -> list[Ranked]:
    """The k memories that bear on a question most, best first.

    Args:
        cosines: [memories] of their vectors and the question's, -1 where one has none; None without the embedder.
        allowed: [memories]; what the others say, and that they are there, changes nothing in what is returned.
    """
    if not allowed.any():
        return []
    rankings = _rankings(shelf, question, cosines, allowed)
    fused = _fuse(len(shelf), rankings.values())
    for name, within in _narrower(shelf, question, asked_at, allowed).items():
        rankings[name] = _order(fused, within & allowed)
    fused = _fuse(len(shelf), rankings.values())
    if "time" not in rankings:
        fused = fused * _fresh(shelf.times, asked_at)
    best = _order(fused, allowed)[:k]
    places = {name: {number: place for place, number in enumerate(order, 1)} for name, order in rankings.items()}
    return [
        Ranked(number, float(fused[number]), {name: place[number] for name, place in places.items() if number in place})
        for number in best
    ]


def _fresh(times: npt.NDArray[np.float64], asked_at: float) -> Scores:
    """What its age leaves of a memory's score: of two that fit alike the newer comes first, and nothing fades away. The
    age of what nobody dated is not held against it."""
    years = np.nan_to_num(np.maximum(0.0, asked_at - times) / (365 * 86_400))
    found: Scores = (1 - _FADES * (1 - 0.5 ** (years / _HALF_LIFE_YEARS))).astype(np.float32)
    return found


def _rankings(shelf: Shelf, question: str, cosines: Scores | None, allowed: Mask) -> dict[str, list[int]]:
    scores: dict[str, Scores] = {"words": shelf.words.scores(words(question), allowed)}
    if cosines is not None:
        scores["meaning"] = np.where(allowed, cosines, np.float32(-1)) + np.float32(1)
    before, after = shelf.neighbours
    if (allowed & _padded(allowed)[before]).any():
        scores["words nearby"] = _with_words(scores["words"], before, after)
        if cosines is not None:
            scores["meaning nearby"] = _with_meaning(shelf, cosines, allowed) + np.float32(1)
    return {name: _order(found, allowed) for name, found in scores.items()}


def _with_words(scores: Scores, before: Numbers, after: Numbers) -> Scores:
    """A memory's score with its neighbours'; those that are not allowed have none."""
    padded = _padded(scores)
    return (scores + _WORDS_BEFORE * padded[before] + _WORDS_AFTER * padded[after]).astype(np.float32, copy=False)


def _with_meaning(shelf: Shelf, cosines: Scores, allowed: Mask) -> Scores:
    """The cosine of the question and the mean of a memory's vector and its neighbours' (those that are allowed), -1
    where it has no vector of its own.

    Of a mean of unit vectors, w_i v_i, the cosine is the sum of w_i cos_i over the mean's length, and that is the root
    of the sum of w_i w_j v_i·v_j: the shelf has these products, so no vector is read again.
    """
    before, after = shelf.neighbours
    seen = allowed & (cosines > -1)
    known, there = _padded(np.where(seen, cosines, 0)), _padded(seen)
    weight_before, weight_after = _BEFORE * there[before], _AFTER * there[after]
    kin, between = shelf.kinship
    total = known[:-1] + weight_before * known[before] + weight_after * known[after]
    square = (
        1
        + weight_before**2
        + weight_after**2
        + 2 * weight_before * kin
        + 2 * weight_after * _padded(kin)[after]
        + 2 * weight_before * weight_after * between
    )
    found: Scores = np.where(seen, total / np.sqrt(np.maximum(square, _LEAST)), np.float32(-1))
    return found


def _padded(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """With a zero at the place of NOBODY, which is the last."""
    assert NOBODY == -1
    return np.append(values, values.dtype.type(0))


def _narrower(shelf: Shelf, question: str, asked_at: float, allowed: Mask) -> dict[str, Mask]:
    """Those within the times, and of the only speaker, that a question names."""
    found: dict[str, Mask] = {}
    if named := spans(question, asked_at):
        found["time"] = _happened(shelf.times, named)
    asked, speakers = set(words(question)), shelf.speakers(allowed)
    if len(who := [speaker for speaker in speakers if set(words(speaker)) & asked]) == 1 < len(speakers):
        found["speaker"] = shelf.said_by(who[0])
    return found


def _happened(times: npt.NDArray[np.float64], named: Sequence[Span]) -> Mask:
    """Which of these times lie within a span, or so soon after it that it may be told."""
    within = np.zeros(len(times), bool)
    for span in named:
        within |= (times >= span.start) & (times < span.end + _HINDSIGHT_DAYS * 86_400)
    return within


def _order(scores: Scores, among: Mask) -> list[int]:
    """The best of those with a score above zero, best first; equals in the order of their numbers."""
    candidates = np.flatnonzero(among & (scores > 0))
    if len(candidates) > DEPTH:
        candidates = candidates[np.argpartition(-scores[candidates], DEPTH - 1)[:DEPTH]]
        candidates.sort()
    order: list[int] = candidates[np.argsort(-scores[candidates], kind="stable")].tolist()
    return order


def fused_share(place: int) -> float:
    """What a place, 1 the best, in one more ranking adds to a fused score."""
    return 1 / (_RRF_K + place)


def _fuse(size: int, rankings: Iterable[list[int]]) -> Scores:
    fused = np.zeros(size, np.float32)
    for order in rankings:
        fused[order] += 1 / (_RRF_K + np.arange(1, len(order) + 1, dtype=np.float32))
    return fused

"""What a challenger earns for a question, by how often the solver gets it right: R-Zero, Absolute Zero, SPICE.

Pure functions of the pass rate p, the share of sampled answers that are right (R-Zero, which knows no truth: that equal
the majority's). None of them asks a model. All but Absolute Zero's are highest at p = 1/2, where the variance p (1 - p)
of a right answer is: there a solver has most to learn. Doors: `r_zero`, `absolute_zero`, `spice`, `learnability`.

Each has `variant`: the paper's formula, which is the default, or what its authors' code computes. `PROPOSERS` are these
rewards by name, of fair questions: what a question earns decides how often it is practised.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

Form = Literal["valid", "invalid", "malformed"]
"""Of a proposal: a task; well formed, but none (its program does not run); not of the form that was asked for."""

_NO_QUESTION = -1.0
_INVALID, _MALFORMED = -0.5, -1.0
_UNGROUNDED = -0.1
_PEAK = 0.25
"""The variance p (1 - p) at p = 1/2."""
_LONGEST_GRAM = 4
_SMOOTHING = 0.1


def learnability(rate: float) -> float:
    """p (1 - p): the variance of one answer's reward, 0 to 1/4."""
    return _checked(rate) * (1.0 - rate)


def r_zero(
    questions: Sequence[str | None],
    rates: Sequence[float | None],
    *,
    variant: Literal["paper", "code"] = "paper",
    threshold: float = 0.5,
) -> list[float]:
    """R-Zero's reward of each question of a batch (Huang et al. 2025, 2508.05004, section 3.2).

    The paper: max(0, 1 - 2 |p - 1/2| - s), where s is the share of the batch that lies in the question's cluster. The
    code: min(p, 1 - p) - s, without a floor, which weighs difficulty half as much against sameness. What is no question
    gets -1 in both, below every question.

    Args:
        questions: None where the challenger wrote none.
        rates: each question's pass rate; None where there is no question.
        threshold: how far apart clusters must be on average, in 1 - BLEU.

    Raises:
        ValueError: a question without a rate, or a rate outside of 0..1.
    """
    shares = iter(cluster_shares([one for one in questions if one is not None], of=len(questions), threshold=threshold))
    found: list[float] = []
    for question, rate in zip(questions, rates, strict=True):
        if question is None:
            found.append(_NO_QUESTION)
            continue
        if rate is None:
            raise ValueError(f"no pass rate for the question {question!r}")
        share = next(shares)
        found.append(_tent(rate) / 2 - share if variant == "code" else max(0.0, _tent(rate) - share))
    return found


def absolute_zero(rate: float, form: Form = "valid", *, variant: Literal["paper", "code"] = "paper") -> float:
    """Absolute Zero's reward of a proposed task (Zhao et al. 2025, 2505.03335, equations 4 and 6).

    1 - p where it is solved at times; 0 where it is always or never solved, which the code makes -1/2. A proposal that
    is well formed but no valid task gets -1/2, a malformed one -1; `rate` does not count then.

    Raises:
        ValueError: a rate outside of 0..1.
    """
    if form != "valid":
        return _INVALID if form == "invalid" else _MALFORMED
    if 0.0 < _checked(rate) < 1.0:
        return 1.0 - rate
    return _INVALID if variant == "code" else 0.0


def spice(rate: float, valid: bool = True, *, variant: Literal["paper", "mini"] = "paper") -> float:
    """SPICE's reward of a question that a challenger drew from a document (Liu et al. 2025, 2510.24684).

    exp(-(p (1 - p) - 1/4)^2 / (2 * 0.01)); the `mini` variant, of a small reimplementation, is
    exp(-(p - 1/2)^2 / (2 * 0.15^2)), which falls much sooner. -0.1 for what is no valid question; `rate` does not count
    then.

    Raises:
        ValueError: a rate outside of 0..1.
    """
    if not valid:
        return _UNGROUNDED
    if variant == "mini":
        return math.exp(-((_checked(rate) - 0.5) ** 2) / (2 * 0.15**2))
    return math.exp(-((learnability(rate) - _PEAK) ** 2) / (2 * 0.01))


PROPOSERS: Mapping[str, Callable[[Sequence[str], Sequence[float]], list[float]]] = {
    "spice": lambda _questions, rates: [spice(rate) for rate in rates],
    "r_zero": lambda questions, rates: r_zero(questions, rates),
    "absolute_zero": lambda _questions, rates: [absolute_zero(rate) for rate in rates],
}
"""Of a batch of questions and their pass rates."""


def _tent(rate: float) -> float:
    return 1.0 - 2.0 * abs(_checked(rate) - 0.5)


def _checked(rate: float) -> float:
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"a pass rate lies within 0..1, not at {rate}")
    return rate


def cluster_shares(questions: Sequence[str], *, of: int | None = None, threshold: float = 0.5) -> list[float]:
    """The share of a batch that lies in each question's cluster, itself included; distances are 1 - BLEU.

    Args:
        of: the size of the batch; None is all of `questions`.
    """
    apart = np.zeros((len(questions), len(questions)))
    for earlier, later in combinations(range(len(questions)), 2):
        apart[earlier, later] = apart[later, earlier] = 1.0 - bleu(questions[earlier], questions[later])
    sizes = {place: len(cluster) for cluster in average_linkage(apart, threshold) for place in cluster}
    return [sizes[place] / (of or len(questions)) for place in range(len(questions))]


def average_linkage(apart: npt.NDArray[np.float64], threshold: float) -> list[list[int]]:
    """Agglomerative clustering: the two nearest clusters become one until all are `threshold` apart, on average.

    Args:
        apart: distances [n, n], symmetric.
    """
    apart = apart.copy()
    np.fill_diagonal(apart, np.inf)
    members = [[place] for place in range(len(apart))]
    while len(members) > 1:
        first, second = divmod(int(apart.argmin()), len(apart))
        if apart[first, second] >= threshold:
            break
        weights = [len(members[first]), len(members[second])]
        apart[first] = apart[:, first] = np.average(apart[[first, second]], axis=0, weights=weights)
        apart[first, first] = np.inf
        apart = np.delete(np.delete(apart, second, 0), second, 1)
        members[first] += members.pop(second)
    return members


def bleu(candidate: str, reference: str) -> float:
    """Sentence BLEU-4 of words as blanks divide them (Papineni et al. 2002), 0 to 1.

    A precision of 0 counts as 0.1 over its n-grams (Chen & Cherry 2014, the first smoothing). It finds no likeness
    between equal texts of less than four words; here equal texts are equal, 1.
    """
    if candidate == reference:
        return 1.0
    said, known = candidate.split(), reference.split()
    if not set(said) & set(known):
        return 0.0
    logs = [math.log(_precision(said, known, size)) for size in range(1, _LONGEST_GRAM + 1)]
    brevity = min(0.0, 1.0 - len(known) / len(said))
    return math.exp(brevity + sum(logs) / _LONGEST_GRAM)


def _precision(said: Sequence[str], known: Sequence[str], size: int) -> float:
    """The share of n-grams said that are known, each counted as often as it is known."""
    shared = sum((_grams(said, size) & _grams(known, size)).values())
    return (shared or _SMOOTHING) / max(1, len(said) - size + 1)


def _grams(words: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[at : at + size]) for at in range(len(words) - size + 1))

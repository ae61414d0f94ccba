"""Choosing from rankings: Borda for the quality of free texts, Schulze for questions of opinion (3.8).

A ballot ranks candidates best first and may leave some out; of those it has no opinion. Candidates should be shown to
each judge in another order, and nobody ranks what is its own. Doors: `borda`, `schulze`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from personal_data.errors import InvalidInput
from society.aggregation.ballot import lot
from society.aggregation.table import Booleans, Integers

Rankings = Mapping[str, Sequence[str]]
"""Judge to candidates, best first."""


@dataclass(frozen=True, slots=True)
class Borda:
    """`points`: mean points a ballot, None for a candidate that nobody could compare. `order`: most points first; those
    without any come last. `ties`: groups with equal points, whose order is a lot."""

    points: Mapping[str, float | None]
    order: tuple[str, ...]
    ties: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Schulze:
    """`order`: best first. `condorcet`: who is preferred to each other one in a direct comparison, if anybody.
    `ties`: pairs that the method does not order, whose order here is by how many others each beats, then by lot.
    `preferences`: (a, b) to how many ballots prefer a to b."""

    order: tuple[str, ...]
    condorcet: str | None
    ties: tuple[tuple[str, str], ...]
    preferences: Mapping[tuple[str, str], int]


def borda(
    rankings: Rankings,
    *,
    seed: int,
    own: Mapping[str, Collection[str]] | None = None,
    trust: Mapping[str, float] | None = None,
) -> Borda:
    """Mean points a ballot, the last of m getting 0 and the first m - 1, each judge's `own` candidates left out.

    A ballot that ranks fewer than m is stretched to the same range, so that leaving candidates out gives the others
    neither more nor less. `trust` weighs ballots (1 each without it). Raises InvalidInput for a candidate ranked twice.
    """
    candidates = _candidates(rankings)
    points: dict[str, list[tuple[float, float]]] = {candidate: [] for candidate in candidates}
    for judge, ranking in sorted(rankings.items()):
        ranked = [candidate for candidate in ranking if candidate not in (own or {}).get(judge, ())]
        weight = 1.0 if trust is None else trust.get(judge, 0.0)
        for place, candidate in enumerate(ranked):
            if len(ranked) > 1 and weight > 0:
                share = (len(ranked) - 1 - place) / (len(ranked) - 1)
                points[candidate].append((weight, share * (len(candidates) - 1)))
    means = {candidate: _mean(given) for candidate, given in points.items()}
    level = {candidate: -1.0 if mean is None else round(mean, 9) for candidate, mean in means.items()}
    order = tuple(sorted(candidates, key=lambda candidate: (-level[candidate], lot(seed, candidate))))
    groups = [tuple(c for c in order if level[c] == value) for value in sorted(set(level.values()), reverse=True)]
    return Borda(means, order, tuple(group for group in groups if len(group) > 1))


def schulze(rankings: Rankings, *, seed: int, own: Mapping[str, Collection[str]] | None = None) -> Schulze:
    """Schulze's beat-path order with winning votes; a candidate beats another if its strongest path there is stronger.

    Raises InvalidInput for a candidate ranked twice by one judge.
    """
    candidates = _candidates(rankings)
    prefers = np.zeros((len(candidates), len(candidates)), dtype=np.int64)
    place = {candidate: index for index, candidate in enumerate(candidates)}
    for judge, ranking in rankings.items():
        ranked = [place[candidate] for candidate in ranking if candidate not in (own or {}).get(judge, ())]
        for above, better in enumerate(ranked):
            prefers[better, ranked[above + 1 :]] += 1
    beats = _beats(prefers)
    wins = beats.sum(axis=1)
    order = sorted(range(len(candidates)), key=lambda index: (-wins[index], lot(seed, candidates[index])))
    undecided = [(a, b) for position, a in enumerate(order) for b in order[position + 1 :] if not beats[a, b]]
    direct = [index for index in order if all(prefers[index, b] > prefers[b, index] for b in order if b != index)]
    return Schulze(
        order=tuple(candidates[index] for index in order),
        condorcet=candidates[direct[0]] if direct else None,
        ties=tuple((candidates[a], candidates[b]) for a, b in undecided),
        preferences={(candidates[a], candidates[b]): int(prefers[a, b]) for a in order for b in order if a != b},
    )


def _candidates(rankings: Rankings) -> tuple[str, ...]:
    for judge, ranking in rankings.items():
        if len(set(ranking)) != len(ranking):
            raise InvalidInput(f"{judge} ranks a candidate twice", param="rankings")
    return tuple(sorted({candidate for ranking in rankings.values() for candidate in ranking}))


def _mean(given: Sequence[tuple[float, float]]) -> float | None:
    weight = math.fsum(weight for weight, _ in given)
    return math.fsum(weight * points for weight, points in given) / weight if weight > 0 else None


def _beats(prefers: Integers) -> Booleans:
    """(m, m) Whether the strongest path from one to the other is stronger than any way back (Floyd and Warshall)."""
    strength = np.where(prefers > prefers.T, prefers, 0)
    for via in range(len(strength)):
        strength = np.maximum(strength, np.minimum(strength[:, via, None], strength[None, via, :]))
    beats: Booleans = strength > strength.T
    return beats

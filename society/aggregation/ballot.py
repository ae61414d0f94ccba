"""What a rule is given and what it gives back: `Ballot`, `Resolved`, `Posterior`. Hostile numbers stop here.

A member that abstained has the vote None; a member that was not asked, or failed, has no entry. The two differ: an
abstention counts against being chosen as best member, an absence does not. Neither is ever a vote.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from personal_data.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Reviews:
    """What cross-examination said of one answer: how many reviewers verified it, how many refuted it."""

    verified: int = 0
    refuted: int = 0


@dataclass(frozen=True, slots=True)
class Ballot:
    """One question's votes. Keys are canonical answers (`society.canonical.answer_key`).

    `confidences`: what members say of their own answers, 0 to 1; leaving one out is allowed. `options`: how many
    answers a closed question has, None for an open one. `ruled_out`: answers that a passed executable check refuted;
    votes for them count for nothing, whatever their number (6.2.8). Raises InvalidInput for what is no probability or
    no count.
    """

    votes: Mapping[str, str | None]
    confidences: Mapping[str, float] = field(default_factory=dict)
    topic: str | None = None
    options: int | None = None
    reviews: Mapping[str, Reviews] = field(default_factory=dict)
    ruled_out: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if "" in self.votes.values():
            raise InvalidInput("an empty answer key says nothing: give None for an abstention", param="votes")
        if self.options is not None and self.options < 2:
            raise InvalidInput(f"a closed question has 2 options or more, not {self.options}", param="options")
        for member, confidence in self.confidences.items():
            check_probability(confidence, f"the confidence of {member}", param="confidences")
        for key, reviews in self.reviews.items():
            if reviews.verified < 0 or reviews.refuted < 0:
                raise InvalidInput(f"a count of reviews of {key!r} is below 0", param="reviews")

    def standing(self) -> dict[str, str]:
        """Member to answer, of those whose answer is not ruled out; members and so all sums in one fixed order."""
        votes = sorted(self.votes.items())
        return {member: key for member, key in votes if key is not None and key not in self.ruled_out}

    def supporters(self) -> dict[str, tuple[str, ...]]:
        """Each standing answer, in the order of keys, with its members."""
        groups: dict[str, list[str]] = {}
        for member, key in self.standing().items():
            groups.setdefault(key, []).append(member)
        return {key: tuple(groups[key]) for key in sorted(groups)}


@dataclass(frozen=True, slots=True)
class Resolved:
    """A question whose outcome is known. `right` is the right key, or None: no answer that was given is right."""

    ballot: Ballot
    right: str | None


@dataclass(frozen=True, slots=True)
class Posterior:
    """What a rule believes. `probabilities` holds the answers given, the choice first, and with `none` sums to 1.

    `none` is the mass of "none of these". `choice` None: nobody gave an answer; then `none` is 1. `tie` says how the
    first place was decided where the rule alone did not decide it.
    """

    probabilities: Mapping[str, float]
    none: float
    choice: str | None
    rule: str
    tie: str | None = None

    @property
    def confidence(self) -> float | None:
        """The probability of the choice; None without one."""
        return None if self.choice is None else self.probabilities[self.choice]


def check_probability(value: float, what: str, *, param: str) -> None:
    """Raise InvalidInput unless `value` is a number from 0 to 1; NaN is none."""
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise InvalidInput(f"{what} must be a number from 0 to 1, not {value}", param=param)


def silence(rule: str) -> Posterior:
    """What every rule says when nobody gave an answer that stands."""
    return Posterior({}, 1.0, None, rule)


def ranked(
    scores: Mapping[str, float],
    probabilities: Mapping[str, float],
    rule: str,
    *,
    trust: Mapping[str, float] | None,
    seed: int,
) -> Posterior:
    """The posterior in the order score, then summed trust of the supporters, then lot (3.1: deterministic, recorded).

    `scores` and `trust` hold a number an answer. Scores closer than 1e-9 are equal: sums of one set of weights in
    different groupings must not decide.
    """
    trust = trust or {}
    order = sorted(scores, key=lambda key: (-_level(scores[key]), -_level(trust.get(key, 0.0)), lot(seed, key)))
    return Posterior(
        probabilities={key: probabilities[key] for key in order},
        none=max(0.0, 1.0 - math.fsum(probabilities.values())),
        choice=order[0],
        rule=rule,
        tie=_tie(order, scores, trust),
    )


def lot(seed: int, key: str) -> bytes:
    """An answer's place in the draw: a hash of the debate's seed and the key, the same again on every run."""
    return hashlib.sha256(f"{seed}:{key}".encode()).digest()


def _level(value: float) -> float:
    return round(value, 9)


def _tie(order: Sequence[str], scores: Mapping[str, float], trust: Mapping[str, float]) -> str | None:
    equal = [key for key in order if _level(scores[key]) == _level(scores[order[0]])]
    if len(equal) == 1:
        return None
    trusted = [key for key in equal if _level(trust.get(key, 0.0)) == _level(trust.get(order[0], 0.0))]
    if len(trusted) == 1:
        return f"tie of {len(equal)} answers, given to the one whose supporters are trusted more"
    return f"tie of {len(equal)} answers, drawn by lot from the debate's seed"

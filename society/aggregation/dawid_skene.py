"""Who is reliable when nobody knows what was right: Dawid and Skene's expectation maximisation (3.6).

A bootstrap only. It takes agreement for truth, so a shared bias inverts it; never trust it below 5 lineages. Doors:
`one_coin` (one reliability a member), `full` (a confusion matrix a member) and `open_coin` (open answers).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from personal_data.errors import InvalidInput
from society.aggregation.ballot import Ballot, Resolved
from society.aggregation.options import none_mass, wrong_choices
from society.aggregation.table import Floats, by_question, softmax, tabulate

TOLERANCE = 1e-10
"""Converged: no probability of an item moved by more."""


_IMPOSSIBLE = -1e200


@dataclass(frozen=True, slots=True)
class Estimate:
    """`probabilities`: one mapping an item, option to P(it is right). `reliability`: P(right) of each member that
    answered anything, as the share of its answers that are believed. `confusion` (full only): member to (K, K), the
    rows what is right, the columns what it says, in the order of `options`."""

    options: tuple[str, ...]
    probabilities: tuple[Mapping[str, float], ...]
    reliability: Mapping[str, float]
    confusion: Mapping[str, Floats] | None
    steps: int
    converged: bool


def one_coin(
    items: Sequence[Mapping[str, str | None]], options: Sequence[str], *, steps: int = 100, smoothing: float = 1.0
) -> Estimate:
    """T_q(c) ~ prod_i [p_i if a_i = c else (1 - p_i) / (K - 1)], p_i = mean_q T_q(a_i), from vote shares on.

    `items`: member to label (None: abstained). `steps`: at most so many iterations. `smoothing` a adds a right and a
    wrong answers to each member; 0 gives the estimate of the paper. Raises InvalidInput for a label that is no option.
    """
    labels = _Labels(items, options)
    belief = labels.shares()
    moved, done = np.inf, 0
    while moved > TOLERANCE and done < steps:
        p = labels.reliability(belief, smoothing)
        wrong = (1 - p) / (len(options) - 1)
        evidence = np.where(labels.said > 0, _log(p)[:, None, None], _log(wrong)[:, None, None])
        moved, belief, done = *_update(belief, (evidence * labels.spoke[:, :, None]).sum(axis=0)), done + 1
    return labels.estimate(belief, labels.reliability(belief, smoothing), None, done, moved)


def full(
    items: Sequence[Mapping[str, str | None]], options: Sequence[str], *, steps: int = 100, smoothing: float = 1.0
) -> Estimate:
    """A confusion matrix a member and learned class shares; arguments as in `one_coin`, smoothing a count a cell."""
    labels = _Labels(items, options)
    belief = labels.shares()
    moved, done = np.inf, 0
    confusion = labels.confusion(belief, smoothing)
    while moved > TOLERANCE and done < steps:
        confusion = labels.confusion(belief, smoothing)
        share = (belief.sum(axis=0) + smoothing) / (len(belief) + smoothing * len(options))
        evidence = np.einsum("mqs,mrs->qr", labels.said, _log(confusion)) + _log(share)
        moved, belief, done = *_update(belief, evidence), done + 1
    named = dict(zip(labels.members, confusion, strict=True))
    return labels.estimate(belief, labels.reliability(belief, smoothing), named, done, moved)


def open_coin(
    ballots: Sequence[Ballot], *, k_eff: float = 3.0, steps: int = 100, smoothing: float = 1.0
) -> dict[str, float]:
    """P(right) of each member that answered, from open answers: the one coin with none of these as an option.

    `k_eff`: how many answers a question has (`options.effective_options`; its value without evidence by default).
    """
    table = tabulate([Resolved(ballot, None) for ballot in ballots], {})
    votes = table.votes.sum(axis=1)
    belief = votes / by_question(table, votes)[table.question]
    answered = table.votes.sum(axis=0)
    weight = np.maximum(answered + 2 * smoothing, 1e-12)  # whoever answered nothing weighs nothing
    none, wrong = none_mass(table, k_eff), wrong_choices(table, k_eff)
    for _ in range(steps):
        p = np.clip((table.votes.T @ belief + smoothing) / weight, 1e-9, 1 - 1e-9)  # one vote never settles all
        score = table.votes @ (np.log(p) - np.log1p(-p)) + votes * wrong[table.question]
        before, belief = belief, softmax(table, score, none).probability
        if np.abs(belief - before).max(initial=0.0) <= TOLERANCE:
            break
    p = (table.votes.T @ belief + smoothing) / weight
    return {member: float(p[place]) for place, member in enumerate(table.members) if answered[place] > 0}


class _Labels:
    """The answers as arrays: `said` (M, Q, K), `spoke` (M, Q)."""

    def __init__(self, items: Sequence[Mapping[str, str | None]], options: Sequence[str]) -> None:
        self.options = tuple(options)
        if len(set(options)) != len(options) or len(options) < 2:
            raise InvalidInput("Dawid-Skene needs 2 or more different options", param="options")
        place = {option: index for index, option in enumerate(options)}
        given = [
            (q, member, label) for q, item in enumerate(items) for member, label in item.items() if label is not None
        ]
        strangers = sorted({label for _, _, label in given} - set(options))
        if strangers:
            raise InvalidInput(f"the label {strangers[0]!r} is none of the options", param="items")
        self.members = tuple(sorted({member for _, member, _ in given}))
        column = {member: index for index, member in enumerate(self.members)}
        self.said = np.zeros((len(self.members), len(items), len(options)))
        for q, member, label in given:
            self.said[column[member], q, place[label]] = 1
        self.spoke: Floats = self.said.sum(axis=2)

    def shares(self) -> Floats:
        """(Q, K) Vote shares; equal ones where nobody answered."""
        votes = self.said.sum(axis=0)
        total = votes.sum(axis=1, keepdims=True)
        shares: Floats = np.where(total > 0, votes / np.maximum(total, 1), 1 / len(self.options))
        return shares

    def reliability(self, belief: Floats, smoothing: float) -> Floats:
        believed = np.einsum("mqk,qk->m", self.said, belief)
        estimate: Floats = (believed + smoothing) / (self.spoke.sum(axis=1) + 2 * smoothing)
        return estimate

    def confusion(self, belief: Floats, smoothing: float) -> Floats:
        """(M, K, K) P(a member says s | r is right); even where r was never believed of anything it answered."""
        counts = np.einsum("mqs,qr->mrs", self.said, belief) + smoothing
        total = counts.sum(axis=2, keepdims=True)
        matrix: Floats = np.where(total > 0, counts / np.where(total > 0, total, 1), 1 / len(self.options))
        return matrix

    def estimate(
        self, belief: Floats, reliability: Floats, confusion: Mapping[str, Floats] | None, steps: int, moved: float
    ) -> Estimate:
        return Estimate(
            options=self.options,
            probabilities=tuple(dict(zip(self.options, row, strict=True)) for row in belief.tolist()),
            reliability=dict(zip(self.members, reliability.tolist(), strict=True)),
            confusion=confusion,
            steps=steps,
            converged=moved <= TOLERANCE,
        )


def _log(probability: Floats) -> Floats:
    """ln, with a finite number for impossible: items on which everything is impossible keep a belief."""
    with np.errstate(divide="ignore"):
        return np.nan_to_num(np.log(probability), neginf=_IMPOSSIBLE)


def _update(belief: Floats, evidence: Floats) -> tuple[float, Floats]:
    """How far the beliefs moved, and the new ones, from log evidence (Q, K)."""
    weight = np.exp(evidence - evidence.max(axis=1, keepdims=True))
    new: Floats = weight / weight.sum(axis=1, keepdims=True)
    return float(np.abs(new - belief).max(initial=0.0)), new

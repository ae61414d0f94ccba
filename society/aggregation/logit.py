"""Conditional-logit stacking, the default rule once there is a history (3.7): learned weights that see through clones.

P(c) = exp(s_c) / sum over the answers given and "none of these"; s_c = sum over c's supporters of w_{i,t} g(conf_i),
plus what the reviewers said of c. "None of these" scores ln(K - |C|) plus a learned constant, so a question on which
nobody was right is evidence too. Door: `Logit.fit`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from society.aggregation.log_odds import LINEAGE_CAP
from society.aggregation.newton import Choices, maximise
from society.aggregation.options import effective_options, none_mass
from society.aggregation.reconcile import recalibrated
from society.aggregation.record import NEWCOMER, Record
from society.aggregation.table import Beliefs, Booleans, Floats, Integers, Table, by_question, capped, softmax

RIDGE = 2.0
TOPIC_RIDGE = 30.0
PRIOR_SHARE = 0.3
"""lambda, lambda_t and the share of the log-odds weight that is believed beforehand (3.7); chosen there, not tuned."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What one vote of each member adds to an answer's score, one verdict of a reviewer, and to none of these."""

    members: Mapping[str, float]
    verified: float = 0.0
    refuted: float = 0.0
    none: float = 0.0


@dataclass(frozen=True, slots=True)
class Logit:
    """The fitted rule: weights over all topics and by topic, all plain numbers.

    `newcomer`: the weight of a member that the history does not know; newcomers of one lineage weigh as at most two of
    them. `converged` False: some fit stopped short of the maximum, and the fallback should be used.
    """

    overall: Weights
    topical: Mapping[str, Weights]
    k_eff: float
    newcomer: float
    converged: bool
    strength: str = "ignored"
    name: ClassVar[str] = "conditional logit"

    @classmethod
    def fit(
        cls,
        table: Table,
        *,
        ridge: float = RIDGE,
        topic_ridge: float = TOPIC_RIDGE,
        none_constant: bool = True,
        strength: str = "ignored",
    ) -> Logit:
        """L2-regularised maximum likelihood. Prior mean of a member's weight: 0.3 (logit p + ln(K_eff - 1)), where
        those of one lineage share as much as two of them would have; of everything else 0. `strength` names g, a key
        of STRENGTHS; raises KeyError for another.

        A topic's weights have the overall ones as prior mean. A topic that is the whole history gets none of its own:
        the same answers are not counted twice.
        """
        k_eff, record = effective_options(table), Record.of(table)
        prior = np.concatenate([_prior(table, record, k_eff), np.zeros(3)])
        choices = _choices(table, k_eff, strength)
        fixed = np.array([0.0, 0.0, 0.0 if none_constant else np.inf])
        penalty = np.concatenate([np.full(len(table.members), ridge), ridge + fixed])
        overall = maximise(choices.of(np.arange(table.questions)), prior=prior, ridge=penalty)
        topics = _topics(table)
        penalty = np.concatenate([np.full(len(table.members), topic_ridge), topic_ridge + fixed])
        topical = {
            topic: maximise(choices.of(questions), prior=overall.weights, ridge=penalty)
            for topic, questions in topics.items()
        }
        return cls(
            overall=_named(table, overall.weights),
            topical={topic: _named(table, fit.weights) for topic, fit in topical.items()},
            k_eff=k_eff,
            newcomer=PRIOR_SHARE * float(np.log(NEWCOMER / (1 - NEWCOMER)) + np.log(k_eff - 1)),
            converged=all(fit.converged for fit in [overall, *topical.values()]),
            strength=strength,
        )

    def beliefs(self, table: Table) -> Beliefs:
        weights = np.stack([self._columns(table, self._weights(topic)) for topic in [*table.topics, None]])
        weight = weights[table.topic]  # NO_TOPIC, -1, finds the last one
        members = weight[:, :-3] * self._newcomers(table)
        design = table.votes * _strength(table, self.strength)[table.question]
        score = np.einsum("nm,nm->n", design, members[table.question])
        score = score + np.einsum("nk,nk->n", table.reviews, weight[table.question, -3:-1])
        return softmax(table, score, none_mass(table, self.k_eff) + weight[:, -1])

    def _weights(self, topic: str | None) -> Weights:
        return self.overall if topic is None else self.topical.get(topic, self.overall)

    def _columns(self, table: Table, weights: Weights) -> Floats:
        members = table.by_member(weights.members, self.newcomer)
        return np.concatenate([members, [weights.verified, weights.refuted, weights.none]])

    def _newcomers(self, table: Table) -> Floats:
        """(Q, M) 1 for members that were learned; the others of a lineage share the cap, however many come."""
        new = np.array([member not in self.overall.members for member in table.members])
        return capped(table, LINEAGE_CAP, new)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Answers and "none of these" as alternatives, in the order of questions; `of` takes those that teach something."""

    design: Floats
    offset: Floats
    question: Integers
    right: Booleans
    teaches: Booleans

    def of(self, questions: Integers) -> Choices:
        wanted = np.zeros(len(self.teaches), dtype=np.bool_)
        wanted[questions] = self.teaches[questions]
        rows = np.flatnonzero(wanted[self.question])
        group: Integers = np.cumsum(np.diff(self.question[rows], prepend=self.question[rows[:1]]) > 0, dtype=np.int64)
        return Choices(self.design[rows], self.offset[rows], group, self.right[rows])


def _choices(table: Table, k_eff: float, strength: str) -> _Rows:
    mass = none_mass(table, k_eff)
    open_ = np.flatnonzero(np.isfinite(mass) & (table.answers > 0))
    width = len(table.members)
    answers = np.hstack([table.votes * _strength(table, strength)[table.question], table.reviews])
    design = np.zeros((len(answers) + len(open_), width + 3))
    design[: len(answers), : width + 2] = answers
    design[len(answers) :, -1] = 1
    named = by_question(table, table.right.astype(np.float64)) > 0
    question = np.concatenate([table.question, open_])
    right = np.concatenate([table.right, ~named[open_]])
    order = np.argsort(question, kind="stable")
    teaches = np.zeros(table.questions, dtype=np.bool_)
    teaches[question[right]] = True
    offset = np.concatenate([np.zeros(len(answers)), mass[open_]])
    return _Rows(design[order], offset[order], question[order], right[order], teaches)


def _prior(table: Table, record: Record, k_eff: float) -> Floats:
    """(M,) 0.3 of the log-odds weight; members of one lineage share that of two (only those that ever answered)."""
    p = table.by_member(record.right, NEWCOMER)
    spoke = by_question(table, table.votes).any(axis=0)
    seats = np.bincount(table.lineage[spoke], minlength=len(table.lineages))
    share = np.minimum(1.0, LINEAGE_CAP / np.maximum(seats[table.lineage], 1))
    prior: Floats = PRIOR_SHARE * share * (np.log(p) - np.log1p(-p) + np.log(k_eff - 1))
    return prior


def _topics(table: Table) -> dict[str, Integers]:
    questions = {topic: np.flatnonzero(table.topic == index) for index, topic in enumerate(table.topics)}
    return {topic: inside for topic, inside in questions.items() if 0 < len(inside) < table.questions}


def _named(table: Table, weights: Floats) -> Weights:
    members = {member: float(weights[place]) for place, member in enumerate(table.members)}
    return Weights(members, *(float(weight) for weight in weights[-3:]))


def _strength(table: Table, name: str) -> Floats:
    """(Q, M) g(conf); 1 for a member that stated no confidence."""
    return np.where(np.isnan(table.confidence), 1.0, STRENGTHS[name](table.confidence))


STRENGTHS: dict[str, Callable[[Floats], Floats]] = {
    "ignored": np.ones_like,  # what members say of themselves has to prove itself first (6.10)
    "stated": lambda confidence: 2 * confidence,  # "half sure" counts as a plain vote
    "recalibrated": lambda confidence: np.vectorize(recalibrated, otypes=[float])(np.nan_to_num(confidence)),
}
"""g of 3.7: how much a vote counts, by the confidence (0 to 1) that came with it."""

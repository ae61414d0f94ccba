"""Votes weighed by how often each member was right: log-odds, and its limit of listening to the best member alone.

Optimal while members err independently (Nitzan and Paroush); clones break it, hence the cap on what a lineage weighs.
Doors: `LogOdds.fit` and `BestMember.fit` on a history, `weighted` for probabilities that are known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from personal_data.errors import InvalidInput
from society.aggregation.ballot import Ballot, Posterior, ranked, silence
from society.aggregation.options import effective_options, none_mass, wrong_choices
from society.aggregation.record import NEWCOMER, Record
from society.aggregation.table import Beliefs, Floats, Table, capped, one, softmax

LINEAGE_CAP = 2.0
"""Voters of one lineage weigh as at most this many of them (6.2.2, DESIGN section 6)."""


@dataclass(frozen=True, slots=True)
class LogOdds:
    """score(c) = sum over c's supporters of ln((K - 1) p / (1 - p)), in the question's topic; ln(K - |C|) for none of
    these (3.3). Supporters of one lineage count as at most `cap` of them."""

    record: Record
    k_eff: float
    cap: float = LINEAGE_CAP
    name: ClassVar[str] = "log-odds"

    @classmethod
    def fit(cls, table: Table) -> LogOdds:
        return cls(Record.of(table), effective_options(table))

    def beliefs(self, table: Table) -> Beliefs:
        weight = _weights(self.record, self.k_eff, table) * capped(table, self.cap)
        score = np.einsum("nm,nm->n", table.votes, weight[table.question])
        return softmax(table, score, none_mass(table, self.k_eff))


@dataclass(frozen=True, slots=True)
class BestMember:
    """The answer of the member that was most useful so far, of the next best where it gave none.

    Its belief is the log-odds of that one vote, so an answer is as probable as its member is reliable.
    """

    record: Record
    k_eff: float
    name: ClassVar[str] = "best member"

    @classmethod
    def fit(cls, table: Table) -> BestMember:
        return cls(Record.of(table), effective_options(table))

    def beliefs(self, table: Table) -> Beliefs:
        standing = np.zeros((table.questions, len(table.members)))
        np.add.at(standing, table.question, table.votes)
        # Members lie sorted by id, so argmax gives equally useful ones a fixed order. A newcomer is the last resort.
        useful = np.where(standing > 0, table.by_member(self.record.useful, 0.0), -1.0)
        best = useful.argmax(axis=1) if useful.size else np.zeros(table.questions, dtype=np.int64)
        listened = table.votes[np.arange(len(table.votes)), best[table.question]] > 0
        weight = _weights(self.record, self.k_eff, table)[table.question, best[table.question]]
        believed = softmax(table, np.where(listened, weight, 0.0), none_mass(table, self.k_eff))
        return Beliefs(listened.astype(np.float64), believed.probability, believed.none)


def weighted(
    ballot: Ballot,
    reliability: Mapping[str, float],
    *,
    k_eff: float = 2.0,
    seed: int = 0,
    lineages: Mapping[str, str] | None = None,
    cap: float = math.inf,
) -> Posterior:
    """Log-odds with probabilities of being right that are known, each strictly between 0 and 1; `k_eff` for an open
    question, above 1. Members that are missing in `reliability` count as NEWCOMER. Raises InvalidInput otherwise."""
    if not 1 < k_eff < math.inf:
        raise InvalidInput(f"a question has more than 1 answer and finitely many, not {k_eff}", param="k_eff")
    for member, probability in reliability.items():
        if not 0 < probability < 1:
            raise InvalidInput(
                f"the reliability of {member} must lie between 0 and 1, both excluded, not {probability}",
                param="reliability",
            )
    table = one(ballot, lineages or {})
    if not table.keys:
        return silence("log-odds")
    rule = LogOdds(Record(reliability, {}, {}), k_eff, cap)
    beliefs = rule.beliefs(table)
    trust = table.votes @ table.by_member(reliability, NEWCOMER)
    return ranked(
        dict(zip(table.keys, beliefs.score.tolist(), strict=True)),
        dict(zip(table.keys, beliefs.probability.tolist(), strict=True)),
        rule.name,
        trust=dict(zip(table.keys, trust.tolist(), strict=True)),
        seed=seed,
    )


def _weights(record: Record, k_eff: float, table: Table) -> Floats:
    """(Q, M) ln((K - 1) p / (1 - p)); zero for a member that guesses."""
    p = record.reliability(table)
    weights: Floats = wrong_choices(table, k_eff)[:, None] + np.log(p) - np.log1p(-p)
    return weights

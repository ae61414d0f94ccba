"""How often each member was right in a history: the p of every rule, smoothed, by topic, with the newcomer's guess.

Door: `Record.of`. For reliability that is kept from day to day, discounted and halved by adapter, see `society.trust`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from society.aggregation.table import Booleans, Floats, Table

NEWCOMER = 0.5
"""What is assumed of a member without any record: as often right as wrong, the mean of Beta(1, 1)."""
TOPIC_STRENGTH = 20.0
"""How many answers in a topic weigh as much as the member's record over all topics (3.5)."""


@dataclass(frozen=True, slots=True)
class Record:
    """P(right | it answers) of each member, over all and by topic, and its share of right answers among all it was
    asked (`useful`, which an abstention lowers). `topical` holds the topics in which a member has answered."""

    right: Mapping[str, float]
    topical: Mapping[str, Mapping[str, float]]
    useful: Mapping[str, float]

    @classmethod
    def of(cls, table: Table) -> Record:
        """Beta(1, 1) estimates over all, shrunk to those by topic: (right_t + s p) / (n_t + s) (3.5)."""
        answered, right = table.answered.sum(axis=0), table.correct.sum(axis=0)
        overall = (right + 1) / (answered + 2)
        useful = (right + 1) / (table.invited.sum(axis=0) + 2)
        topical: dict[str, Mapping[str, float]] = {}
        for index, topic in enumerate(table.topics):
            inside = table.topic == index
            answered_t, right_t = table.answered[inside].sum(axis=0), table.correct[inside].sum(axis=0)
            estimate = (right_t + TOPIC_STRENGTH * overall) / (answered_t + TOPIC_STRENGTH)
            topical[topic] = _named(table, estimate, np.asarray(answered_t > 0))
        known = np.asarray(table.invited.any(axis=0))
        return cls(_named(table, overall, known), topical, _named(table, useful, known))

    def reliability(self, table: Table) -> Floats:
        """(Q, M) P(right | it answers) of the table's members in each question's topic."""
        overall = table.by_member(self.right, NEWCOMER)
        estimate = np.tile(overall, (table.questions, 1))
        for index, topic in enumerate(table.topics):
            known = self.topical.get(topic, {})
            inside = table.topic == index
            estimate[inside] = [known.get(member, overall[place]) for place, member in enumerate(table.members)]
        return estimate


def _named(table: Table, numbers: Floats, keep: Booleans) -> dict[str, float]:
    return {member: float(numbers[place]) for place, member in enumerate(table.members) if keep[place]}

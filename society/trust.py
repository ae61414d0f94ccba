"""How far each agent can be trusted, kept from outcome to outcome, and how many voters a panel is really worth.

Counters are kept for each (agent, topic, adapter revision). What an older adapter earned counts half, the one before it
a quarter: an agent that has changed has to show itself again, without starting from nothing. Pure: nothing is stored
here; `rows` and `ledger` turn a ledger into plain numbers and back. Doors: `Ledger.observed`, `Ledger.reliability`,
`effective_voters`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from personal_data.errors import InvalidInput

PRIOR_RIGHT = PRIOR_WRONG = 1.0
"""alpha and beta of the Beta prior (3.5): nothing known, half right."""
DISCOUNT = 0.99
"""gamma: how much of a counter one more outcome leaves; about the last hundred outcomes count."""
TOPIC_STRENGTH = 20.0
"""s: how many outcomes in a topic weigh as much as the agent's record over all topics."""
REVISION_SHARE = 0.5
"""What is left of a record with each new adapter revision (6.8)."""

Row = tuple[str, str, str, float, float]
"""Agent, topic, adapter revision ("" for none), discounted right and wrong answers."""


@dataclass(frozen=True, slots=True)
class Counter:
    """Discounted counts of right and wrong answers."""

    right: float = 0.0
    wrong: float = 0.0

    def observed(self, right: bool, discount: float) -> Counter:
        """S <- gamma S + 1 if right, F <- gamma F + 1 if wrong."""
        return Counter(discount * self.right + right, discount * self.wrong + (not right))

    def plus(self, other: Counter, share: float) -> Counter:
        return Counter(self.right + share * other.right, self.wrong + share * other.wrong)


@dataclass(frozen=True, slots=True)
class Ledger:
    """All counters, by (agent, topic, revision). Those of topic "" are over all topics and kept on their own, since an
    outcome discounts all that the agent did before, in whatever topic."""

    counters: Mapping[tuple[str, str, str], Counter] = field(default_factory=dict)
    discount: float = DISCOUNT

    def __post_init__(self) -> None:
        if not 0 < self.discount <= 1:
            raise InvalidInput(f"the discount must lie above 0 and be at most 1, not {self.discount}", param="discount")

    def observed(self, agent: str, revision: str, *, right: bool, topic: str = "") -> Ledger:
        """The ledger after one more outcome of `agent` under adapter `revision` ("" for none). An outcome that comes
        in after its adapter was replaced is counted where it belongs."""
        counters = dict(self.counters)
        for place in {(agent, topic, revision), (agent, "", revision)}:
            counters[place] = counters.get(place, Counter()).observed(right, self.discount)
        return Ledger(counters, self.discount)

    def reliability(self, agent: str, revisions: Sequence[str], *, topic: str = "") -> float:
        """P(right), from the counters of the adapter `revisions`, newest first, each worth half of the one before.

        Over all topics (alpha + S) / (alpha + beta + S + F); in a topic (S_t + s p) / (S_t + F_t + s) (3.5).
        """
        overall = self._record(agent, "", revisions)
        right, all_ = PRIOR_RIGHT + overall.right, PRIOR_RIGHT + PRIOR_WRONG + overall.right + overall.wrong
        estimate = right / all_
        if not topic:
            return estimate
        inside = self._record(agent, topic, revisions)
        return (inside.right + TOPIC_STRENGTH * estimate) / (inside.right + inside.wrong + TOPIC_STRENGTH)

    def evidence(self, agent: str, revisions: Sequence[str], *, topic: str = "") -> float:
        """How many outcomes the estimate rests on, discounted and halved like them."""
        record = self._record(agent, topic, revisions)
        return record.right + record.wrong

    def rows(self) -> tuple[Row, ...]:
        """Plain numbers, in a fixed order."""
        return tuple((*place, counter.right, counter.wrong) for place, counter in sorted(self.counters.items()))

    def _record(self, agent: str, topic: str, revisions: Sequence[str]) -> Counter:
        record = Counter()
        for age, revision in enumerate(revisions):
            record = record.plus(self.counters.get((agent, topic, revision), Counter()), REVISION_SHARE**age)
        return record


def ledger(rows: Iterable[Row], *, discount: float = DISCOUNT) -> Ledger:
    """The ledger that `Ledger.rows` wrote. Raises InvalidInput for counts below 0, NaN or infinite."""
    counters: dict[tuple[str, str, str], Counter] = {}
    for agent, topic, revision, right, wrong in rows:
        if not (math.isfinite(right) and math.isfinite(wrong) and right >= 0 and wrong >= 0):
            raise InvalidInput(f"the counters of {agent} are no counts: {right}, {wrong}", param="rows")
        counters[agent, topic, revision] = Counter(right, wrong)
    return Ledger(counters, discount)


def log_odds(probability: float) -> float:
    """The weight of an independent voter on a question with two answers, ln(p / (1 - p)) (3.2)."""
    if not 0 < probability < 1:
        raise InvalidInput(f"a weight needs a probability between 0 and 1, not {probability}", param="probability")
    return math.log(probability) - math.log1p(-probability)


def majority_accuracy(voters: int, probability: float) -> float:
    """P(most of `voters` independent voters, an odd number, are right), each right with `probability` (3.1)."""
    if voters < 1 or voters % 2 == 0:
        raise InvalidInput(f"a majority without ties needs an odd number of voters, not {voters}", param="voters")
    return math.fsum(
        math.comb(voters, right) * probability**right * (1 - probability) ** (voters - right)
        for right in range(voters // 2 + 1, voters + 1)
    )


def effective_voters(lineages: Sequence[str], *, between: float, within: float = 1.0) -> float:
    """How many independent voters a panel is worth: n^2 / sum_ij rho_ij (3.1); n / (1 + (n - 1) rho) for one rho.

    `lineages`: one a member. `between`, `within`: correlation of being right of two members of different lineages and
    of the same one, 0 to 1; members of one lineage are taken for clones unless something else was measured.
    """
    for name, correlation in (("between", between), ("within", within)):
        if not 0 <= correlation <= 1:
            raise InvalidInput(f"a correlation must lie from 0 to 1, not {correlation}", param=name)
    if not lineages:
        return 0.0
    sizes = [lineages.count(lineage) for lineage in set(lineages)]
    total = len(lineages)
    same = sum(size * (size - 1) for size in sizes)
    pairs = total * (total - 1)
    return total**2 / (total + within * same + between * (pairs - same))

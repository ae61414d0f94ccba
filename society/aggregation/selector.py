"""Which rule decides in this society: the one that its own history says is right most often (6.2.8).

Doors: `select`, from resolved questions to a `Selected`; `Selected.decide`, from a ballot to a calibrated posterior.
With too little history to compare, the chain of `_by_default` stands in. A second fit on the same history with the same
seed is the same to the last digit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from personal_data.errors import InvalidInput
from society.aggregation.ballot import Ballot, Posterior, Resolved, ranked, silence
from society.aggregation.log_odds import LINEAGE_CAP, BestMember, LogOdds
from society.aggregation.logit import Logit
from society.aggregation.platt import Platt
from society.aggregation.record import NEWCOMER, Record
from society.aggregation.table import (
    Beliefs,
    Booleans,
    Floats,
    Integers,
    Rule,
    Table,
    by_question,
    capped,
    chosen,
    hits,
    one,
    tabulate,
)

COMPARE = 50
"""Shared questions from which rules are compared by cross-validation; before that the differences are noise."""
LEARN = 20
"""Shared questions that are enough to learn conditional-logit weights for a panel of 4 to 8 (3.10)."""
COUNT = 8
"""Shared questions from which the members' records weigh their votes at all."""
TOLERATED = 0.01
"""How much accuracy a simpler rule may lead by and not be preferred, when so small a lead cannot be told from noise."""


@dataclass(frozen=True, slots=True)
class Plurality:
    """`plurality.count` over a table: votes of one lineage weigh as at most `cap`, Laplace posterior."""

    cap: float = LINEAGE_CAP
    name: ClassVar[str] = "plurality"

    def beliefs(self, table: Table) -> Beliefs:
        score = np.einsum("nm,nm->n", table.votes, capped(table, self.cap)[table.question])
        total = by_question(table, score) + table.answers + 1
        return Beliefs(score, (score + 1) / total[table.question], 1 / total)


@dataclass(frozen=True, slots=True)
class Selected:
    """The chosen rule and how sure to be of it. `measured`: cross-validated accuracy of each rule, empty when there was
    too little history to compare. `shared`: questions on which two members or more answered."""

    rule: Rule
    record: Record
    platt: Platt
    shared: int
    measured: Mapping[str, float] = field(default_factory=dict)

    def decide(self, ballot: Ballot, lineages: Mapping[str, str], *, seed: int) -> Posterior:
        """The posterior of one question; its winner's probability is calibrated once there is evidence for that."""
        return self.platt.calibrated(posterior(self.rule, self.record, ballot, lineages, seed=seed))

    def weights(
        self,
        members: Sequence[str],
        lineages: Mapping[str, str],
        *,
        topic: str | None = None,
        options: int | None = None,
    ) -> Mapping[str, float] | None:
        """What each member's vote adds to its answer's score, for `stopping.needed`; None where that is not fixed
        beforehand: a lineage's cap depends on who votes, and a stated confidence comes with the vote."""
        if self.rule.name == BestMember.name:
            order = sorted(set(members), key=lambda member: (-self.record.useful.get(member, 0.0), member))
            return {member: 0.5**place for place, member in enumerate(order)}  # each outweighs all that follow
        if not self._is_fixed(set(members), lineages):
            return None
        table = one(Ballot({member: member for member in members}, topic=topic, options=options), lineages)
        return dict(zip(table.keys, self.rule.beliefs(table).score.tolist(), strict=True))

    def _is_fixed(self, members: set[str], lineages: Mapping[str, str]) -> bool:
        capped_ones = members
        if isinstance(self.rule, Logit):
            if self.rule.strength != "ignored":
                return False
            capped_ones = members - set(self.rule.overall.members)
        seats = Counter(lineages.get(member, member) for member in capped_ones)
        return max(seats.values(), default=0) <= LINEAGE_CAP


def select(history: Sequence[Resolved], lineages: Mapping[str, str], *, seed: int, folds: int = 5) -> Selected:
    """The first of conditional logit, log-odds, plurality and best member that no other beats in cross-validation.

    A lead counts when it is larger than its own noise, at most TOLERATED. A conditional logit that did not converge
    does not compete. Which question falls into which fold depends on `seed` and its place in the history alone.
    """
    if folds < 2:
        raise InvalidInput(f"cross-validation needs 2 folds or more, not {folds}", param="folds")
    table = tabulate(history, lineages)
    shared = int((table.answered.sum(axis=1) > 1).sum())
    record = Record.of(table)
    if shared < COMPARE:
        return Selected(_by_default(table, shared), record, Platt(), shared)
    held_out = _cross_validated(table, seed, folds)
    rules = {rule.name: rule for rule in _fitted(table) if rule.name in held_out}
    best = _preferred({name: held_out[name].hit for name in rules})
    answered = held_out[best].answered
    platt = Platt.fit(held_out[best].probability[answered], held_out[best].hit[answered])
    measured = {name: float(outcome.hit.mean()) for name, outcome in held_out.items()}
    return Selected(rules[best], record, platt, shared, measured)


def posterior(rule: Rule, record: Record, ballot: Ballot, lineages: Mapping[str, str], *, seed: int) -> Posterior:
    """One ballot by one fitted rule; ties go to the higher summed reliability, then to the lot."""
    table = one(ballot, lineages)
    if not table.keys:
        return silence(rule.name)
    beliefs = rule.beliefs(table)
    trust = table.votes @ table.by_member(record.right, NEWCOMER)
    score, probability, summed = (
        dict(zip(table.keys, numbers.tolist(), strict=True)) for numbers in (beliefs.score, beliefs.probability, trust)
    )
    return ranked(score, probability, rule.name, trust=summed, seed=seed)


def _by_default(table: Table, shared: int) -> Rule:
    """Conditional logit from LEARN shared questions on, unless it fails to converge; log-odds from COUNT on; before
    that plurality with a lineage cap, whose ties go to the members that were right more often, down to the best one."""
    if shared >= LEARN:
        logit = Logit.fit(table)
        if logit.converged:
            return logit
    return LogOdds.fit(table) if shared >= COUNT else Plurality()


def _fitted(table: Table) -> list[Rule]:
    """In the order in which they win a draw."""
    logit = Logit.fit(table)
    others: list[Rule] = [LogOdds.fit(table), Plurality(), BestMember.fit(table)]
    return [logit, *others] if logit.converged else others


def _preferred(hit: Mapping[str, Booleans]) -> str:
    """The first rule, in the order given, over which no other leads by more than one standard error of the lead."""
    for name, mine in hit.items():
        leads = [other.astype(np.float64) - mine for other in hit.values()]
        if all(lead.mean() <= min(lead.std() / len(lead) ** 0.5, TOLERATED) for lead in leads):
            return name
    raise AssertionError("the most accurate rule is never beaten")


@dataclass(frozen=True, slots=True)
class HeldOut:
    """(Q,) The winner's probability, whether it was right, and whether anybody answered; by rules that saw none of
    these questions."""

    probability: Floats
    hit: Booleans
    answered: Booleans


def _cross_validated(table: Table, seed: int, folds: int) -> dict[str, HeldOut]:
    """What each rule that could be fitted in every fold makes of the questions it was not fitted on."""
    outcomes: dict[str, list[HeldOut]] = {}
    order: list[Integers] = []
    for inside, outside in _folds(table.questions, seed, folds):
        training, held_out = table.part(inside), table.part(outside)
        trust = training.by_member(Record.of(training).right, NEWCOMER)
        order.append(outside)
        for rule in _fitted(training):
            outcomes.setdefault(rule.name, []).append(outcome_of(rule, held_out, trust, seed))
    back = np.argsort(np.concatenate(order))
    return {
        name: HeldOut(
            np.concatenate([fold.probability for fold in rounds])[back],
            np.concatenate([fold.hit for fold in rounds])[back],
            np.concatenate([fold.answered for fold in rounds])[back],
        )
        for name, rounds in outcomes.items()
        if len(rounds) == folds
    }


def outcome_of(rule: Rule, table: Table, trust: Floats, seed: int) -> HeldOut:
    """What a rule makes of questions that it was not fitted on; ties as in `table.chosen`."""
    beliefs = rule.beliefs(table)
    choice = chosen(table, beliefs, trust, seed)
    probability = np.append(beliefs.probability, 0.0)[choice]  # -1, nobody answered, finds the last one
    return HeldOut(probability, hits(table, choice), choice >= 0)


def _folds(count: int, seed: int, folds: int) -> list[tuple[Integers, Integers]]:
    """(training, held out) question indices, each increasing."""
    fold = np.random.default_rng(seed % 2**63).permutation(count) % folds
    return [(np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(folds)]

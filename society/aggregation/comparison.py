"""Every rule on the same questions: which one would have been best here, and how sure each was.

Door: `compare`, from resolved questions to a row a rule. What learns from outcomes is fitted on the other folds, so no
rule has seen the outcome of a question that it is scored on. A rule that needs what the history does not hold is named
with what it lacks, and not scored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from personal_data.errors import InvalidInput
from society.aggregation import dawid_skene, pools
from society.aggregation.ballot import Ballot, Posterior, Resolved, lot, ranked, silence
from society.aggregation.log_odds import LINEAGE_CAP, BestMember, LogOdds, weighted
from society.aggregation.logit import Logit
from society.aggregation.options import effective_options
from society.aggregation.plurality import count
from society.aggregation.reconcile import reconcile
from society.aggregation.record import NEWCOMER, Record
from society.aggregation.scores import Score, score
from society.aggregation.selector import HeldOut, Plurality, outcome_of, select
from society.aggregation.table import Floats, Integers, Rule, Table, tabulate

MOST_OPTIONS = 26
REPEATED = 5
"""Questions have the same few options when all answers together are no more than MOST_OPTIONS, and there are REPEATED
times as many questions: a confusion matrix cannot be learnt of answers that come up once."""
CERTAIN = 0.01
"""A stated certainty is pooled as this far from certain: certainties have no middle."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A rule and how good it was; `score` None where it could not be tried, for the reason that `lacks` gives."""

    rule: str
    score: Score | None
    lacks: str | None = None


def compare(
    history: Sequence[Resolved], *, fold: Sequence[int], lineages: Mapping[str, str] | None = None, seed: int = 0
) -> list[Compared]:
    """Score each rule on each question of `history`; `fold` (Q,): in which fold a question lies.

    `lineages` is what the plurality with a lineage cap is told, and no other rule: what they learn of clones they learn
    from answers. Raises InvalidInput for fewer than two folds.
    """
    if len(fold) != len(history) or len(set(fold)) < 2:
        raise InvalidInput("a comparison needs a fold for each question, and 2 different ones", param="fold")
    tried = _Trial(history, np.asarray(fold, dtype=np.int64), lineages or {}, seed)
    found = [(name, rule(tried)) for name, rule in RULES.items()]
    return [Compared(name, None, one) if isinstance(one, str) else Compared(name, one) for name, one in found]


class _Trial:
    """The questions, as a table and one by one. Each method scores a rule, or says what it lacks."""

    def __init__(self, history: Sequence[Resolved], fold: Integers, lineages: Mapping[str, str], seed: int) -> None:
        self.history, self.fold, self.seed, self.lineages = history, fold, seed, lineages
        self.table = tabulate(history, {})
        keys = {key for one in history for key in [*one.ballot.votes.values(), one.right] if key is not None}
        few = 2 <= len(keys) <= MOST_OPTIONS and REPEATED * len(keys) <= len(history)
        self.options = sorted(keys) if few else None

    def plurality(self) -> Score:
        """Ties by lot, in expectation: 1/m of a question with the right one among m leaders."""
        hit = []
        for one in self.history:
            votes = Counter(one.ballot.standing().values())
            leaders = [key for key, number in votes.items() if number == max(votes.values())]
            hit.append((one.right in leaders) / len(leaders) if leaders else 0.0)
        believed = [self._claimed(count(one.ballot, {}, seed=self.seed)) for one in self.history]
        return score(np.array(hit), np.array(believed))

    def capped(self) -> Score:
        """As a society that knows its lineages counts at first; ties to those that were right more often."""
        table = tabulate(self.history, self.lineages)
        return self._scored(self._held_out(table, lambda _: Plurality(LINEAGE_CAP)))

    def fitted(self, fit: Callable[[Table], Rule]) -> Score | str:
        """A rule that learns from the outcomes of the other folds."""
        rules: list[Rule] = []

        def kept(table: Table) -> Rule:
            rules.append(fit(table))
            return rules[-1]

        held_out = self._held_out(self.table, kept)
        if not all(rule.converged for rule in rules if isinstance(rule, Logit)):
            return "a fit that converges"
        return self._scored(held_out)

    def selector(self) -> Score:
        """What a society of this history decides by, calibrated."""
        hit, claimed = self._empty()
        for inside, outside in self._folds():
            chosen = select([self.history[place] for place in inside], {}, seed=self.seed)
            trust = self.table.by_member(chosen.record.right, NEWCOMER)
            found = outcome_of(chosen.rule, self.table.part(outside), trust, self.seed)
            hit[outside] = found.hit
            claimed[outside] = np.where(found.answered, chosen.platt.apply(found.probability), np.nan)
        return score(hit, claimed)

    def one_coin(self) -> Score:
        """One reliability a member, from how the members agree over all questions. Of outcomes it knows none; where
        answers are open, how many there are to a question is learnt from the other folds: with too few of them
        agreement means little, and the rule believes whoever agrees with nobody."""
        if self.options is not None:
            return self._believed(dawid_skene.one_coin(self._items(), self.options))
        ballots = [one.ballot for one in self.history]
        known = cache(lambda k_eff: dawid_skene.open_coin(ballots, k_eff=k_eff))
        return self._each(lambda one, seed, k_eff: weighted(one.ballot, known(k_eff), k_eff=k_eff, seed=seed))

    def full(self) -> Score | str:
        """No outcomes: a confusion matrix a member."""
        if self.options is None:
            return "the same few options in every question"
        return self._believed(dawid_skene.full(self._items(), self.options))

    def reconcile(self) -> Score:
        return self._each(lambda one, seed, _: reconcile(one.ballot, seed=seed))

    def pooled(self, pool: Callable[[Sequence[float]], float]) -> Score:
        """Of each answer the pool of what voters state of it: who gave another one states an equal share of the rest
        for each of the K - 1 others, K learnt from the other folds."""
        return self._each(lambda one, seed, k_eff: _pooled(one.ballot, pool, k_eff, seed))

    def confident(self, rule: Callable[[], Score]) -> Score | str:
        """A rule of stated confidences, where every vote has one."""
        mute = sum(not set(one.ballot.standing()) <= set(one.ballot.confidences) for one in self.history)
        return f"a confidence with every answer ({mute:,} questions are without)" if mute else rule()

    def oracle(self) -> Score:
        """Who knows when anybody is right."""
        hit = np.array([float(one.right in one.ballot.standing().values()) for one in self.history])
        return score(hit, np.full(len(hit), np.nan))

    def _folds(self) -> Iterator[tuple[Integers, Integers]]:
        """(training, held out) question indices."""
        for number in np.unique(self.fold):
            yield np.flatnonzero(self.fold != number), np.flatnonzero(self.fold == number)

    def _held_out(self, table: Table, fit: Callable[[Table], Rule]) -> list[tuple[Integers, HeldOut]]:
        found = []
        for inside, outside in self._folds():
            training = table.part(inside)
            trust = training.by_member(Record.of(training).right, NEWCOMER)
            found.append((outside, outcome_of(fit(training), table.part(outside), trust, self.seed)))
        return found

    def _scored(self, folds: Sequence[tuple[Integers, HeldOut]]) -> Score:
        hit, claimed = self._empty()
        for outside, found in folds:
            hit[outside] = found.hit
            claimed[outside] = np.where(found.answered, found.probability, np.nan)
        return score(hit, claimed)

    def _each(self, decide: Callable[[Resolved, int, float], Posterior]) -> Score:
        """Decide question by question, each with a seed of its own, knowing K_eff of the other folds."""
        hit, claimed = self._empty()
        for inside, outside in self._folds():
            k_eff = effective_options(self.table.part(inside))
            for place in outside:
                one = self.history[place]
                found = decide(one, self.seed + int(place), k_eff)
                hit[place] = found.choice is not None and found.choice == one.right
                claimed[place] = self._claimed(found)
        return score(hit, claimed)

    def _believed(self, estimate: dawid_skene.Estimate) -> Score:
        hit, claimed = self._empty()
        for place, (one, belief) in enumerate(zip(self.history, estimate.probabilities, strict=True)):
            if one.ballot.standing():
                choice = min(belief, key=lambda key: (-round(belief[key], 9), lot(self.seed + place, key)))
                hit[place], claimed[place] = choice == one.right, belief[choice]
        return score(hit, claimed)

    def _items(self) -> list[Mapping[str, str | None]]:
        return [one.ballot.votes for one in self.history]

    def _empty(self) -> tuple[Floats, Floats]:
        return np.zeros(len(self.history)), np.full(len(self.history), np.nan)

    @staticmethod
    def _claimed(found: Posterior) -> float:
        return np.nan if found.confidence is None else found.confidence


def _pooled(ballot: Ballot, pool: Callable[[Sequence[float]], float], k_eff: float, seed: int) -> Posterior:
    votes = ballot.standing()
    if not votes:
        return silence("log pool")
    others = (k_eff if ballot.options is None else ballot.options) - 1
    stated = {
        key: pool([_held(ballot.confidences[one], vote == key, others) for one, vote in votes.items()])
        for key in ballot.supporters()
    }
    return ranked(stated, stated, "log pool", trust=None, seed=seed)


def _held(confidence: float, own: bool, others: float) -> float:
    return min(max(confidence if own else (1 - confidence) / others, CERTAIN), 1 - CERTAIN)


RULES: dict[str, Callable[[_Trial], Score | str]] = {
    "plurality, ties by lot": _Trial.plurality,
    "plurality, lineages capped": _Trial.capped,
    "log-odds": lambda tried: tried.fitted(LogOdds.fit),
    "ReConcile": lambda tried: tried.confident(tried.reconcile),
    "Dawid-Skene, one coin": _Trial.one_coin,
    "Dawid-Skene, full": _Trial.full,
    "conditional logit": lambda tried: tried.fitted(Logit.fit),
    "selector": _Trial.selector,
    "log pool": lambda tried: tried.confident(lambda: tried.pooled(pools.log_pool)),
    "product of odds": lambda tried: tried.confident(lambda: tried.pooled(pools.product_of_odds)),
    "extremised mean": lambda tried: tried.confident(lambda: tried.pooled(pools.extremised_mean)),
    "surprisingly popular": lambda _: "each member's forecast of what the others answer",
    "Borda": lambda _: "rankings of the answers",
    "Schulze": lambda _: "rankings of the answers",
    "best member by its record": lambda tried: tried.fitted(BestMember.fit),
    "oracle": _Trial.oracle,
}
"""Each rule's score, or what it needs and the history does not hold."""

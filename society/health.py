"""How a society is doing, measured from its finished debates (6.8): no model is asked and nothing is stored.

Doors: `health`, and `drifts` for what new adapters changed. Pure. What needs an outcome is measured on closed questions
whose outcome is known; what was not measured is None, never 0. Members are compared by their blind answers: what each
would have said alone. The best member of a question is the one with the best record before it, since nobody knows
beforehand who will have been best.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from society.aggregation.ballot import Ballot
from society.aggregation.plurality import count
from society.aggregation.scores import Estimate, Score, mean, score, share
from society.aggregation.selector import COUNT
from society.aggregation.table import Floats
from society.finished import Finished
from society.learning import Learned
from society.standing import UNFOUNDED
from society.state import CLOSED
from society.trust import effective_voters

MOST = 1_000
"""Of the newest debates so many are looked at."""


@dataclass(frozen=True, slots=True)
class Talk:
    """What talking did to members that answered, and answered again when they had seen what became of each hypothesis.

    `changed`: left their answer. `conformed`, of those changes: onto the answer that most had given (one of them, where
    several were), with no verified hypothesis or refuted own one to go by. `right_to_wrong` of those that were right at
    first, `wrong_to_right` of those that were wrong; both as they said it, whether or not the society let it count.
    """

    changed: Estimate
    conformed: Estimate
    right_to_wrong: Estimate
    wrong_to_right: Estimate


@dataclass(frozen=True, slots=True)
class Variety:
    """`lineages`: how many equally heard lineages a debate's voices are worth, 1 / sum of squared shares, on average.
    `members`: how many independent voters they are worth, n^2 / sum_ij rho_ij (3.1), on average. `between`, `within`:
    mean correlation of being right of two members of different lineages and of one; None unless some pair answered
    `selector.COUNT` questions together and neither was right, or wrong, in all of them."""

    lineages: float | None
    members: float | None
    between: float | None
    within: float | None


@dataclass(frozen=True, slots=True)
class Drift:
    """How often a member was right (Beta mean of discounted counts, `trust.Ledger`) with its adapter of now and with
    the one before; None with no outcome yet."""

    member: str
    before: float | None
    now: float | None
    change: float | None


@dataclass(frozen=True, slots=True)
class Health:
    """All measures. `debates`: finished; `resolved`: of these, closed questions with a known outcome.

    `lead_over_best`, `lead_over_majority`: of accuracies on the same questions. `majority` is the blind plurality, ties
    by lot in expectation. `oracle`: somebody gave the right answer; `missed`: somebody did, and the society chose
    another. `nobody_right` beside `nobody_right_claimed`, what the society gave for it. `coverage`: mean share of the
    panel's trust that was heard. Calls are of models.
    """

    debates: int
    resolved: int
    society: Score
    best_member: Score
    majority: Score
    lead_over_best: Estimate
    lead_over_majority: Estimate
    oracle: Estimate
    missed: Estimate
    single_solver: Estimate
    nobody_right: Estimate
    nobody_right_claimed: float | None
    talk: Talk
    variety: Variety
    calls_per_answer: float | None
    calls_per_right_answer: float | None
    coverage: float | None
    degraded: Estimate


def health(debates: Sequence[Finished]) -> Health:
    """Measure a society by its debates, oldest first."""
    resolved = [one for one in debates if one.kind == CLOSED and one.right is not None]
    society = _Answers.of((one.chosen is not None and one.chosen == one.right, one.confidence) for one in resolved)
    best, majority = _best(resolved), _majority(resolved)
    solvers = [_solvers(one) for one in resolved]
    found = [bool(one) or _is_right_again(debate) for one, debate in zip(solvers, resolved, strict=True)]
    missed = sum(was and not hit for was, hit in zip(found, society.hit, strict=True))
    return Health(
        debates=len(debates),
        resolved=len(resolved),
        society=society.score(),
        best_member=best.score(),
        majority=majority.score(),
        lead_over_best=society.lead_over(best),
        lead_over_majority=society.lead_over(majority),
        oracle=share(sum(found), len(resolved)),
        missed=share(missed, len(resolved)),
        single_solver=share(sum(len(one) == 1 for one in solvers), len(resolved)),
        nobody_right=share(sum(not was for was in found), len(resolved)),
        nobody_right_claimed=_average(one.none for one in resolved),
        talk=talk(debates),
        variety=variety(debates, resolved),
        calls_per_answer=_calls_per(debates, [one.chosen is not None for one in debates]),
        calls_per_right_answer=_calls_per(resolved, society.hit),
        coverage=_average(one.trusted_share for one in debates),
        degraded=share(sum(one.degraded for one in debates), len(debates)),
    )


def talk(debates: Iterable[Finished]) -> Talk:
    """What became of blind answers when closed questions were solved again."""
    changed, conformed = list[bool](), list[bool]()
    were_right, were_wrong = list[bool](), list[bool]()
    for debate in debates:
        modes = debate.modes()
        for member, again in debate.again.items():
            before = debate.blind.get(member)
            if debate.kind != CLOSED or before is None:
                continue
            changed.append(again.key != before)
            if changed[-1]:
                conformed.append(again.key in modes and again.reason == UNFOUNDED)
            if debate.right is not None:
                (were_right if before == debate.right else were_wrong).append(again.key == debate.right)
    return Talk(
        changed=share(sum(changed), len(changed)),
        conformed=share(sum(conformed), len(conformed)),
        right_to_wrong=share(sum(not stayed for stayed in were_right), len(were_right)),
        wrong_to_right=share(sum(were_wrong), len(were_wrong)),
    )


def variety(debates: Sequence[Finished], resolved: Sequence[Finished]) -> Variety:
    """How different the members are: by their lineages in all debates, by their mistakes in the resolved ones."""
    between, within = _correlations(resolved)
    heard = [list(one.lineages.values()) for one in debates if one.lineages]
    return Variety(
        lineages=_average(effective_voters(one, between=0.0) for one in heard),
        members=_average(_voters(one, between, within) for one in heard),
        between=between,
        within=within,
    )


def drifts(learned: Learned, members: Mapping[str, str]) -> list[Drift]:
    """Of each member that has changed its adapter since it has a record; `members`: agent id to what it is called."""
    found = []
    for agent_id, name in members.items():
        revisions = learned.revisions.get(agent_id, ())
        if len(revisions) > 1:
            now, before = (_reliability(learned, agent_id, revision) for revision in revisions[:2])
            change = None if now is None or before is None else now - before
            found.append(Drift(name, before, now, change))
    return found


@dataclass(frozen=True, slots=True)
class _Answers:
    """(n,) Whether right, or how probably; what was claimed, NaN where nothing was; NaN in both: nobody to compare."""

    hit: Floats
    claimed: Floats

    @classmethod
    def of(cls, answers: Iterable[tuple[float | None, float | None]]) -> _Answers:
        rows = np.array([[np.nan if one is None else one for one in answer] for answer in answers])
        rows = rows.reshape(-1, 2).astype(np.float64)
        return cls(rows[:, 0], rows[:, 1])

    def score(self) -> Score:
        there = ~np.isnan(self.hit)
        return score(self.hit[there], self.claimed[there])

    def lead_over(self, other: _Answers) -> Estimate:
        lead = self.hit - other.hit
        return mean(lead[~np.isnan(lead)].tolist())


def _best(resolved: Sequence[Finished]) -> _Answers:
    """Of each question the answer of who was most useful before it (`record.Record.useful`), of equal ones the mean."""
    right, asked, answers = Counter[str](), Counter[str](), list[tuple[float | None, float | None]]()
    for one in resolved:
        useful = {member: (right[member] + 1) / (asked[member] + 2) for member in one.blind}
        best = [member for member in useful if useful[member] == max(useful.values())]
        hits = [_is_right(one, member) for member in best]
        claimed = one.confidences.get(best[0]) if len(best) == 1 else None
        answers.append((sum(hits) / len(hits) if hits else None, claimed))
        asked.update(list(one.blind))
        right.update(_solvers(one))
    return _Answers.of(answers)


def _majority(resolved: Iterable[Finished]) -> _Answers:
    answers = list[tuple[float | None, float | None]]()
    for one in resolved:
        modes = one.modes()
        believed = count(Ballot(one.blind), {}, seed=one.seed)
        answers.append(((one.right in modes) / len(modes) if modes else 0.0, believed.confidence))
    return _Answers.of(answers)


def _solvers(debate: Finished) -> list[str]:
    return [member for member in debate.blind if _is_right(debate, member)]


def _is_right(debate: Finished, member: str) -> bool:
    key = debate.blind[member]
    return key is not None and key == debate.right


def _is_right_again(debate: Finished) -> bool:
    return any(again.key == debate.right for again in debate.again.values())


def _correlations(resolved: Sequence[Finished]) -> tuple[float | None, float | None]:
    """Mean phi of pairs of different lineages, and of one, held to 0 and 1. A member's lineage is its last one."""
    lineages = {member: lineage for one in resolved for member, lineage in one.lineages.items()}
    correct = {
        member: np.array([float(_is_right(one, member)) if member in one.blind else np.nan for one in resolved])
        for member in sorted(lineages)
    }
    between, within = list[float](), list[float]()
    for first, second in combinations(correct, 2):
        phi = _phi(correct[first], correct[second])
        if phi is not None:
            (within if lineages[first] == lineages[second] else between).append(phi)
    return _held(_average(between)), _held(_average(within))


def _phi(first: Floats, second: Floats) -> float | None:
    """Pearson's correlation where both are there; None for fewer than COUNT cases, or where one never differs."""
    both = ~np.isnan(first) & ~np.isnan(second)
    a, b = first[both], second[both]
    if len(a) < COUNT or a.std() == 0 or b.std() == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def _held(correlation: float | None) -> float | None:
    """Members that err apart are worth no more than independent ones."""
    return None if correlation is None else min(max(correlation, 0.0), 1.0)


def _voters(lineages: Sequence[str], between: float | None, within: float | None) -> float | None:
    """None unless what it takes was measured; members of one lineage are clones until they have shown otherwise."""
    several = len(set(lineages)) > 1
    if between is None and (several or within is None):
        return None
    return effective_voters(lineages, between=between or 0.0, within=1.0 if within is None else within)


def _reliability(learned: Learned, agent_id: str, revision: str) -> float | None:
    seen = learned.ledger.evidence(agent_id, [revision]) > 0
    return learned.ledger.reliability(agent_id, [revision]) if seen else None


def _calls_per(debates: Sequence[Finished], counts: Iterable[float]) -> float | None:
    """Calls over how many of their debates count, of those whose calls were counted; None where none does."""
    told = [(one.calls, counted) for one, counted in zip(debates, counts, strict=True) if one.calls is not None]
    answers = sum(counted for _, counted in told)
    return sum(calls for calls, _ in told) / answers if answers else None


def _average(numbers: Iterable[float | None]) -> float | None:
    told = [number for number in numbers if number is not None]
    return sum(told) / len(told) if told else None

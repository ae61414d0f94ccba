"""Four released models on 1319 questions: the golden numbers of 5.1, the acceptance figures of 6.9 cross-validated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import pytest

from society.aggregation.ballot import Ballot, Posterior, Resolved
from society.aggregation.logit import Logit
from society.aggregation.plurality import count
from society.aggregation.record import Record
from society.aggregation.scores import brier, calibration_error
from society.aggregation.selector import posterior, select
from society.aggregation.stopping import by_weight, needed
from society.aggregation.table import tabulate
from tests.society.aggregation.committees import MODELS, accuracy, cross_validated, gsm8k

TRUSTED = "175b_verification"


def test_who_was_right_how_often() -> None:
    history = gsm8k()
    assert len(history) == 1319
    right = [[case.ballot.votes[model] == case.right for model in MODELS] for case in history]
    assert dict(zip(MODELS, np.sum(right, axis=0).tolist(), strict=True)) == {
        "6b_finetuning": 286,
        "6b_verification": 515,
        "175b_finetuning": 458,
        "175b_verification": 742,
    }
    solvers = Counter(sum(row) for row in right)
    assert (solvers[4], solvers[0], 1319 - solvers[0]) == (156, 432, 887)
    assert sum(key is None for case in history for key in case.ballot.votes.values()) == 15
    # What a judge of the answers must recognise to be worth more than the best model alone, or than 750 by stacking.
    oracle = 1319 - solvers[0]
    assert [right / oracle for right in (742, 750)] == pytest.approx([0.8364, 0.8455], abs=2e-4)


def test_vote_patterns_and_plurality() -> None:
    patterns: Counter[tuple[int, ...]] = Counter()
    expected: dict[tuple[int, ...], Fraction] = {}
    trusted = 0
    for case in gsm8k():
        votes = Counter(key for key in case.ballot.votes.values() if key is not None)
        pattern = tuple(sorted(votes.values(), reverse=True))
        leaders = [key for key, number in votes.items() if number == pattern[0]]
        patterns[pattern] += 1
        expected[pattern] = expected.get(pattern, Fraction(0)) + Fraction(case.right in leaders, len(leaders))
        trusted += count(case.ballot, {}, seed=0, trust={TRUSTED: 1.0}).choice == case.right
    assert {pattern: (patterns[pattern], expected[pattern]) for pattern in patterns} == {
        (4,): (163, 156),
        (3, 1): (245, 205),
        (2, 2): (40, 16),
        (2, 1, 1): (381, 203),
        (2, 1): (2, 1),
        (1, 1, 1, 1): (476, Fraction(213, 4)),
        (1, 1, 1): (11, Fraction(4, 3)),
        (1, 1): (1, 0),
    }
    assert sum(expected.values()) == Fraction(7627, 12)
    assert trusted == 743


def by_logit(history: Sequence[Resolved]) -> Callable[[Ballot], Posterior]:
    table = tabulate(history, {})
    rule, record = Logit.fit(table), Record.of(table)
    assert rule.converged
    return lambda ballot: posterior(rule, record, ballot, {}, seed=0)


def by_selector(history: Sequence[Resolved]) -> Callable[[Ballot], Posterior]:
    selected = select(history, {}, seed=0)
    return lambda ballot: selected.decide(ballot, {}, seed=0)


@pytest.mark.parametrize("fit", [by_logit, by_selector])
def test_as_good_as_the_best_model_and_seven_clones_of_the_weakest_cost_a_point_at_most(
    fit: Callable[[Sequence[Resolved]], Callable[[Ballot], Posterior]],
) -> None:
    alone = accuracy(cross_validated(gsm8k(), fit))
    assert alone >= 0.5625
    assert accuracy(cross_validated(gsm8k(clones=7), fit)) >= alone - 0.01


def test_confidence_means_what_it_says() -> None:
    decided = cross_validated(gsm8k(), by_selector)
    answered = [(belief.confidence, belief.choice == case.right) for case, belief in decided if belief.confidence]
    confidence, hit = np.array([value for value, _ in answered]), np.array([right for _, right in answered])
    assert calibration_error(confidence, hit) <= 0.05
    assert brier(confidence, hit) < 0.2  # 0.246 for always saying how often the society is right


def test_stopping_in_order_of_trust_saves_a_quarter_of_the_calls() -> None:
    calls = 0

    def early(history: Sequence[Resolved]) -> Callable[[Ballot], Posterior]:
        table = tabulate(history, {})
        rule, record = Logit.fit(table), Record.of(table)
        weights = rule.overall.members

        def decide(ballot: Ballot) -> Posterior:
            nonlocal calls
            order, seen = by_weight(ballot.votes, weights), dict[str, str | None]()
            for place, member in enumerate(order):
                if not needed(seen, order[place:], weights):
                    break
                seen[member] = ballot.votes[member]
                calls += 1
            return posterior(rule, record, Ballot(seen), {}, seed=0)

        return decide

    stopped, full = accuracy(cross_validated(gsm8k(), early)), accuracy(cross_validated(gsm8k(), by_logit))
    assert stopped == full
    assert calls <= 0.75 * 4 * 1319

"""The selector on committees of known nature: never far below its best member, nor below a majority."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personal_data.errors import InvalidInput
from society.aggregation.ballot import Ballot, Posterior, Resolved
from society.aggregation.plurality import count
from society.aggregation.selector import COMPARE, COUNT, LEARN, Selected, select
from society.aggregation.stopping import by_weight, needed
from society.aggregation.table import tabulate
from tests.society.aggregation.committees import accuracy, cross_validated, independent, near_clones, with_clones

COMMITTEES: dict[str, Callable[[int], list[Resolved]]] = {
    "near-clones outvote an expert": lambda count: near_clones(0.75, 0.55, 5, count, seed=11),
    "five near-equal independent members": lambda count: independent([0.56, 0.57, 0.58, 0.59, 0.6], count, seed=12),
    "one strong among weak ones": lambda count: independent([0.55, *[0.18] * 6], count, seed=13),
    "one strong among weak ones that agree by chance": lambda count: independent(
        [0.9, *[0.5] * 4], count, seed=14, ways=1
    ),
}


def by_selector(history: Sequence[Resolved]) -> Callable[[Ballot], Posterior]:
    selected = select(history, {}, seed=5)
    return lambda ballot: selected.decide(ballot, {}, seed=5)


def by_majority(history: Sequence[Resolved]) -> Callable[[Ballot], Posterior]:
    return lambda ballot: count(ballot, {}, seed=5)


def best_alone(history: Sequence[Resolved]) -> float:
    return float(tabulate(history, {}).correct.mean(axis=0).max())


@pytest.mark.parametrize("committee", COMMITTEES)
def test_never_more_than_a_point_below_the_best_member_or_the_majority(committee: str) -> None:
    history = COMMITTEES[committee](3000)
    society = accuracy(cross_validated(history, by_selector))
    assert society >= best_alone(history) - 0.01
    assert society >= accuracy(cross_validated(history, by_majority)) - 0.01


@pytest.mark.parametrize("committee", COMMITTEES)
def test_seven_clones_of_the_weakest_cost_a_point_at_most(committee: str) -> None:
    history = COMMITTEES[committee](3000)
    weakest = tabulate(history, {}).correct.mean(axis=0).argmin()
    crowd = [with_clones(case, f"member-{weakest}", 7) for case in history]
    alone, crowded = (accuracy(cross_validated(cases, by_selector)) for cases in (history, crowd))
    assert crowded >= alone - 0.01


def test_what_is_chosen_fits_the_committee() -> None:
    clones = select(COMMITTEES["near-clones outvote an expert"](600), {}, seed=0)
    assert clones.measured["plurality"] < clones.measured[clones.rule.name] - 0.1
    assert clones.rule.name in ("conditional logit", "best member")
    equals = select(COMMITTEES["five near-equal independent members"](600), {}, seed=0)
    assert equals.rule.name != "best member"
    assert equals.measured["best member"] < equals.measured[equals.rule.name] - 0.1
    assert set(equals.measured) == {"conditional logit", "log-odds", "plurality", "best member"}


@pytest.mark.parametrize(
    ("questions", "rule"),
    [
        (0, "plurality"),
        (COUNT - 1, "plurality"),
        (COUNT, "log-odds"),
        (LEARN - 1, "log-odds"),
        (LEARN, "conditional logit"),
    ],
)
def test_with_little_history_the_chain_stands_in(questions: int, rule: str) -> None:
    history = independent([0.8, 0.7, 0.6], questions, seed=1)
    alone = [Resolved(Ballot({"member-0": "right"}), "right")] * 100  # nobody shared these questions
    for cases in (history, history + alone):
        selected = select(cases, {}, seed=0)
        assert (selected.rule.name, selected.shared, selected.measured) == (rule, questions, {})
        assert selected.platt.slope == 1


def test_a_tie_without_history_goes_to_whoever_was_right() -> None:
    history = [Resolved(Ballot({"a": "w", "b": "r"}), "r")] * 3
    belief = select(history, {}, seed=0).decide(Ballot({"a": "x", "b": "y"}), {}, seed=0)
    assert belief.choice == "y"
    assert belief.tie == "tie of 2 answers, given to the one whose supporters are trusted more"


def test_a_crowd_of_one_lineage_without_history_weighs_as_two() -> None:
    votes = {f"clone-{n}": "x" for n in range(7)} | {"a": "y", "b": "y", "c": "y"}
    lineages = {f"clone-{n}": "base" for n in range(7)}
    assert select([], lineages, seed=0).decide(Ballot(votes), lineages, seed=0).choice == "y"


@pytest.mark.parametrize(
    "history",
    [
        [],
        [Resolved(Ballot({}), "r")] * 60,
        [Resolved(Ballot({"a": None, "b": None}), "r")] * 60,
        [Resolved(Ballot({"a": "r"}), "r")] * 60,
        [Resolved(Ballot({"a": "r", "b": "r", "c": "r"}), "r")] * 60,
        [Resolved(Ballot({"a": "w", "b": "w", "c": "w"}), None)] * 60,
    ],
    ids=["nothing", "nobody", "all abstain", "one member", "all right", "all wrong"],
)
def test_histories_without_a_lesson(history: list[Resolved]) -> None:
    selected = select(history, {}, seed=0)
    belief = selected.decide(Ballot({"a": "x", "b": "y", "c": "x"}), {}, seed=0)
    assert belief.choice in ("x", "y")
    assert math.fsum([*belief.probabilities.values(), belief.none]) == pytest.approx(1)
    assert selected.decide(Ballot({"a": None}), {}, seed=0).choice is None
    assert selected.decide(Ballot({}), {}, seed=0).none == 1
    lone = selected.decide(Ballot({"stranger": "x"}), {}, seed=0)
    assert lone.choice == "x"
    assert lone.confidence is not None and 0 < lone.confidence < 1


@given(
    st.dictionaries(st.sampled_from([f"member-{n}" for n in range(7)]), st.sampled_from(["x", "y", None]), max_size=7),
    st.integers(0, 3),
)
@settings(deadline=None, max_examples=50)
def test_posteriors_are_posteriors_whoever_comes_first(votes: dict[str, str | None], seed: int) -> None:
    selected = selected_once()
    belief = selected.decide(Ballot(votes), {}, seed=seed)
    assert math.fsum([*belief.probabilities.values(), belief.none]) == pytest.approx(1)
    assert selected.decide(Ballot(dict(reversed(votes.items()))), {}, seed=seed) == belief
    joined = selected.decide(Ballot(votes | {"zzz": None}), {}, seed=seed)
    assert joined.choice == belief.choice
    assert dict(joined.probabilities) == pytest.approx(dict(belief.probabilities))


_selected: list[Selected] = []


def selected_once() -> Selected:
    if not _selected:
        _selected.append(select(COMMITTEES["one strong among weak ones"](300), {}, seed=0))
    return _selected[0]


def test_the_same_history_gives_the_same_rule_to_the_last_digit() -> None:
    history = COMMITTEES["near-clones outvote an expert"](COMPARE + 50)
    assert select(history, {}, seed=3) == select(history, {}, seed=3)
    with pytest.raises(InvalidInput, match="2 folds"):
        select(history, {}, seed=3, folds=1)


@pytest.mark.parametrize("committee", COMMITTEES)
@pytest.mark.parametrize("questions", [0, 12, 30, 400])
def test_stopping_by_a_rules_weights_changes_no_choice(committee: str, questions: int) -> None:
    history = COMMITTEES[committee](questions + 100)
    selected = select(history[:questions], {}, seed=0)
    for case in history[questions:]:
        votes = case.ballot.votes
        weights = selected.weights(list(votes), {})
        assert weights is not None
        seen: dict[str, str | None] = {}
        order = by_weight(votes, weights)
        for place, member in enumerate(order):
            if not needed(seen, order[place:], weights):
                break
            seen[member] = votes[member]
        early, full = (selected.decide(Ballot(ballot), {}, seed=0).choice for ballot in (seen, votes))
        assert early == full


def test_weights_that_depend_on_who_votes_are_none() -> None:
    crowd = {f"new-{n}": "base" for n in range(3)}
    assert select([], {}, seed=0).weights(list(crowd), crowd) is None
    assert select([], {}, seed=0).weights(list(crowd)[:2], crowd) == {"new-0": 1, "new-1": 1}
    learned = select(independent([0.8, 0.7, 0.6], 30, seed=1), {}, seed=0)
    assert learned.rule.name == "conditional logit"
    assert learned.weights(["member-0", *crowd], crowd) is None
    known = {f"member-{n}": "base" for n in range(3)}
    assert learned.weights(list(known), known) is not None  # learned weights have the clones in them already


def test_late_members_are_heard() -> None:
    history = independent([0.5, 0.95, 0.5], 400, seed=6)
    late = [
        Resolved(Ballot({m: v for m, v in case.ballot.votes.items() if m != "member-1" or q >= 300}), case.right)
        for q, case in enumerate(history)
    ]
    belief = select(late, {}, seed=0).decide(Ballot({"member-0": "x", "member-1": "y", "member-2": "z"}), {}, seed=0)
    assert belief.choice == "y"


def test_calibration_comes_with_evidence() -> None:
    history = COMMITTEES["five near-equal independent members"](2000)
    selected = select(history, {}, seed=0)
    assert selected.platt.evidence == 2000
    confidences = [selected.decide(case.ballot, {}, seed=0).confidence for case in history[:300]]
    right = [selected.decide(case.ballot, {}, seed=0).choice == case.right for case in history[:300]]
    assert np.mean([confidence for confidence in confidences if confidence is not None]) == pytest.approx(
        np.mean(right), abs=0.05
    )

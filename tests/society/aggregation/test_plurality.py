"""Plurality against cases that can be counted by hand, and its promises as properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal_data.errors import InvalidInput
from society.aggregation.ballot import Ballot
from society.aggregation.plurality import count, plurality
from society.state import Vote


def vote(agent: str, key: str | None) -> Vote:
    return Vote(agent_id=agent, lineage="base", key=key, answer=key)


def test_most_votes_win_and_the_rest_is_dissent() -> None:
    decision = plurality([vote("a", "x"), vote("b", "y"), vote("c", "x")], seed=1)
    assert decision.winner is not None
    assert (decision.winner.key, decision.winner.supporters, decision.tie) == ("x", ("a", "c"), None)
    assert decision.confidence == 3 / 6  # (2 + 1) / (3 votes + 2 answers + 1 for none of these)
    assert [cluster.key for cluster in decision.dissent] == ["y"]


def test_abstentions_are_no_votes() -> None:
    decision = plurality([vote("a", None), vote("b", "y"), vote("c", None)], seed=1)
    assert decision.winner is not None
    assert decision.winner.key == "y"
    assert decision.confidence == 2 / 3


def test_nobody_knows() -> None:
    decision = plurality([vote("a", None)], seed=1)
    assert decision.winner is None
    assert decision.confidence is None


def test_a_tie_is_drawn_by_lot_and_says_so_whoever_came_first() -> None:
    votes = [vote("a", "x"), vote("b", "y"), vote("c", "z"), vote("d", "z"), vote("e", "y")]
    winners = set()
    for seed in range(20):
        decision, again = plurality(votes, seed=seed), plurality(votes[::-1], seed=seed)
        assert decision == again
        assert decision.winner is not None
        assert decision.tie == "tie of 2 answers, drawn by lot from the debate's seed"
        winners.add(decision.winner.key)
    assert winners == {"y", "z"}


votes_strategy = st.lists(st.sampled_from(["x", "y", "z", None]), min_size=1, max_size=9).map(
    lambda keys: [vote(f"agent-{seat}", key) for seat, key in enumerate(keys)]
)


@given(votes_strategy, st.randoms())
def test_decision_does_not_depend_on_the_order_of_votes(votes: list[Vote], random: object) -> None:
    shuffled = list(votes)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert plurality(votes, seed=1) == plurality(shuffled, seed=1)


@given(votes_strategy)
def test_posteriors_leave_room_for_none_of_these(votes: list[Vote]) -> None:
    clusters = plurality(votes, seed=1).clusters
    voters = sum(vote.key is not None for vote in votes)
    total = sum(cluster.posterior for cluster in clusters)
    assert total < 1
    if clusters:
        assert abs(1 - total - 1 / (voters + len(clusters) + 1)) < 1e-12


def test_a_tie_goes_to_the_supporters_that_are_trusted_more_before_any_lot() -> None:
    votes = [vote("a", "x"), vote("b", "y"), vote("c", "z"), vote("d", "z"), vote("e", "y")]
    trust = {"a": 0.9, "b": 0.6, "c": 0.7, "d": 0.6, "e": 0.6}
    for seed in range(20):
        decision = plurality(votes, seed=seed, trust=trust)
        assert decision.winner is not None
        assert decision.winner.key == "z"
        assert decision.tie == "tie of 2 answers, given to the one whose supporters are trusted more"


def test_equal_trust_leaves_it_to_the_lot() -> None:
    votes = [vote("a", "x"), vote("b", "y")]
    trust = {"a": 0.1 + 0.2, "b": 0.3}  # equal but for rounding
    drawn = {plurality(votes, seed=seed, trust=trust).winner for seed in range(20)}
    assert len(drawn) == 2
    assert plurality(votes, seed=1, trust=trust).tie == "tie of 2 answers, drawn by lot from the debate's seed"


def test_a_lineage_weighs_no_more_than_its_cap_and_loses_no_seat() -> None:
    clones = {f"clone-{seat}": "x" for seat in range(7)}
    ballot = Ballot(clones | {"a": "y", "b": "y", "c": "y"})
    lineages = dict.fromkeys(clones, "one base")
    assert count(ballot, lineages, seed=1).choice == "x"
    capped = count(ballot, lineages, seed=1, lineage_cap=2)
    assert capped.choice == "y"
    assert capped.probabilities == pytest.approx({"y": 4 / 8, "x": 3 / 8})  # 3 and 2 votes, 2 answers, 1 for none
    assert capped.none == pytest.approx(1 / 8)


@pytest.mark.parametrize("number", [float("nan"), -0.1, 1.5])
def test_trust_that_is_no_probability_is_refused(number: float) -> None:
    with pytest.raises(InvalidInput, match="the trust in a"):
        plurality([vote("a", "x")], seed=1, trust={"a": number})
    with pytest.raises(InvalidInput, match="above 0"):
        plurality([vote("a", "x")], seed=1, lineage_cap=-abs(number))


@given(votes_strategy)
def test_one_more_abstention_changes_nothing(votes: list[Vote]) -> None:
    assert plurality([*votes, vote("silent", None)], seed=1) == plurality(votes, seed=1)

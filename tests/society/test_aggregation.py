"""Plurality against cases that can be counted by hand, and its promises as properties."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from society.aggregation import plurality
from society.state import Vote


def vote(agent: str, key: str | None, trust: float = 1.0) -> Vote:
    return Vote(agent_id=agent, lineage="base", key=key, answer=key, trust=trust)


def test_most_votes_win_and_the_rest_is_dissent() -> None:
    decision = plurality([vote("a", "x"), vote("b", "y"), vote("c", "x")])
    assert decision.winner is not None
    assert (decision.winner.key, decision.winner.supporters, decision.tie) == ("x", ("a", "c"), None)
    assert decision.confidence == 3 / 6  # (2 + 1) / (3 votes + 2 answers + 1 for none of these)
    assert [cluster.key for cluster in decision.dissent] == ["y"]


def test_abstentions_are_no_votes() -> None:
    decision = plurality([vote("a", None), vote("b", "y"), vote("c", None)])
    assert decision.winner is not None
    assert decision.winner.key == "y"
    assert decision.confidence == 2 / 3


def test_nobody_knows() -> None:
    decision = plurality([vote("a", None)])
    assert decision.winner is None
    assert decision.confidence is None


def test_tie_goes_to_trust_and_says_so() -> None:
    decision = plurality([vote("a", "x", 0.4), vote("b", "y", 0.9)])
    assert decision.winner is not None
    assert (decision.winner.key, decision.tie) == ("y", "higher summed trust")


def test_equal_trust_goes_to_the_first_supporter_whatever_the_order() -> None:
    votes = [vote("b", "y"), vote("a", "x")]
    for order in (votes, votes[::-1]):
        decision = plurality(order)
        assert decision.winner is not None
        assert (decision.winner.key, decision.tie) == ("x", "equal trust: first supporter id")


votes_strategy = st.lists(st.sampled_from(["x", "y", "z", None]), min_size=1, max_size=9).map(
    lambda keys: [vote(f"agent-{seat}", key) for seat, key in enumerate(keys)]
)


@given(votes_strategy, st.randoms())
def test_decision_does_not_depend_on_the_order_of_votes(votes: list[Vote], random: object) -> None:
    shuffled = list(votes)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert plurality(votes) == plurality(shuffled)


@given(votes_strategy)
def test_posteriors_leave_room_for_none_of_these(votes: list[Vote]) -> None:
    clusters = plurality(votes).clusters
    voters = sum(vote.key is not None for vote in votes)
    total = sum(cluster.posterior for cluster in clusters)
    assert total < 1
    if clusters:
        assert abs(1 - total - 1 / (voters + len(clusters) + 1)) < 1e-12

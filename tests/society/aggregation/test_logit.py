"""Conditional logit: the clone check of 3.7, what its history may look like, and what it must not depend on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from society.aggregation.ballot import Ballot, Posterior, Resolved, Reviews
from society.aggregation.log_odds import weighted
from society.aggregation.logit import STRENGTHS, Logit
from society.aggregation.record import Record
from society.aggregation.selector import posterior
from society.aggregation.table import tabulate
from tests.society.aggregation.committees import independent, with_clones


def ask(rule: Logit, ballot: Ballot, lineages: dict[str, str] | None = None) -> Posterior:
    return posterior(rule, Record({}, {}, {}), ballot, lineages or {}, seed=0)


def copies(count: int) -> list[Resolved]:
    """One agent and its copies on 100 items with two answers, right on 75."""
    return [
        Resolved(Ballot({f"copy-{n}": "said" for n in range(count)}, options=2), "said" if item < 75 else "other")
        for item in range(100)
    ]


@pytest.mark.parametrize(("count", "weight"), [(1, 1.098612), (2, 0.549306), (5, 0.219722)])
def test_copies_of_one_agent_weigh_as_one(count: int, weight: float) -> None:
    history = copies(count)
    rule = Logit.fit(tabulate(history, {}), ridge=0, none_constant=False)
    assert rule.converged
    assert list(rule.overall.members.values()) == pytest.approx([weight] * count, abs=5e-7)
    assert ask(rule, history[0].ballot).confidence == pytest.approx(0.75)
    reliability = {f"copy-{n}": 0.75 for n in range(count)}
    naive = weighted(history[0].ballot, reliability).confidence
    assert naive == pytest.approx({1: 0.75, 2: 0.9, 5: 0.9959}[count], abs=5e-5)


histories = st.lists(
    st.tuples(st.sampled_from(["r", "w", "v", None]), st.sampled_from(["r", "w", None]), st.sampled_from(["r", "v"])),
    min_size=1,
    max_size=12,
)


def resolved(rows: list[tuple[str | None, ...]]) -> list[Resolved]:
    return [Resolved(Ballot(dict(zip("abc", row, strict=True))), "r") for row in rows]


@given(histories, st.randoms())
@settings(deadline=None)
def test_order_of_members_and_questions_and_silent_members_do_not_matter(
    rows: list[tuple[str | None, ...]], random: object
) -> None:
    history, ballot = resolved(rows), {"a": "x", "b": "y", "c": "x"}
    belief = ask(Logit.fit(tabulate(history, {})), Ballot(ballot))
    assert math.fsum([*belief.probabilities.values(), belief.none]) == pytest.approx(1)
    other = [Resolved(Ballot({**dict(reversed(case.ballot.votes.items())), "d": None}), "r") for case in history]
    random.shuffle(other)  # type: ignore[attr-defined]
    again = ask(Logit.fit(tabulate(other, {})), Ballot({"d": None, "c": "x", "b": "y", "a": "x"}))
    assert again.probabilities == pytest.approx(belief.probabilities, abs=1e-7)


@given(histories, st.integers(1, 6))
@settings(deadline=None)
def test_clones_change_no_probability_where_nothing_is_believed_beforehand(
    rows: list[tuple[str | None, ...]], clones: int
) -> None:
    # Everybody is right and wrong against each other once, so that no weight is infinite or undecided.
    history = resolved([*rows, ("r", "r", "r"), ("w", "w", "w"), ("w", "r", "r"), ("r", "w", "r"), ("r", "r", "w")])
    history = [Resolved(Ballot(case.ballot.votes, options=5), case.right) for case in history]
    crowd = [with_clones(case, "a", clones) for case in history]
    ballot = Resolved(Ballot({"a": "x", "b": "y", "c": "y"}, options=5), None)
    one = Logit.fit(tabulate(history, {}), ridge=1e-6, none_constant=False)
    many = Logit.fit(tabulate(crowd, {}), ridge=1e-6, none_constant=False)
    assert one.converged and many.converged
    alone, crowded = ask(one, ballot.ballot), ask(many, with_clones(ballot, "a", clones).ballot)
    assert crowded.probabilities == pytest.approx(dict(alone.probabilities), abs=1e-3)


def test_questions_on_which_nobody_was_right_teach_none_of_these() -> None:
    draw = np.random.default_rng(1)
    hard = [Resolved(Ballot({m: f"w{draw.integers(9)}" for m in "abc"}), None) for _ in range(60)]
    easy = independent([0.8, 0.7, 0.6], 60, seed=1)
    easy = [Resolved(Ballot(dict(zip("abc", case.ballot.votes.values(), strict=True))), case.right) for case in easy]
    alone = Ballot({"a": "x", "b": "y", "c": "z"})
    agreed = Ballot({"a": "x", "b": "x", "c": "x"})
    before, after = Logit.fit(tabulate(easy, {})), Logit.fit(tabulate(easy + hard, {}))
    assert ask(after, alone).none > ask(before, alone).none + 0.1
    assert ask(after, agreed).none < 0.2


def test_topics_lean_on_the_whole_and_a_lone_topic_is_the_whole() -> None:
    draw = np.random.default_rng(2)
    history = []
    for q in range(300):
        topic = "law" if q % 3 else "sums"
        accuracy = {"jurist": 0.9 if topic == "law" else 0.3, "clerk": 0.4 if topic == "law" else 0.9}
        votes = {m: "r" if draw.random() < p else f"w{draw.integers(6)}" for m, p in accuracy.items()}
        history.append(Resolved(Ballot(votes, topic=topic), "r"))
    rule = Logit.fit(tabulate(history, {}))
    votes = {"jurist": "a", "clerk": "b"}
    assert ask(rule, Ballot(votes, topic="law")).choice == "a"
    assert ask(rule, Ballot(votes, topic="sums")).choice == "b"
    assert ask(rule, Ballot(votes, topic="music")) == ask(rule, Ballot(votes))
    one_topic = [Resolved(Ballot(case.ballot.votes, topic="law"), "r") for case in history]
    assert Logit.fit(tabulate(one_topic, {})).topical == {}


def test_reviews_earn_their_influence() -> None:
    draw = np.random.default_rng(3)
    history = []
    for _ in range(200):
        votes = {m: "r" if draw.random() < 0.5 else f"w{draw.integers(3)}" for m in "ab"}
        reviews = {key: Reviews(*(2, 0) if key == "r" else (0, 2)) for key in set(votes.values())}
        history.append(Resolved(Ballot(votes, reviews=reviews), "r"))
    rule = Logit.fit(tabulate(history, {}))
    assert rule.overall.verified > 0.5
    assert rule.overall.refuted < -0.5
    ballot = Ballot({"a": "x", "b": "y"}, reviews={"y": Reviews(verified=2), "x": Reviews(refuted=2)})
    assert ask(rule, ballot).choice == "y"
    unread = Logit.fit(tabulate([Resolved(Ballot(case.ballot.votes), "r") for case in history], {}))
    assert (unread.overall.verified, unread.overall.refuted) == (0, 0)


def test_a_stated_confidence_can_count() -> None:
    draw = np.random.default_rng(4)
    history = []
    for _ in range(300):
        sure = {m: float(draw.choice([0.1, 0.95])) for m in "ab"}
        votes = {m: "r" if draw.random() < sure[m] else f"w{draw.integers(5)}" for m in "ab"}
        history.append(Resolved(Ballot(votes, confidences=sure), "r"))
    ballot = Ballot({"a": "x", "b": "y"}, confidences={"a": 0.1, "b": 0.95})
    assert {name: ask(Logit.fit(tabulate(history, {}), strength=name), ballot).choice for name in STRENGTHS} == {
        "ignored": ask(Logit.fit(tabulate(history, {})), ballot).choice,
        "stated": "y",
        "recalibrated": "y",
    }
    mute = Ballot({"a": "x"})
    assert ask(Logit.fit(tabulate(history, {}), strength="stated"), mute).confidence is not None


def test_newcomers_are_heard_and_a_crowd_of_them_weighs_as_two() -> None:
    rule = Logit.fit(tabulate(independent([0.8, 0.7, 0.6], 200, seed=5), {}))
    assert rule.newcomer > 0
    votes = {"member-0": "x"} | {f"new-{n}": "y" for n in range(50)}
    lineages = {f"new-{n}": "one base" for n in range(50)}
    assert ask(rule, Ballot(votes), lineages).choice == "x"
    pair = {member: votes[member] for member in ("member-0", "new-0", "new-1")}
    crowd, two = ask(rule, Ballot(votes), lineages), ask(rule, Ballot(pair), lineages)
    assert crowd.probabilities == pytest.approx(two.probabilities)


def test_members_that_join_late_or_miss_questions() -> None:
    history = independent([0.5, 0.9, 0.5], 300, seed=6)
    late = [
        Resolved(Ballot({m: v for m, v in case.ballot.votes.items() if m != "member-1" or q >= 200}), case.right)
        for q, case in enumerate(history)
    ]
    weights = Logit.fit(tabulate(late, {})).overall.members
    assert weights["member-1"] > weights["member-0"] > 0


@pytest.mark.parametrize(
    "history",
    [
        [],
        [Resolved(Ballot({}), "r")],
        [Resolved(Ballot({"a": None, "b": None}), "r")] * 30,
        [Resolved(Ballot({"a": "r"}), "r")] * 30,
        [Resolved(Ballot({"a": "r", "b": "r"}), None)] * 30,
        [Resolved(Ballot({"a": "r", "b": "s"}, options=2), "t")] * 30,
    ],
    ids=["nothing", "nobody", "all abstain", "one member", "never right", "right is no option"],
)
def test_histories_without_a_lesson(history: list[Resolved]) -> None:
    rule = Logit.fit(tabulate(history, {}))
    assert rule.converged
    belief = ask(rule, Ballot({"a": "x", "b": "y", "new": "y"}))
    assert math.fsum([*belief.probabilities.values(), belief.none]) == pytest.approx(1)
    assert all(math.isfinite(weight) for weight in rule.overall.members.values())
    assert ask(rule, Ballot({"a": None})).choice is None

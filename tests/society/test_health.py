"""What is measured of finished debates, against numbers that can be computed by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal_data.erasure.rows import Erased, empty_position
from personal_data.records import Debate, Position
from society.aggregation.scores import Estimate
from society.aggregation.selector import select
from society.finished import Again, Finished, finished
from society.health import Health, drifts, health
from society.learning import Learned, Learning, resolve
from society.trust import Ledger
from tests.society.test_protocol import debated, stages, villagers
from tests.village import Village

Json = dict[str, Any]


def told(
    blind: Mapping[str, str | None],
    *,
    right: str | None = "yes",
    chosen: str | None = "yes",
    lineages: Mapping[str, str] | None = None,
    again: Mapping[str, Again] | None = None,
    **more: Any,
) -> Finished:
    """A closed debate of four calls; without lineages each member is its own."""
    rest = {
        "id": "dbt_1", "kind": "closed", "seed": 0, "confidences": {}, "confidence": 0.8, "none": 0.1,
        "degraded": False, "trusted_share": 1.0, "calls": 4, **more,
    }  # fmt: skip
    lineages = {member: (lineages or {}).get(member, member) for member in blind}
    return Finished(blind=blind, right=right, chosen=chosen, lineages=lineages, again=again or {}, **rest)


def shares(*estimates: Estimate) -> list[tuple[float | None, int]]:
    return [(one.value, one.of) for one in estimates]


def test_of_no_debates_nothing_is_known() -> None:
    found = health([])
    assert (found.debates, found.resolved) == (0, 0)
    numbers = [
        found.society.accuracy.value, found.society.brier, found.society.ece, found.best_member.accuracy.value,
        found.majority.accuracy.value, found.lead_over_best.value, found.lead_over_majority.value, found.oracle.value,
        found.missed.value, found.single_solver.value, found.nobody_right.value, found.nobody_right_claimed,
        found.talk.changed.value, found.talk.conformed.value, found.talk.right_to_wrong.value,
        found.talk.wrong_to_right.value, found.variety.lineages, found.variety.members, found.variety.between,
        found.variety.within, found.calls_per_answer, found.calls_per_right_answer, found.coverage,
        found.degraded.value,
    ]  # fmt: skip
    assert numbers == [None] * len(numbers)


def test_without_outcomes_only_what_needs_none_is_measured() -> None:
    debates = [told({"a": "yes", "b": "no"}, right=None), told({"a": "x"}, kind="opinion", calls=None, degraded=True)]
    found = health(debates)
    assert (found.debates, found.resolved) == (2, 0)
    assert (found.society.accuracy.value, found.oracle.value, found.calls_per_right_answer) == (None, None, None)
    assert (found.calls_per_answer, found.coverage, found.degraded.value) == (4.0, 1.0, 0.5)


def test_accuracy_beside_the_best_by_its_record_and_the_majority() -> None:
    """a is right 3 of 3, b and c never, and the majority where both fail differently by a lot of three."""
    debates = [
        told({"a": "yes", "b": "no", "c": "no"}, chosen="no", confidence=0.6),
        told({"a": "yes", "b": "no", "c": "never"}, confidence=0.9),
        told({"a": "yes", "b": "no", "c": None}, confidence=0.9),
    ]
    found = health(debates)
    assert shares(found.society.accuracy, found.oracle, found.missed, found.single_solver, found.nobody_right) == [
        (2 / 3, 3), (1.0, 3), (1 / 3, 3), (1.0, 3), (0.0, 3),
    ]  # fmt: skip
    assert found.society.brier == pytest.approx((0.36 + 0.01 + 0.01) / 3)
    assert found.society.ece == pytest.approx((0.6 + 2 * 0.1) / 3)
    # Of the first question nobody has a record: one right of three; after it a is the best.
    assert found.best_member.accuracy.value == pytest.approx((1 / 3 + 1 + 1) / 3)
    assert found.lead_over_best.value == pytest.approx((-1 / 3 + 0 + 0) / 3)
    assert found.majority.accuracy.value == pytest.approx((0 + 1 / 3 + 1 / 2) / 3)
    assert found.lead_over_majority.value == pytest.approx((0 + 2 / 3 + 1 / 2) / 3)
    laplace = [3 / 6, 2 / 7, 2 / 5]
    expected = [0.25, (2 / 3) * laplace[1] ** 2 + (1 - laplace[1]) ** 2 / 3, (0.16 + 0.36) / 2]
    assert found.majority.brier == pytest.approx(sum(expected) / 3)
    assert (found.nobody_right_claimed, found.calls_per_right_answer) == (pytest.approx(0.1), 6.0)


def test_the_best_member_is_known_by_what_it_did_before_and_claims_what_it_stated() -> None:
    debates = [
        told({"a": "yes", "b": "no"}),
        told({"a": "no", "b": "yes"}, confidences={"a": 0.75, "b": 0.5}),
        told({}, chosen=None),
    ]
    found = health(debates)
    assert shares(found.best_member.accuracy) == [(0.25, 2)], "half of the first, then a, who is wrong"
    assert (found.best_member.forecasts, found.best_member.brier) == (1, 0.75**2)
    assert shares(found.lead_over_best, found.society.accuracy) == [(0.75, 2), (2 / 3, 3)]


def test_nobody_was_right_and_the_outcome_that_cannot_be_compared() -> None:
    found = health([told({"a": "no", "b": None}, chosen="no"), told({"a": "no"}, right="", chosen="no", none=None)])
    assert shares(found.nobody_right, found.single_solver, found.society.accuracy) == [(1.0, 2), (0.0, 2), (0.0, 2)]
    assert found.nobody_right_claimed == 0.1
    assert found.calls_per_right_answer is None


def test_what_talk_did() -> None:
    """a and g leave what is right, a for what most hold; b and c find it, c with nothing to go by; d stays."""
    blind = {"a": "yes", "b": "never", "c": "maybe", "d": "no", "e": None, "f": "no", "g": "yes"}
    again = {
        "a": Again("no", "unfounded"),
        "b": Again("yes", "new_evidence"),
        "c": Again("yes", "unfounded"),
        "d": Again("no", "unchanged"),
        "e": Again("yes", "new_evidence"),
        "g": Again("never", "unfounded"),
    }
    found = health([told(blind, again=again), told({"a": "x"}, kind="open", again={"a": Again("y", "unfounded")})]).talk
    assert shares(found.changed, found.conformed, found.right_to_wrong, found.wrong_to_right) == [
        (4 / 5, 5), (2 / 4, 4), (1.0, 2), (2 / 3, 3),
    ]  # fmt: skip


def test_who_finds_the_answer_in_the_last_round_makes_it_present() -> None:
    found = health([told({"a": "no"}, chosen="no", again={"a": Again("yes", "unfounded")})])
    assert shares(found.oracle, found.missed, found.single_solver) == [(1.0, 1), (1.0, 1), (0.0, 1)]


def right_when(pattern: Callable[[int], Mapping[str, bool]], count: int, **more: Any) -> list[Finished]:
    return [told({one: "yes" if was else "no" for one, was in pattern(n).items()}, **more) for n in range(count)]


def test_independent_members_are_worth_themselves_and_clones_one() -> None:
    independent = health(right_when(lambda n: {"a": n % 2 == 0, "b": n % 4 < 2}, 16)).variety
    assert (independent.between, independent.members, independent.lineages) == (pytest.approx(0), pytest.approx(2), 2)
    clones = health(right_when(lambda n: {"a": n % 2 == 0, "b": n % 2 == 0}, 16)).variety
    assert (clones.between, clones.members) == (pytest.approx(1), pytest.approx(1))
    apart = health(right_when(lambda n: {"a": n % 2 == 0, "b": n % 2 == 1}, 16)).variety
    assert (apart.between, apart.members) == (0.0, 2.0), "no more than independent"


def test_lineages_and_what_they_are_worth() -> None:
    """Two of one base that differ a little, one of another: rho .5 within, 0 between, n^2 / (n + 2 rho)."""
    pattern = {"a": [1, 1, 0, 0] * 4, "b": [1, 1, 0, 0] * 2 + [1, 0, 1, 0] * 2, "c": [1, 0, 1, 0] * 4}
    both = {"a": "base", "b": "base"}
    debates = right_when(lambda n: {member: bool(was[n]) for member, was in pattern.items()}, 16, lineages=both)
    found = health(debates).variety
    assert found.lineages == pytest.approx(9 / 5)
    assert (found.within, found.between) == (pytest.approx(0.5), pytest.approx(0.25))
    assert found.members == pytest.approx(9 / (3 + 2 * 0.5 + 4 * 0.25))


def test_too_few_questions_or_a_member_that_is_always_right_tell_nothing_of_independence() -> None:
    for debates in (
        right_when(lambda n: {"a": n % 2 == 0, "b": n % 4 < 2}, 7),
        right_when(lambda n: {"a": True, "b": n % 2 == 0}, 16),
    ):
        found = health(debates).variety
        assert (found.between, found.within, found.members, found.lineages) == (None, None, None, 2.0)


def test_a_new_adapter_is_compared_with_the_one_before() -> None:
    ledger = Ledger(discount=1.0)
    for revision, right in (("v1", True), ("v1", True), ("v1", False), ("v2", True), ("v2", True)):
        ledger = ledger.observed("a", revision, right=right)
    ledger = ledger.observed("b", "v1", right=True).observed("c", "", right=True)
    revisions = {"a": ["v2", "v1"], "b": ["v2", "v1"], "c": [""]}
    learned = Learned(select([], {}, seed=0), 6, ledger, revisions)
    found = {one.member: one for one in drifts(learned, {"a": "ada", "b": "ben", "c": "cleo", "d": "dora"})}
    assert set(found) == {"ada", "ben"}
    assert (found["ada"].before, found["ada"].now, found["ada"].change) == (3 / 5, 3 / 4, pytest.approx(0.15))
    assert (found["ben"].before, found["ben"].now, found["ben"].change) == (2 / 3, None, None)


keys = st.sampled_from(["yes", "no", "never", None])
some_debates = st.lists(
    st.builds(
        told,
        st.dictionaries(st.sampled_from("abc"), keys, max_size=3),
        right=st.sampled_from(["yes", "", None]),
        chosen=keys,
        confidence=st.floats(0, 1),
    ),
    max_size=12,
)


@given(some_debates)
def test_shares_are_shares_and_the_oracle_is_never_beaten(debates: list[Finished]) -> None:
    debates = [one for one in debates if one.chosen is None or one.chosen in one.blind.values()]
    found = health(debates)
    if found.resolved:
        assert found.oracle.value is not None and found.society.accuracy.value is not None
        assert found.missed.value is not None and found.nobody_right.value is not None
        assert found.oracle.value == pytest.approx(found.society.accuracy.value + found.missed.value)
        assert found.oracle.value == pytest.approx(1 - found.nobody_right.value)
        assert found.majority.accuracy.value is not None and found.majority.accuracy.value <= found.oracle.value + 1e-9
    for number in (found.variety.lineages, found.variety.members):
        assert number is None or 1 - 1e-9 <= number <= 3 + 1e-9


def read(village: Village) -> tuple[list[Finished], Health]:
    with village.database.reading() as session:
        found = finished(session, Debate.kind != "none", most=10)
    return found, health(found)


def settle(village: Village, debate_id: str, right: str) -> None:
    with village.database.session() as session:
        resolve(session, session.get_one(Debate, debate_id), right)


def test_real_debates_are_read_as_they_went(village: Village) -> None:
    """In the last round ben goes over to 7, which was verified; ada stays; cleo had it at first."""
    scripts = [stages("4", review="4"), stages("4", review="7", again="7"), stages("7", review="7")]
    ada, ben, cleo, _ = villagers(village, *scripts, stages("I do not know", review="7"))
    first = debated(village, ada)
    settle(village, first["id"], "7")
    debated(village, ada, plan={"rounds": 0})
    debates, found = read(village)
    agents = [village.agent_id(person) for person in (ada, ben, cleo)]
    assert [one.right for one in debates] == ["7", None]
    assert [debates[0].blind[one] for one in agents] == ["4", "4", "7"]
    assert {one: debates[0].again[one].key for one in agents} == dict(zip(agents, ["4", "7", "7"], strict=True))
    assert debates[0].calls == first["verdict"]["cost"]["calls"]
    assert (found.debates, found.resolved, found.talk.changed.of) == (2, 1, 3)
    assert shares(found.oracle, found.single_solver, found.talk.wrong_to_right) == [(1.0, 1), (1.0, 1), (0.5, 2)]
    assert found.society.accuracy.value == float(first["verdict"]["answer_key"] == "7")


def test_what_was_erased_counts_neither_way(village: Village) -> None:
    ada, ben, _ = villagers(village, stages("4"), stages("7"), stages("4"))
    found = debated(village, ada, plan={"rounds": 0})
    settle(village, found["id"], "7")
    for person, resolved in ((ben, 1), (ada, 1)):
        with village.database.session() as session:
            mine = session.query(Position).filter_by(agent_id=village.agent_id(person)).one()
            empty_position(session, Erased(), mine)
        [one], measured = read(village)
        assert village.agent_id(person) not in one.blind
        assert measured.resolved == resolved
    with village.database.session() as session:
        for row in session.query(Position):
            empty_position(session, Erased(), row)
    [one], measured = read(village)
    assert (one.blind, one.right, measured.resolved) == ({}, None, 0), "the verdict went with the last who held it"


def test_trust_drift_is_read_from_what_the_society_has_learnt(village: Village) -> None:
    ada, ben = villagers(village, stages("4"), stages("7"))
    for revision, right in (("v1", "7"), ("v2", "4")):
        debate_id = debated(village, ada, plan={"rounds": 0})["id"]
        with village.database.session() as session:
            for row in session.query(Position).filter_by(debate_id=debate_id, agent_id=village.agent_id(ada)):
                row.adapter_version_id = revision
        settle(village, debate_id, right)
    with village.database.reading() as session:
        learned = Learning().of(session, session.query(Debate).first().society_id, until=2e12)  # type: ignore[union-attr]
    found = drifts(learned, {village.agent_id(ada): "ada", village.agent_id(ben): "ben"})
    # Her adapter of now is none, of which nothing is known yet; v2 was right once.
    assert [(one.member, one.before, one.now) for one in found] == [("ada", pytest.approx(2 / 3), None)]

"""When prolonged practice lets go of its reference, and when it may not go on."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from personal_data.database import Database
from personal_data.records import AdapterVersion, Agent, Job, Model, TrainingRun, User
from training.prolonged import Course, Cycle, course, earlier_cycles, stagnant


def cycle(
    score: float,
    version: str | None = None,
    *,
    reference: str | None = None,
    drift: float | None = 0.1,
    task: str = "order 2",
) -> Cycle:
    return Cycle(task, score, drift, reference, version)


def test_the_schedule_of_the_reference() -> None:
    """Scores .50, .52, .52, .51 with patience 2: reset after the fourth."""
    scores = [0.50, 0.52, 0.52, 0.51]
    cycles = [cycle(score, "v1" if place == 1 else None) for place, score in enumerate(scores)]
    held = [course(cycles[:upto], "order 2", built_on=["v1"], patience=2).reference for upto in range(5)]
    assert held == [None, None, None, None, "v1"]


def test_three_evaluations_without_gain_are_needed_and_those_of_other_tasks_do_not_count() -> None:
    stuck = [cycle(0.5, "v1"), cycle(0.5), cycle(0.5)]
    assert course(stuck, "order 2", built_on=["v1"]) == Course()
    assert course([*stuck, cycle(0.1, task="add 1")], "order 2", built_on=["v1"]) == Course()
    assert course([*stuck, cycle(0.5)], "order 2", built_on=["v1"]) == Course("v1")


def test_without_a_passed_gate_there_is_nothing_to_reset_to() -> None:
    stuck = [cycle(0.5)] * 6
    assert course(stuck, "order 2", built_on=[]) == Course()
    assert course(stuck, "order 2", built_on=["by preferences"]) == Course()


def test_after_a_reset_the_reference_stays_until_the_next_and_the_count_begins_anew() -> None:
    first = [cycle(0.5, "v1"), cycle(0.5), cycle(0.5), cycle(0.5)]
    again = [cycle(0.6, "v2", reference="v1"), cycle(0.6, reference="v1"), cycle(0.6, reference="v1")]
    assert course([*first, *again], "order 2", built_on=["v2", "v1"]) == Course("v1")
    stuck = [*first, *again, cycle(0.6, reference="v1")]
    assert course(stuck, "order 2", built_on=["v2", "v1"]) == Course("v2")


def test_a_reference_that_was_rolled_back_is_none() -> None:
    assert course([cycle(0.6, "v2", reference="v1")], "order 2", built_on=[]) == Course()


def test_too_far_from_the_base_no_further_cycle_until_it_is_rolled_back() -> None:
    cycles = [cycle(0.5, "v1", drift=0.2), cycle(0.6, "v2", drift=0.31)]
    refused = course(cycles, "order 2", built_on=["v2", "v1"]).refused
    assert refused is not None
    assert "0.31 nats a token" in refused and "roll back" in refused
    assert course(cycles, "order 2", built_on=["v1"]).refused is None
    assert course([cycle(0.5, "v1", drift=0.3)], "order 2", built_on=["v1"]).refused is None
    unmeasured = [cycle(0.5, "v1", drift=None)]
    assert course(unmeasured, "order 2", built_on=["v1"]).refused is None


def test_what_a_refused_candidate_drifted_does_not_count() -> None:
    assert course([cycle(0.5, "v1"), cycle(0.9, drift=2.0)], "order 2", built_on=["v1"]).refused is None


@given(st.lists(st.floats(0, 1), max_size=9), st.integers(1, 4))
def test_stagnation_is_no_new_best(scores: list[float], patience: int) -> None:
    best_before = max(scores[:-patience], default=None)
    expected = best_before is not None and all(score <= best_before for score in scores[-patience:])
    assert stagnant(scores, patience) is expected


def test_what_the_records_tell_of_earlier_cycles(database: Database) -> None:
    """Only prolonged ones on this model that were evaluated; where the difficulty follows the agent, it counts."""
    prolonged = {"name": "order", "difficulty": None, "model": "m", "recipe": {"prolonged": True}}
    check = {"checks": [{"name": "order", "after": 0.5}], "reference": "v0"}
    told: list[dict[str, Any]] = [
        {"recipe": prolonged, "gate": check | {"difficulty": [1, 2.5]}, "decision": "published"},
        {"recipe": prolonged, "gate": check, "decision": "refused"},
        {"recipe": prolonged, "gate": {"gap": {}}, "decision": "skipped"},
        {"recipe": prolonged, "gate": None, "decision": None},
        {"recipe": prolonged | {"model": "other"}, "gate": check, "decision": "refused"},
        {"recipe": prolonged | {"recipe": {"prolonged": False}}, "gate": check, "decision": "refused"},
        {"recipe": prolonged | {"recipe": {}}, "gate": check, "decision": "refused"},
    ]
    kls = [9.0, 0.1, 0.2, 0.3, 5.0, None, 0.2]
    with database.session() as session:
        session.add_all([User(id="u", handle="u", name="U"), Model(name="m", kind="engine", lineage="l")])
        session.flush()
        session.add_all(
            [
                Agent(id="a", user_id="u", handle="a", model="m"),
                Job(id="j", kind="improve", user_id="u", subject_id="a", idempotency_key="k"),
            ]
        )
        session.flush()
        version = {"model": "m", "path": "p", "sha256": "s", "base_sha256": "b"}
        session.add(AdapterVersion(id="v1", agent_id="a", number=1, job_id="j", token=0, **version))
        for token, columns in enumerate(told):
            steps = [{"step": place, "kl_base": kl} for place, kl in enumerate(kls)] if token == 0 else []
            run = TrainingRun(job_id="j", token=token, stage="environment", agent_id="a", steps=steps, **columns)
            session.add(run)
    with database.reading() as session:
        found = earlier_cycles(session, "a", "m")
    assert found == [
        Cycle("order None", score=3.0, drift=0.2, reference="v0", version_id="v1"),
        Cycle("order None", score=0.5, drift=None, reference="v0", version_id=None),
    ]

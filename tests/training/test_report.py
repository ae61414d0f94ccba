"""The report of an improvement tells what its rows tell, on either database, whatever shape they are in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import pytest
import sqlalchemy as sa

from agents.backend import SampledTokens
from agents.messages import Message
from personal_data.database import Database
from personal_data.records import AdapterVersion, Agent, Job, Model, TrainingRun, User
from personal_data.records import Rollout as RolloutRow
from personal_data.settings import BUILTIN_BASE, Settings
from tests.training.test_improve import PRACTICE, Workplace
from training.journal import Journal, close_interrupted, open_run
from training.judge import Ruling
from training.report.curves import panels
from training.report.markdown import markdown
from training.report.page import page
from training.report.record import VERSION, Report, Scored, Stage, report
from training.rollouts import Rollout, Task

GATE = {
    "passed": False,
    "checks": [{"name": "recall", "ok": False, "before": 0.5, "after": 0.25, "n": 4, "note": "1 lost"}],
    "gap": {"n": 64, "gap": 0.25, "error": None},
    "stopped_early": "entropy fell",
    "samples": [{"prompt": "2+2?", "before": "5", "after": "4", "answer": None}],
    "left_out": {"too long": 3},
}
RECIPE = {"name": "order", "difficulty": 2, "reward": "blind", "seed": 7, "recipe": {"lr": 1e-3}}


def people(database: Database) -> None:
    """Ada with a job in its second attempt, and Ben."""
    with database.session() as session:
        session.add(Model(name="m", kind="engine", lineage="l"))
        for name in ("a", "b"):
            session.add(User(id=name, handle=name, name=name))
            session.flush()
            session.add(Agent(id=name, user_id=name, handle=f"agent-{name}", model="m"))
        session.flush()
        for name in ("a", "b"):
            session.add(Job(id=f"j{name}", kind="improve", user_id=name, subject_id=name, idempotency_key=name))
        session.flush()
        for name, number in (("a", 3), ("b", 9)):
            session.add(version(f"old-{name}", name, number))


def version(version_id: str, agent_id: str, number: int, *, token: int = 1) -> AdapterVersion:
    return AdapterVersion(
        id=version_id,
        agent_id=agent_id,
        number=number,
        job_id=f"j{agent_id}" if token == 2 else "jb",
        token=number if token == 1 else token,
        path=version_id,
        sha256="5" * 64,
        base_sha256="6" * 64,
    )


def begin(database: Database, stage: str, *, token: int = 2, parent: str | None = None, **changes: Any) -> Journal:
    told: dict[str, Any] = {"recipe": RECIPE, "data_sha256": "d" * 64, "made_from": {"feedback": ["f1", "f2"]}}
    return open_run(
        database,
        job_id="ja",
        token=token,
        stage=stage,
        agent_id="a",
        parent_version_id=parent,
        **(told | changes),
    )


def rollout(group: int, text: str) -> Rollout:
    task = Task((Message("user", f"question {group}"),), f"question {group}")
    return Rollout(group, task, SampledTokens((1,), (2,), (-1.0,), text, "stop"))


def told_of(database: Database, job_id: str = "ja") -> Report:
    with database.reading() as session:
        return report(session, session.get_one(Job, job_id))


def set_times(database: Database, run: Journal, created_at: float, finished_at: float | None = None) -> None:
    with database.session() as session:
        times = {"created_at": created_at, "finished_at": finished_at}
        session.execute(sa.update(TrainingRun).where(TrainingRun.id == run.run_id).values(**times))


def close(database: Database, run: Journal, decision: Any, gate: Any = None) -> None:
    with database.session() as session:
        run.decide(session, decision, ["because"], gate)


def test_it_tells_all_runs_of_all_attempts_with_what_they_measured(any_database: Database) -> None:
    people(any_database)
    broken_off = begin(any_database, "preferences", token=1)
    with any_database.session() as session:
        close_interrupted(session, "ja", 2)
    first = begin(any_database, "preferences", parent="old-a", recipe={"epochs": 2})
    second = begin(any_database, "environment", parent="old-b", made_from={})
    second.step({"loss": 0.5, "kl": None})
    close(any_database, first, "published")
    close(any_database, second, "refused", GATE)
    for run, created_at in ((first, 100.0), (second, 130.0)):
        set_times(any_database, run, created_at, 175.0)
    with any_database.session() as session:
        session.add(version("new", "a", 4, token=2))
        session.flush()
        job = session.get_one(Job, "ja")
        job.state, job.result, job.attempts = "done", {"decision": "published"}, 2
        job.created_at, job.finished_at = 90.0, 180.0
        session.get_one(Agent, "a").live_version_id = "new"
    told = told_of(any_database)
    assert (told.version, told.id, told.agent, told.state) == (VERSION, "ja", "agent-a", "done")
    assert (told.decision, told.seconds, told.attempts) == ("published", 90.0, 2)
    assert told.published is not None
    assert asdict(told.published) == {"id": "new", "number": 4, "sha256": "5" * 64, "live": True}
    assert [(one.run_id, one.attempt, one.seconds) for one in told.stages] == [
        (broken_off.run_id, 1, None),
        (first.run_id, 2, 30.0),
        (second.run_id, 2, 45.0),
    ]
    _, preferences, practice = told.stages
    assert (preferences.parent_version, preferences.taught_by, preferences.passed) == (3, None, None)
    assert preferences.learned_from == {"feedback": 2} and practice.learned_from == {}
    assert practice.parent_version is None, "a version of another agent is nobody's to tell"
    assert (practice.taught_by, practice.recipe, practice.data_sha256) == ("blind", RECIPE, "d" * 64)
    assert practice.steps == [{"step": 0, "loss": 0.5, "kl": None}]
    assert (practice.decision, practice.reasons, practice.passed) == ("refused", ["because"], False)
    assert [asdict(check) for check in practice.checks] == GATE["checks"]
    assert [asdict(gap) for gap in practice.gaps] == [{"difficulty": "2", "numbers": GATE["gap"]}]
    assert (practice.stopped_early, practice.samples) == ("entropy fell", GATE["samples"])
    assert practice.measured == {"left_out": {"too long": 3}}


def test_gaps_of_several_difficulties_are_told_by_them(database: Database) -> None:
    people(database)
    run = begin(database, "environment")
    close(database, run, "skipped", {"gaps": {"1": {"gap": 0.5}, "3": {"gap": None}}})
    (stage,) = told_of(database).stages
    assert [(gap.difficulty, gap.numbers) for gap in stage.gaps] == [("1", {"gap": 0.5}), ("3", {"gap": None})]


def test_rollouts_of_both_ends_are_shown_the_best_and_the_worst_and_those_without_a_score(database: Database) -> None:
    people(database)
    run = begin(database, "environment")
    sampled = [rollout(place // 2, f"{place}") for place in range(18)]
    values = [None if place >= 16 else place / 16 for place in range(18)]
    for _ in range(3):
        run.step({}, sampled, {"blind": values, "truth": [None] * 18}, [0.0] * 18)
    (stage,) = told_of(database).stages
    assert stage.rollouts_stored == 3 * 18
    assert [one.step for one in stage.rollouts] == [0, 2]
    for step in stage.rollouts:
        assert said(step.best) == ["15", "13", "11"], "one a group"
        assert said(step.worst) == ["0", "2", "4"]
        assert said(step.unscored) == ["16"]
        assert step.best[0].rewards == {"blind": 15 / 16, "truth": None}
        assert (step.best[0].prompt, step.best[0].group) == ("question 7", 7)


def test_no_rollout_is_both_best_and_worst(database: Database) -> None:
    people(database)
    run = begin(database, "environment")
    run.step({}, [rollout(0, "same"), rollout(0, "same")], {"blind": [1.0, 1.0]}, [0.0, 0.0])
    (stage,) = told_of(database).stages
    (step,) = stage.rollouts
    assert (said(step.best), said(step.worst), said(step.unscored)) == (["same"], [], [])


def test_some_judgements_of_both_ends_are_shown_and_those_that_did_not_parse(database: Database) -> None:
    people(database)
    run = begin(database, "environment")
    run.hear(Ruling("solve it", "answer: 5", ("5",)))
    run.keep_rulings()
    for step in range(3):
        for place in range(4):
            run.hear(Ruling(f"{step} {place}?", "x", None if place == 3 else (1, 0.5)))
        run.step({})
    run.hear(Ruling("too long", None, None))
    close(database, run, "refused")
    (stage,) = told_of(database).stages
    assert (stage.judgements_stored, stage.judgements_left_out) == (14, 0)
    assert [(one.step, one.prompt, one.said, one.verdict) for one in stage.judgements] == [
        (None, "solve it", "answer: 5", "5"), (None, "too long", None, None),
        (0, "0 0?", "x", "1, 0.5"), (0, "0 1?", "x", "1, 0.5"), (0, "0 3?", "x", None),
        (2, "2 0?", "x", "1, 0.5"), (2, "2 1?", "x", "1, 0.5"), (2, "2 3?", "x", None),
    ]  # fmt: skip
    assert "Step 2, verdict 1, 0.5:" in markdown(told_of(database))


def said(rollouts: Sequence[Scored]) -> list[str]:
    return [one.completion for one in rollouts]


def test_one_that_waits_has_a_report_too(database: Database) -> None:
    people(database)
    told = told_of(database)
    assert (told.stages, told.decision, told.published, told.seconds) == ([], None, None, None)
    assert "No result: queued." in markdown(told) and "No result: queued." in page(told)


@pytest.mark.parametrize(
    "gate",
    [
        {"passed": "yes", "checks": "all", "samples": 7, "gap": [], "gaps": [[]], "stopped_early": {}},
        {"checks": [None, 1, {"name": 5, "ok": "no", "before": "x", "n": True}], "samples": [{"prompt": ["x"]}, 3]},
        {"gaps": {"1": "wide"}, "more": [[{"a": [1, "x", None, True]}]], "huge": 10**400},
        {"samples": [{"after": "\ud800\0"}], "gap": {"n": "\udfff"}, "\ud800": 1},
    ],
)
def test_what_has_another_shape_is_missing_and_breaks_nothing(database: Database, gate: dict[str, Any]) -> None:
    """Such rows come in with an archive that somebody has written by hand; and models write what they like."""
    people(database)
    run = begin(database, "environment", recipe={"reward": ["blind"], "difficulty": "hard"}, made_from={"feedback": 3})
    with database.session() as session:
        steps = [{"step": "x", "kl": "low", "info": [1], "loss": True}, {"entropy": 10**400}, {}]
        session.execute(sa.update(TrainingRun).values(gate=gate, steps=steps, decision="refused"))
        row = {"prompt": "p", "completion": "c", "rewards": {"blind": "good", "x": True}, "finish_reason": "stop"}
        session.add(RolloutRow(run_id=run.run_id, step=0, group=0, **row))
    told = told_of(database)
    (stage,) = told.stages
    assert (stage.taught_by, stage.passed, stage.stopped_early) == (None, None, None)
    assert all(check.before is None and check.n is None and check.ok is None for check in stage.checks)
    assert stage.rollouts[0].unscored[0].rewards == {"blind": None, "x": None}
    assert [curve.present for panel in panels(stage) for curve in panel.curves] == [[1]]
    for form in (json.dumps(asdict(told), ensure_ascii=False), markdown(told), page(told)):
        form.encode()


def test_the_fields_of_this_version() -> None:
    """Whoever takes one away, or lets it mean something else, raises VERSION."""
    assert VERSION == 1
    assert {one.name for one in fields(Report)} >= {
        "version", "id", "agent", "state", "attempts", "error", "decision", "published", "created_at", "finished_at",
        "seconds", "stages",
    }  # fmt: skip
    assert {one.name for one in fields(Stage)} >= {
        "run_id", "attempt", "stage", "decision", "reasons", "recipe", "taught_by", "data_sha256", "learned_from",
        "parent_version", "started_at", "seconds", "steps", "stopped_early", "passed", "checks", "gaps", "measured",
        "samples", "rollouts_stored", "rollouts", "judgements_stored", "judgements_left_out", "judgements",
    }  # fmt: skip


def test_a_real_improvement_is_reported_whole(settings: Settings, database: Database) -> None:
    place = Workplace(settings, database, BUILTIN_BASE)
    result = place.improve(PRACTICE)
    (run,), (job,) = place.rows(TrainingRun), place.rows(Job)
    told = told_of(database, job.id)
    (stage,) = told.stages
    assert (told.decision, stage.decision) == (result["decision"], run.decision)
    assert (told.published is not None) is (result["version"] is not None)
    assert (stage.steps, stage.taught_by) == (run.steps, "truth")
    assert [asdict(check) for check in stage.checks] == run.gate["checks"]
    assert stage.gaps and stage.samples == run.gate["samples"]
    assert stage.seconds is not None and 0 < stage.seconds <= (told.seconds or 0)
    drawn = {panel.title: panel for panel in panels(stage)}
    assert {"Reward", "KL from the start", "Entropy", "Length", "Groups that teach", "Loss", "Gradient norm"} <= set(
        drawn
    )
    assert drawn["Reward"].curves[0].values == tuple(step["reward_truth"] for step in run.steps)
    for form in (markdown(told), page(told)):
        assert all(check.name in form.replace("&#x27;", "'") for check in stage.checks)
        assert stage.rollouts[-1].best[0].completion in form

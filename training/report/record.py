"""One improvement as data: all its runs with steps, scores, measurements and decisions. Door: `report`.

Built from the rows of one job alone, at any time. What was not recorded is None or absent, never 0. `VERSION` grows
whenever a field changes its name or its meaning; a field that is added changes neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from agents.messages import storable
from personal_data.records import AdapterVersion, Agent, Job, Judgement, Rollout, TrainingRun
from training.report.reading import items, mapping, number, text

VERSION = 1
_SHOWN = 3
"""Rollouts of each kind and step, and judgements of each step."""
_TOLD_APART = frozenset({"passed", "checks", "gap", "gaps", "stopped_early", "samples"})
"""What the gate's record holds that has a field of its own here."""


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison of the gate over `n` items: the candidate (`after`) with what was live (`before`)."""

    name: str
    ok: bool | None
    before: float | None
    after: float | None
    n: float | None
    note: str


@dataclass(frozen=True, slots=True)
class LevelGap:
    """What thinking longer gains at one difficulty: the numbers of `training.judge.Gap`."""

    difficulty: str | None
    numbers: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Scored:
    """One rollout with every score it was given."""

    id: str
    group: int
    prompt: str
    completion: str
    rewards: dict[str, float | None]
    advantage: float | None
    finish_reason: str


@dataclass(frozen=True, slots=True)
class StepRollouts:
    """Some rollouts of one step: those that the reward that teaches liked best and least, the extreme ones first, and
    some that it did not score; of each kind one a group.
    """

    step: int
    best: list[Scored]
    worst: list[Scored]
    unscored: list[Scored]


@dataclass(frozen=True, slots=True)
class Judged:
    """What a judge was asked, what it said, and what code read in it; `step` None: before the first or after the last.

    `verdict` is one word or number, or one a candidate, in words.
    """

    id: str
    step: int | None
    prompt: str
    said: str | None
    verdict: str | None


@dataclass(frozen=True, slots=True)
class Stage:
    """One run: one stage in one attempt at the job. Times are seconds, or seconds since the epoch.

    `seconds` lasts until the next stage began, of the last one until all were decided. `taught_by` is the reward that
    taught, `learned_from` how many of what it was made from, `measured` what the gate recorded beside all else here.
    `judgements` are some from before the first step, of the first and of the last one; `judgements_left_out` is how
    many were made and not stored, None where nothing was said of any.
    """

    run_id: str
    attempt: int
    stage: str
    decision: str | None
    reasons: list[str]
    recipe: dict[str, Any]
    taught_by: str | None
    data_sha256: str | None
    learned_from: dict[str, int] | None
    parent_version: int | None
    started_at: float
    seconds: float | None
    steps: list[dict[str, Any]]
    stopped_early: str | None
    passed: bool | None
    checks: list[Check]
    gaps: list[LevelGap]
    measured: dict[str, Any]
    samples: list[dict[str, str | None]]
    rollouts_stored: int
    rollouts: list[StepRollouts]
    judgements_stored: int
    judgements_left_out: int | None
    judgements: list[Judged]


@dataclass(frozen=True, slots=True)
class Version:
    """The adapter version that an improvement published."""

    id: str
    number: int
    sha256: str
    live: bool


@dataclass(frozen=True, slots=True)
class Report:
    """One improvement of one agent; `seconds` is from asking for it to its end."""

    version: int
    id: str
    agent: str | None
    state: str
    attempts: int
    error: str | None
    decision: str | None
    published: Version | None
    created_at: float
    finished_at: float | None
    seconds: float | None
    stages: list[Stage]


def report(session: Session, job: Job) -> Report:
    """Everything known of an improvement so far."""
    runs = list(session.scalars(select(TrainingRun).where(TrainingRun.job_id == job.id).order_by(TrainingRun.id)))
    agent = session.get(Agent, job.subject_id)
    return Report(
        version=VERSION,
        id=job.id,
        agent=None if agent is None else agent.handle,
        state=job.state,
        attempts=job.attempts,
        error=job.error,
        decision=text(mapping(job.result).get("decision")),
        published=_published(session, job, agent),
        created_at=job.created_at,
        finished_at=job.finished_at,
        seconds=None if job.finished_at is None else job.finished_at - job.created_at,
        stages=[_stage(session, run, runs) for run in runs],
    )


def _published(session: Session, job: Job, agent: Agent | None) -> Version | None:
    row = session.scalar(select(AdapterVersion).filter_by(job_id=job.id, agent_id=job.subject_id))
    if row is None:
        return None
    return Version(row.id, row.number, row.sha256, agent is not None and agent.live_version_id == row.id)


def _stage(session: Session, run: TrainingRun, runs: Sequence[TrainingRun]) -> Stage:
    gate = mapping(run.gate)
    taught_by = text(run.recipe.get("reward"))
    stored = session.scalar(select(func.count()).select_from(Rollout).where(Rollout.run_id == run.id))
    heard = session.scalar(select(func.count()).select_from(Judgement).where(Judgement.run_id == run.id))
    made_from = mapping(run.made_from)
    return Stage(
        run_id=run.id,
        attempt=sorted({one.token for one in runs}).index(run.token) + 1,
        stage=run.stage,
        decision=run.decision,
        reasons=[found for reason in run.reasons if (found := text(reason)) is not None],
        recipe=storable(run.recipe),
        taught_by=taught_by,
        data_sha256=run.data_sha256,
        learned_from=None if run.made_from is None else {name: len(items(ids)) for name, ids in made_from.items()},
        parent_version=_parent_number(session, run),
        started_at=run.created_at,
        seconds=_seconds(run, runs),
        steps=[storable(step) for step in run.steps],
        stopped_early=text(gate.get("stopped_early")),
        passed=_truth(gate.get("passed")),
        checks=[_check(mapping(one)) for one in items(gate.get("checks"))],
        gaps=_gaps(gate, run.recipe),
        measured={name: storable(value) for name, value in gate.items() if name not in _TOLD_APART},
        samples=[{name: text(said) for name, said in mapping(one).items()} for one in items(gate.get("samples"))],
        rollouts_stored=stored or 0,
        rollouts=_rollouts(session, run.id, taught_by) if stored else [],
        judgements_stored=heard or 0,
        judgements_left_out=run.judgements_left_out,
        judgements=_judgements(session, run.id) if heard else [],
    )


def _parent_number(session: Session, run: TrainingRun) -> int | None:
    """The number of the version it started from, of this very agent; None is the bare base, or one that is gone."""
    query = select(AdapterVersion.number).filter_by(id=run.parent_version_id, agent_id=run.agent_id)
    return session.scalar(query) if run.parent_version_id else None


def _seconds(run: TrainingRun, runs: Sequence[TrainingRun]) -> float | None:
    """None where the run was not decided: when an attempt broke off nobody knows."""
    later = [one.created_at for one in runs if one.token == run.token and one.id > run.id]
    end = min(later, default=run.finished_at if run.decision else None)
    return None if end is None else end - run.created_at


def _truth(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _check(row: dict[str, Any]) -> Check:
    return Check(
        name=text(row.get("name")) or "?",
        ok=_truth(row.get("ok")),
        before=number(row.get("before")),
        after=number(row.get("after")),
        n=number(row.get("n")),
        note=text(row.get("note")) or "",
    )


def _gaps(gate: dict[str, Any], recipe: dict[str, Any]) -> list[LevelGap]:
    """One gap by itself was measured at the recipe's difficulty; several are told by theirs."""
    level = number(recipe.get("difficulty"))
    alone = [(None if level is None else f"{level:g}", mapping(gate.get("gap")))]
    found = [*alone, *((name, mapping(one)) for name, one in mapping(gate.get("gaps")).items())]
    return [LevelGap(name, {key: number(value) for key, value in gap.items()}) for name, gap in found if gap]


def _rollouts(session: Session, run_id: str, taught_by: str | None) -> list[StepRollouts]:
    """Of the first and of the last step."""
    steps = select(func.min(Rollout.step), func.max(Rollout.step)).where(Rollout.run_id == run_id)
    ends = sorted(set(session.execute(steps).one()))
    query = select(Rollout).where(Rollout.run_id == run_id).order_by(Rollout.id)
    return [_of_step(step, session.scalars(query.where(Rollout.step == step)), taught_by) for step in ends]


def _of_step(step: int, rows: Iterable[Rollout], taught_by: str | None) -> StepRollouts:
    different = {(row.group, row.completion): _scored(row) for row in rows}.values()
    valued = [(value, one) for one in different if (value := one.rewards.get(taught_by or "")) is not None]
    ranked = [one for _, one in sorted(valued, key=itemgetter(0), reverse=True)]
    best = _one_a_group(ranked)
    return StepRollouts(
        step=step,
        best=best,
        worst=_one_a_group(one for one in reversed(ranked) if one not in best),
        unscored=_one_a_group(one for one in different if one.rewards.get(taught_by or "") is None),
    )


def _one_a_group(rollouts: Iterable[Scored]) -> list[Scored]:
    """The first of each group, a few groups."""
    found: dict[int, Scored] = {}
    for one in rollouts:
        found.setdefault(one.group, one)
    return list(found.values())[:_SHOWN]


def _judgements(session: Session, run_id: str) -> list[Judged]:
    """A few of each of three times, those that did not parse last."""
    mine = Judgement.run_id == run_id
    ends = set(session.execute(select(func.min(Judgement.step), func.max(Judgement.step)).where(mine)).one())
    rows = select(Judgement).where(mine, or_(Judgement.step.is_(None), Judgement.step.in_(ends - {None})))
    by_step: dict[int | None, list[Judged]] = {}
    for row in session.scalars(rows.order_by(Judgement.id)):
        verdict = [str(one) for one in items(row.verdict)]
        by_step.setdefault(row.step, []).append(
            Judged(row.id, row.step, row.prompt, row.said, ", ".join(verdict) if verdict else None)
        )
    found = []
    for step in sorted(by_step, key=lambda one: -1 if one is None else one):
        read = [one for one in by_step[step] if one.verdict is not None]
        unread = [one for one in by_step[step] if one.verdict is None]
        found += [*read[: _SHOWN - bool(unread)], *unread][:_SHOWN]
    return found


def _scored(row: Rollout) -> Scored:
    return Scored(
        id=row.id,
        group=row.group,
        prompt=row.prompt,
        completion=row.completion,
        rewards={name: number(value) for name, value in mapping(row.rewards).items()},
        advantage=row.advantage,
        finish_reason=row.finish_reason,
    )

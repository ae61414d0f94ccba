"""The record of a training run while it happens: its recipe, every step, every rollout with its scores, what judges
said, the decision.

Rows belong to one (job, token, stage): a worker that lost its lease can only write to its own. `decide` writes in the
caller's transaction: a published decision appears together with the version it speaks of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

from agents.messages import storable, well_formed
from personal_data.database import Database
from personal_data.records import AdapterVersion, Judgement, TrainingRun, now
from personal_data.records import Rollout as RolloutRow
from training.judge import Ruling
from training.rollouts import Rollout

Decision = Literal["published", "refused", "skipped"]

ROOM = 32_768
"""Characters of judgements that are stored a step, and of those before the first step and after the last: a rubric's
tournament asks hundreds of times a step, and most of what it is asked are the same rollouts in pairs."""


class Journal:
    """Writes one training run."""

    def __init__(self, database: Database, run_id: str) -> None:
        self._database = database
        self.run_id = run_id
        self._steps: list[dict[str, Any]] = []
        self._heard: list[Ruling] = []
        self._known = set[bytes]()
        self._left_out: int | None = None

    def hear(self, ruling: Ruling) -> None:
        """Keep what a judge said, to be stored with the step; equal rulings are one."""
        digest = hashlib.blake2b(repr((ruling.prompt, ruling.said)).encode(), digest_size=16).digest()
        if digest not in self._known:
            self._known.add(digest)
            self._heard.append(ruling)

    def keep_rulings(self) -> None:
        """Store what was said outside of any step."""
        with self._database.session() as session:
            self._store_rulings(session, None)

    def step(
        self,
        numbers: Mapping[str, Any],
        rollouts: Sequence[Rollout] = (),
        rewards: Mapping[str, Sequence[float | None]] | None = None,
        advantages: Sequence[float] = (),
    ) -> None:
        """Store one optimiser step and what was sampled for it; what is not finite is stored as missing."""
        index = len(self._steps)
        self._steps.append(storable({"step": index, **numbers}))
        rows = [
            RolloutRow(
                run_id=self.run_id,
                step=index,
                group=rollout.group,
                prompt="\n".join(message.content for message in rollout.task.messages),
                completion=well_formed(rollout.sampled.text),
                rewards=storable({name: values[place] for name, values in (rewards or {}).items()}),
                advantage=storable(advantages[place]),
                finish_reason=rollout.sampled.finish_reason,
            )
            for place, rollout in enumerate(rollouts)
        ]
        with self._database.session() as session:
            session.execute(sa.update(TrainingRun).where(TrainingRun.id == self.run_id).values(steps=self._steps))
            session.add_all(rows)
            self._store_rulings(session, index)

    def _store_rulings(self, session: Session, step: int | None) -> None:
        """Store as many of those heard as there is room for, drawn by chance, and how many were left out."""
        if not self._heard:
            return
        order, room, kept = list(range(len(self._heard))), ROOM, list[int]()
        Random(f"rulings {step}").shuffle(order)
        for place in order:
            size = len(self._heard[place].prompt) + len(self._heard[place].said or "")
            if size <= room:
                kept.append(place)
                room -= size
        session.add_all(self._row(self._heard[place], step) for place in sorted(kept))
        self._left_out = (self._left_out or 0) + len(self._heard) - len(kept)
        counted = {"judgements_left_out": self._left_out}
        session.execute(sa.update(TrainingRun).where(TrainingRun.id == self.run_id).values(counted))
        self._heard = []

    def _row(self, ruling: Ruling, step: int | None) -> Judgement:
        return Judgement(
            run_id=self.run_id,
            step=step,
            prompt=well_formed(ruling.prompt),
            said=None if ruling.said is None else well_formed(ruling.said),
            verdict=None if ruling.verdict is None else storable(list(ruling.verdict)),
        )

    def decide(
        self,
        session: Session,
        decision: Decision,
        reasons: Sequence[str],
        gate: Mapping[str, Any] | None,
        made_from: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the decision with its reasons and measurements, and what it was made from where that is known better
        than at first."""
        values = {"decision": decision, "reasons": list(reasons), "gate": gate and dict(gate), "finished_at": now()}
        values |= {} if made_from is None else {"made_from": dict(made_from)}
        session.execute(sa.update(TrainingRun).where(TrainingRun.id == self.run_id).values(**values))
        self._store_rulings(session, None)


def open_run(
    database: Database,
    *,
    job_id: str,
    token: int,
    stage: str,
    agent_id: str,
    parent_version_id: str | None,
    recipe: Mapping[str, Any],
    data_sha256: str | None,
    made_from: Mapping[str, Any],
) -> Journal:
    """Start the row of a run."""
    row = TrainingRun(
        job_id=job_id,
        token=token,
        stage=stage,
        agent_id=agent_id,
        parent_version_id=parent_version_id,
        recipe=dict(recipe),
        data_sha256=data_sha256,
        made_from=dict(made_from),
    )
    with database.session() as session:
        session.add(row)
    return Journal(database, row.id)


def close_interrupted(session: Session, job_id: str, token: int) -> None:
    """Close the runs of earlier attempts at this job that a crash left open."""
    left = sa.and_(TrainingRun.job_id == job_id, TrainingRun.token < token, TrainingRun.finished_at.is_(None))
    reason = ["interrupted: its worker stopped before a decision, the job was started again"]
    session.execute(sa.update(TrainingRun).where(left).values(reasons=reason, finished_at=now()))


def tried_before(
    session: Session,
    *,
    agent_id: str,
    stage: str,
    data_sha256: str,
    recipe: Mapping[str, Any],
    live: AdapterVersion | None,
) -> str | None:
    """Why this data need not be learned again, None when it should be.

    It was learned by the live version or by one that it builds on; or the gate refused twice what the same recipe,
    whatever its seed, made of it on top of the live version.
    """
    run = TrainingRun
    same = (run.agent_id == agent_id, run.stage == stage, run.data_sha256 == data_sha256)
    columns = (run.decision, run.job_id, run.token, run.parent_version_id, run.recipe, run.gate)
    runs = session.execute(sa.select(*columns).where(*same)).all()
    published = {(one.job_id, one.token) for one in runs if one.decision == "published"}
    if published.intersection((one.job_id, one.token) for one in lineage(session, live)):
        return f"nothing new: these {stage} were learned before"
    start, wanted = live.id if live else None, {**recipe, "seed": None}
    again = [one for one in runs if one.parent_version_id == start and {**one.recipe, "seed": None} == wanted]
    if sum(one.decision == "refused" and not (one.gate or {}).get("passed") for one in again) >= 2:
        return f"nothing new: these {stage} were tried twice and refused both times"
    return None


def lineage(session: Session, version: AdapterVersion | None) -> Iterator[AdapterVersion]:
    """A version and every one that it builds on, newest first."""
    while version is not None:
        yield version
        version = session.get(AdapterVersion, version.parent_id) if version.parent_id else None

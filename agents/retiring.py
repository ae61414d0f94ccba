"""Adapter versions that were trained on what their owner has erased: which they are, and what is live instead.

Door: `retire`, in the transaction that erases. A run says what it was made from; one that does not say it may have been
made from anything that was there before it began. What builds on a retired version is retired with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from personal_data.records import AdapterVersion, Agent, Job, Judgement, Rollout, TrainingRun, now

_BEFORE_IT_WAS_WRITTEN_DOWN = "preferences"
"""The one stage that learned from what the owner said when runs did not yet say what they were made from."""
_ERASED = "what it learned from was erased"


def retire(session: Session, agent_id: str, *, gone: Mapping[str, Set[str]], since: float) -> list[AdapterVersion]:
    """Retire what was trained on these, and let the agent answer with the newest version that was not.

    Args:
        gone: ids of what was erased, by kind as runs name it: feedback, memories, debates.
        since: when the oldest of what was erased came; what was trained before knew nothing of it.

    Returns:
        What was retired now, the one that was live first.
    """
    agent = session.get_one(Agent, agent_id, with_for_update=True, populate_existing=True)
    query = select(AdapterVersion).where(AdapterVersion.agent_id == agent_id).order_by(AdapterVersion.number)
    versions = session.scalars(query).all()
    made = _runs_made_from(session, agent_id, gone, since)
    spoiled: set[str] = set()
    for version in versions:
        if (version.job_id, version.token) in made or version.parent_id in spoiled:
            spoiled.add(version.id)
    retired = [version for version in versions if version.id in spoiled and version.retired_at is None]
    for version in retired:
        version.retired_at, version.evaluation = now(), {}
    if agent.live_version_id in spoiled:
        kept = [one for one in versions if one.retired_at is None and one.model == agent.model]
        retired.sort(key=lambda one: one.id != agent.live_version_id)
        agent.live_version_id = kept[-1].id if kept else None
    session.flush()
    return retired


def _runs_made_from(
    session: Session, agent_id: str, gone: Mapping[str, Set[str]], since: float
) -> set[tuple[str, int]]:
    """(job id, token) of the runs that learned from any of these; what was measured and practised in them quotes it, in
    other words too, and goes."""
    runs = select(TrainingRun).where(TrainingRun.agent_id == agent_id)
    found = set()
    for run in session.scalars(runs):
        if run.made_from is None:
            guilty = run.stage == _BEFORE_IT_WAS_WRITTEN_DOWN and run.created_at >= since
        else:
            guilty = any(not ids.isdisjoint(run.made_from.get(kind, ())) for kind, ids in gone.items())
        if guilty:
            run.gate, run.reasons = None, [_ERASED]
            for record in (Rollout, Judgement):
                session.execute(delete(record).where(record.run_id == run.id))
            _clear_result(session.get_one(Job, run.job_id), run.id)
            found.add((run.job_id, run.token))
    return found


def _clear_result(job: Job, run_id: str) -> None:
    """What a job has told of a run, it tells no more."""
    if job.result is None:
        return
    told = [
        stage | {"gate": None, "reasons": [_ERASED]} if stage.get("run_id") == run_id else stage
        for stage in job.result.get("stages", ())
    ]
    reasons = [reason for stage in told for reason in stage.get("reasons", ())]
    job.result = job.result | {"stages": told, "reasons": reasons}

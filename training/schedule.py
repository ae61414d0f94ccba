"""Schedules: an agent that reflects and improves itself every so many hours.

Door: `due`, ticked by every worker. Time since `schedule_from` is cut into slots of `improve_every_s`; a slot of a
schedule has one idempotency key, so ticks that are doubled, missed or late never make two jobs of one slot, and slots
that went by while nobody ticked are let go: only the current one counts. A schedule that was set anew counts its slots
from its own beginning. It rings no bell; the sweep of the same tick does.
"""

from __future__ import annotations

import sqlalchemy as sa

from personal_data.database import Database
from personal_data.records import Agent, Job
from training import ledger

KIND = "improve"
KINDS = ("reflect", KIND)
"""What one slot brings; they run beside each other."""


def due(database: Database, kind: str = KIND) -> list[str]:
    """Enqueue a job of this kind, an improvement or a reflection, for every agent whose current slot has none; returns
    the ids of the jobs.

    The first slot begins at `schedule_from`. An agent that still has one waiting or running is left alone until that
    one has ended.
    """
    with database.session() as session:
        slot = _slot(database.clock(session), sqlite=database.is_sqlite)
        begin_ms = sa.cast(sa.cast(Agent.schedule_from * 1000, sa.BigInteger), sa.String)
        key = sa.literal(f"{kind}:") + Agent.id + ":" + begin_ms + ":" + sa.cast(slot, sa.String)
        unfinished = sa.and_(Job.kind == kind, Job.subject_id == Agent.id, Job.state.in_(["queued", "leased"]))
        settled = sa.exists().where(sa.or_(Job.idempotency_key == key, unfinished))
        scheduled = sa.select(Agent.id, Agent.user_id, key).where(slot >= 0, ~settled).order_by(Agent.id)
        return [
            ledger.enqueue(
                session,
                kind=kind,
                user_id=user_id,
                subject_id=agent_id,
                idempotency_key=idempotency_key,
            ).id
            for agent_id, user_id, idempotency_key in session.execute(scheduled).all()
        ]


def _slot(clock: float, *, sqlite: bool) -> sa.ColumnElement[int]:
    """Number of the current slot; NULL without a schedule, negative before its begin."""
    periods = (clock - Agent.schedule_from) / sa.func.nullif(Agent.improve_every_s, 0)
    if sqlite:  # its cast cuts off towards zero, and its floor is not in every build
        return sa.case((periods < 0, -1), else_=sa.cast(periods, sa.BigInteger))
    return sa.cast(sa.func.floor(periods), sa.BigInteger)

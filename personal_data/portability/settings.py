"""What settings.json of an archive says of an agent, applied to one that has nothing of its own there yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from personal_data.errors import InvalidInput
from personal_data.portability.ids import Ids
from personal_data.portability.tables import Owner
from personal_data.records import AdapterVersion, Agent, Member, Model, Society, now

_INSTRUCTIONS = 20
_INSTRUCTION_CHARS = 500
_SCHEDULE_S = (3.6, 24 * 366 * 3600.0)


def archived_agent(told: dict[str, Any]) -> str | None:
    """The id that the agent had where the archive was made."""
    agent = told.get("agent")
    found = agent.get("id") if isinstance(agent, dict) else None
    return found if isinstance(found, str) else None


def check_settings(told: dict[str, Any]) -> None:
    """Whether what would be applied fits.

    Raises:
        InvalidInput: a value does not fit.
    """
    wanted = told.get("agent")
    if isinstance(wanted, dict):
        _instructions(wanted.get("instructions", []))
        if wanted.get("improve_every_s") is not None:
            _schedule(wanted["improve_every_s"])


def apply_settings(session: Session, owner: Owner, told: dict[str, Any], ids: Ids) -> Iterator[str]:
    """Give the agent what it had, where it has nothing of that kind here; yields what could not be given, and why."""
    wanted = told.get("agent")
    if not isinstance(wanted, dict):
        return
    agent = session.get_one(Agent, owner.agent_id, with_for_update=True)
    if not agent.instructions:
        agent.instructions = _instructions(wanted.get("instructions", []))
    if agent.improve_every_s is None and (every := wanted.get("improve_every_s")) is not None:
        agent.improve_every_s, agent.schedule_from = _schedule(every), now()
    model = wanted.get("model")
    if model != agent.model and agent.live_version_id is None:
        if not isinstance(model, str) or session.get(Model, model) is None:
            yield f"its model {str(model)[:64]!r} is not configured here"
        else:
            agent.model = model
    live = wanted.get("live_version_id")
    if isinstance(live, str) and agent.live_version_id is None:
        version = session.get(AdapterVersion, ids.here(live))
        usable = version is not None and version.agent_id == agent.id and version.retired_at is None
        if version is None or not usable or version.model != agent.model:
            yield "its live adapter version is not for the model that the agent has here"
        else:
            agent.live_version_id = version.id
    if isinstance(seats := told.get("memberships"), list) and seats:
        own = select(Society.slug).where(Society.owner_id == owner.user_id)
        seated = select(Society.slug).join(Member).where(Member.agent_id == owner.agent_id)
        here = {*session.scalars(own), *session.scalars(seated)}
        if any(not isinstance(seat, dict) or seat.get("slug") not in here for seat in seats):
            yield "a seat in a society that is not here, or not the owner's to give: ask to be invited"


def _instructions(told: Any) -> list[str]:
    if (
        not isinstance(told, list)
        or len(told) > _INSTRUCTIONS
        or not all(isinstance(one, str) and len(one) <= _INSTRUCTION_CHARS and "\0" not in one for one in told)
    ):
        raise InvalidInput("this archive cannot be restored: its instructions do not fit", param="archive")
    return told


def _schedule(told: Any) -> float:
    if type(told) not in (int, float) or not _SCHEDULE_S[0] <= told <= _SCHEDULE_S[1]:
        raise InvalidInput("this archive cannot be restored: its schedule does not fit", param="archive")
    return float(told)

"""The caller's own agent: its instructions, model, schedule and adapter versions."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy import select
from sqlalchemy.orm import Session

from agents import adapters
from api.auth import CurrentUser
from api.schemas import AdapterOut, AgentIn, AgentOut, ModelOut, RollbackIn, ScheduleIn
from api.state import AppState
from personal_data.errors import Conflict, InvalidInput, NotFound
from personal_data.records import AdapterVersion, Agent, Model, now

router = APIRouter(prefix="/api", tags=["agents"])


@router.get("/agent")
def read(caller: CurrentUser, state: AppState) -> AgentOut:
    """The caller's agent."""
    with state.database.reading() as session:
        return AgentOut.model_validate(own_agent(session, caller.user_id))


@router.patch("/agent")
def change(body: AgentIn, caller: CurrentUser, state: AppState) -> AgentOut:
    """Set standing instructions, or move the agent to another model (only while it has no adapter)."""
    with state.database.session() as session:
        agent = own_agent(session, caller.user_id)
        if body.instructions is not None:
            agent.instructions = list(body.instructions)
        if body.model is not None and body.model != agent.model:
            _move(session, agent, body.model)
        return AgentOut.model_validate(agent)


@router.get("/models")
def models(_caller: CurrentUser, state: AppState) -> list[ModelOut]:
    """The models that agents here can run on."""
    with state.database.reading() as session:
        return [ModelOut.model_validate(row) for row in session.scalars(select(Model).order_by(Model.name))]


@router.put("/schedule")
def schedule(body: ScheduleIn, caller: CurrentUser, state: AppState) -> AgentOut:
    """Improve every so many hours from now on, or never again by itself."""
    with state.database.session() as session:
        agent = own_agent(session, caller.user_id)
        agent.improve_every_s = None if body.every_hours is None else body.every_hours * 3600.0
        agent.schedule_from = None if body.every_hours is None else now()
        return AgentOut.model_validate(agent)


@router.get("/adapters")
def versions(caller: CurrentUser, state: AppState) -> list[AdapterOut]:
    """Every version of the caller's adapter, newest first."""
    with state.database.reading() as session:
        agent = own_agent(session, caller.user_id)
        query = select(AdapterVersion).where(AdapterVersion.agent_id == agent.id)
        rows = session.scalars(query.order_by(AdapterVersion.number.desc()))
        return [_version(row, agent.live_version_id) for row in rows]


@router.post("/adapters/rollback")
def roll_back(body: RollbackIn, caller: CurrentUser, state: AppState) -> AgentOut:
    """Answer with an earlier version of the same model, or the bare base model, from the next reply on."""
    with state.database.session() as session:
        agent = own_agent(session, caller.user_id)
        adapters.roll_back(session, agent_id=agent.id, number=body.number)
        session.refresh(agent)
        return AgentOut.model_validate(agent)


def own_agent(session: Session, user_id: str) -> Agent:
    """The agent of one person.

    Raises:
        NotFound: they have none (the administrator's key belongs to nobody's agent).
    """
    agent = session.scalar(select(Agent).where(Agent.user_id == user_id))
    if agent is None:
        raise NotFound("this key's owner has no agent; use the key that `folkmoot user add` printed")
    return agent


def _move(session: Session, agent: Agent, model: str) -> None:
    if session.get(Model, model) is None:
        raise InvalidInput(f"no model {model!r} is configured", param="model")
    session.refresh(agent, with_for_update=True)  # an improvement may be publishing at this moment
    if agent.live_version_id is not None:
        raise Conflict("this agent's adapter fits its present model only; roll back to the bare model first (number 0)")
    agent.model = model


def _version(row: AdapterVersion, live_id: str | None) -> AdapterOut:
    return AdapterOut(
        id=row.id,
        number=row.number,
        live=row.id == live_id,
        evaluation=row.evaluation,
        sha256=row.sha256,
        created_at=row.created_at,
    )

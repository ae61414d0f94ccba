"""The steps of a debate, each written so that running it again repeats no call: the positions table is looked up first.

`Room` is the runtime context: it holds clients and texts and is never written to a graph's state.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from agents.messages import SamplingParams
from agents.personal import PersonalAgent, Proposal
from personal_data.database import Database
from personal_data.errors import BackendError, BackendTimeout, BackendUnavailable, NotFound
from personal_data.records import Debate, Hypothesis, Memory, Position, Verdict, now
from personal_data.sharing import disclose
from society.aggregation import plurality
from society.canonical import answer_key
from society.state import Cause, DebateState, Decision, Seat, Vote

BLIND_ROUND = 0
_MAX_TOKENS = 320
_TEMPERATURE = 0.5  # some spread between members of one lineage, little harm to each
_FULL_COVERAGE = 0.7
"""Below this share of members heard, a report is `degraded`: flagged, and no more confident than that share."""


class Directory(Protocol):
    """Where a debate finds its members."""

    def by_id(self, agent_id: str) -> PersonalAgent: ...


@dataclass(frozen=True, slots=True)
class Room:
    """Everything a running debate needs. `fence` raises LeaseLost when another process has taken the debate over;
    `finish` closes its job in the verdict's own transaction."""

    database: Database
    directory: Directory
    debate: Debate
    audience: str
    closes_at: float
    """On the monotonic clock."""
    fence: Callable[[Session], None]
    finish: Callable[[Session], None]
    faults: list[BaseException] = field(default_factory=list)
    """What went wrong on our side while members thought; nothing is aggregated then."""

    def remaining_s(self) -> float:
        return max(0.05, self.closes_at - time.monotonic())


async def think(room: Room, seat: Seat) -> None:
    """One member's blind answer; its position, and what it was shown, are stored in one transaction."""
    if await asyncio.to_thread(_is_stored, room, seat):
        return
    started = time.monotonic()
    agent = await asyncio.to_thread(room.directory.by_id, seat["agent_id"])
    params = SamplingParams(
        max_tokens=_MAX_TOKENS, temperature=_TEMPERATURE, seed=room.debate.seed + room.debate.panel.index(agent.id)
    )
    proposal = await agent.propose(room.debate.question, audience=room.audience, params=params)
    position = _position(seat, agent, proposal, time.monotonic() - started)
    await asyncio.to_thread(_keep, room, position, agent.user_id)


async def mark_absent(room: Room, seat: Seat, error: BaseException) -> None:
    """Record that a member gave no answer. An absence is never a vote; the cause is a word, never an error's text."""
    if await asyncio.to_thread(_is_stored, room, seat):
        return
    lineage = await asyncio.to_thread(_lineage, room, seat["agent_id"])
    position = Position(
        debate_id=seat["debate_id"],
        round=seat["round"],
        agent_id=seat["agent_id"],
        status="absent",
        cause=_cause(error),
        lineage=lineage,
    )
    await asyncio.to_thread(_keep, room, position, None)


def aggregate(room: Room, state: DebateState) -> None:
    """Cluster the answers, decide by rule, store hypotheses and verdict and close the job, in one transaction."""
    with room.database.session() as session:
        room.fence(session)
        query = select(Position).where(Position.debate_id == room.debate.id, Position.round == BLIND_ROUND)
        query = query.with_for_update(read=True)  # who erases an answer waits, and finds what was made of it
        by_agent = {position.agent_id: position for position in session.scalars(query)}
        positions = [by_agent[agent_id] for agent_id in state["panel"]]
        decision = plurality([_vote(position) for position in positions], seed=room.debate.seed)
        session.add_all(_hypotheses(room.debate.id, decision))
        session.add(_verdict(room.debate.id, decision, positions))
        debate = session.get_one(Debate, room.debate.id)
        debate.state, debate.finished_at = "done", now()
        room.finish(session)


def _position(seat: Seat, agent: PersonalAgent, proposal: Proposal, elapsed_s: float) -> Position:
    status, cause = "answered", None
    if not proposal.parsed:
        status, cause = "absent", "parse"
    elif proposal.answer is None or not answer_key(proposal.answer):
        status = "abstained"
    adapter = agent.identity.adapter
    return Position(
        debate_id=seat["debate_id"],
        round=seat["round"],
        agent_id=agent.id,
        status=status,
        cause=cause,
        answer=proposal.answer if status == "answered" else None,
        answer_key=answer_key(proposal.answer) if status == "answered" and proposal.answer else None,
        argument=proposal.argument,
        lineage=agent.identity.lineage,
        adapter_version_id=None if adapter is None else adapter.name,
        memory_ids=list(proposal.memory_ids),
        completion_tokens=proposal.completion_tokens,
        elapsed_s=elapsed_s,
    )


def _keep(room: Room, position: Position, owner_id: str | None) -> None:
    """Store a position once: a member's last answer and its timeout may arrive together, and the first one stands."""
    try:
        with room.database.session() as session:
            forgotten = owner_id is not None and _was_forgotten(session, owner_id, position)
            room.fence(session)
            if forgotten:
                position.status, position.cause = "absent", "error"
                position.answer = position.answer_key = position.argument = None
            session.add(position)
            session.flush()
            if owner_id is not None:
                disclose(
                    session,
                    user_id=owner_id,
                    debate_id=position.debate_id,
                    audience=room.audience,
                    memory_ids=position.memory_ids,
                )
    except IntegrityError:
        if not _is_stored(room, Seat(debate_id=position.debate_id, round=position.round, agent_id=position.agent_id)):
            raise


def _was_forgotten(session: Session, owner_id: str, position: Position) -> bool:
    """Whether its owner has forgotten a memory that it was given with, while the model thought."""
    shown = select(Memory.deleted_at).where(Memory.user_id == owner_id, Memory.id.in_(position.memory_ids))
    return any(at is not None for at in session.scalars(shown.with_for_update(read=True)))


def _is_stored(room: Room, seat: Seat) -> bool:
    query = select(Position.id).where(
        Position.debate_id == seat["debate_id"],
        Position.round == seat["round"],
        Position.agent_id == seat["agent_id"],
    )
    with room.database.reading() as session:
        return session.scalar(query) is not None


def _lineage(room: Room, agent_id: str) -> str:
    try:
        return room.directory.by_id(agent_id).identity.lineage
    except NotFound:
        return "unknown"


def _cause(error: BaseException) -> Cause:
    if isinstance(error, TimeoutError | BackendTimeout):
        return "timeout"
    if isinstance(error, BackendError) and not isinstance(error, BackendUnavailable):
        return "refused"
    return "error"


def _vote(position: Position) -> Vote:
    return Vote(
        agent_id=position.agent_id,
        lineage=position.lineage,
        key=position.answer_key if position.status == "answered" else None,
        answer=position.answer,
    )


def _hypotheses(debate_id: str, decision: Decision) -> list[Hypothesis]:
    return [
        Hypothesis(
            debate_id=debate_id,
            key=cluster.key,
            text=cluster.answer,
            supporters=list(cluster.supporters),
            posterior=cluster.posterior,
        )
        for cluster in decision.clusters
    ]


def _verdict(debate_id: str, decision: Decision, positions: list[Position]) -> Verdict:
    count = {status: sum(position.status == status for position in positions) for status in _STATUSES}
    heard = (count["answered"] + count["abstained"]) / len(positions)
    degraded = heard < _FULL_COVERAGE
    confidence = decision.confidence
    if degraded and confidence is not None:
        confidence = min(confidence, heard)
    return Verdict(
        debate_id=debate_id,
        answer=decision.winner.answer if decision.winner else None,
        answer_key=decision.winner.key if decision.winner else None,
        confidence=confidence,
        rule=decision.rule,
        tie=decision.tie,
        dissent=[cluster.key for cluster in decision.dissent],
        coverage={"invited": len(positions), **count},
        degraded=degraded,
    )


_STATUSES = ("answered", "abstained", "absent")

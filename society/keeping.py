"""How what a member said becomes a row, once, through the guard on what leaves it and with what a machine finds in it.

Doors: `keep`, `is_stored` and `is_reviewed` (a row is also the mark that its calls were made), `mark_absent` and
`cause_of`. A row, what its member was shown, and the lease's fence are one transaction. Checks see what the guard has
let through and nothing else, and stand in the row: how a debate stands needs no code to be run again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from agents.personal import PersonalAgent
from personal_data.errors import BackendError, BackendTimeout, BackendUnavailable, NotFound
from personal_data.records import Memory, Position, Review
from personal_data.sharing import disclose
from society.canonical import key_of
from society.checks.checking import checks_of
from society.egress import Egress, gives_orders
from society.room import Room
from society.state import CLOSED, Cause, ReviewSeat, Seat

_PLACE = ("debate_id", "round", "hypothesis_id", "agent_id")
"""What of a seat is of its row; the rest is for the task."""
_STORING_S = 0.5


def is_stored(room: Room, seat: Seat) -> bool:
    """Whether a member's position of a round is there."""
    query = select(Position.id).where(
        Position.debate_id == seat["debate_id"],
        Position.round == seat["round"],
        Position.agent_id == seat["agent_id"],
    )
    with room.database.reading() as session:
        return session.scalar(query) is not None


def is_reviewed(room: Room, seat: ReviewSeat) -> bool:
    """Whether a member's check of a hypothesis is there."""
    query = select(Review.id).where(
        Review.debate_id == seat["debate_id"],
        Review.hypothesis_id == seat["hypothesis_id"],
        Review.agent_id == seat["agent_id"],
    )
    with room.database.reading() as session:
        return session.scalar(query) is not None


async def keep(room: Room, row: Position | Review, agent: PersonalAgent | None, shown: Sequence[str] = ()) -> None:
    """Store a row once: a member's last answer and its timeout may arrive together, and the first one stands."""
    if agent is not None:
        await asyncio.to_thread(_clear, room, row, agent, shown)
        if room.debate.kind == CLOSED:
            await _check(room, row, shown)
    await asyncio.to_thread(_store, room, row, agent)


async def _check(room: Room, row: Position | Review, shown: Sequence[str]) -> None:
    """Only what says an answer is checked. Time is left to store it."""
    if row.answer is None:
        return
    own = None
    if isinstance(row, Position) and room.computed is not None and row.answer_key is not None:
        own = room.computed.check(row.answer_key)
    claims = await checks_of(
        row.argument or "",
        question=room.debate.question,
        memories=shown,
        turn=room.checking,
        within_s=room.remaining_s() - _STORING_S,
    )
    checks = [asdict(one) for one in ([own] if own is not None else []) + claims]
    row.flags = dict(row.flags or {}) | ({"checks": checks} if checks else {})


def _store(room: Room, row: Position | Review, agent: PersonalAgent | None) -> None:
    try:
        with room.database.session() as session:
            forgotten = agent is not None and _was_forgotten(session, agent.user_id, row)
            room.fence(session)
            if forgotten:
                _withdraw(row)
            session.add(row)
            session.flush()
            if agent is not None:
                disclose(
                    session,
                    user_id=agent.user_id,
                    debate_id=row.debate_id,
                    audience=room.audience,
                    memory_ids=row.memory_ids,
                )
    except IntegrityError:
        there = is_reviewed(room, _seat_of(row)) if isinstance(row, Review) else is_stored(room, _place_of(row))
        if not there:
            raise


def _clear(room: Room, row: Position | Review, agent: PersonalAgent, shown: Sequence[str]) -> None:
    """What is about to be stored is about to be read by others."""
    own = isinstance(row, Position) or room.debate.kind == CLOSED  # or else it names what another one wrote
    texts = [text for text in (row.argument, row.answer if own else None) if text]
    also = list(row.alternatives or ()) if isinstance(row, Position) and row.round == 0 else []
    egress = Egress(agent.hidden_near("\n".join([*texts, *also]), room.audience), [room.debate.question, *shown])
    held: Counter[str] = Counter()
    for key in also:  # what else a member thought of, in its own words
        held += egress.cleared(key).held_back
    if also and isinstance(row, Position):
        row.alternatives = [key for key in also if not egress.cleared(key).held_back]
    if row.argument:
        argument = egress.cleared(row.argument)
        row.argument, held = argument.text, held + argument.held_back
    if row.answer and own:
        answer = egress.cleared(row.answer)
        row.answer, held = answer.text, held + answer.held_back
        if isinstance(row, Position) and answer.held_back:
            row.answer_key = key_of(answer.text, free=room.debate.kind != CLOSED)
    flags: dict[str, Any] = dict(row.flags or {})
    if held:
        flags["held_back"] = dict(held)
    if any(map(gives_orders, texts)):
        flags["orders"] = True
    row.flags = flags


def _withdraw(row: Position | Review) -> None:
    if isinstance(row, Position):
        row.status = "absent"
        row.answer_key = None
        row.alternatives = None
    else:
        row.verdict = "absent"
    row.cause, row.answer, row.argument = "error", None, None
    row.flags = {name: value for name, value in (row.flags or {}).items() if name != "checks"}


def _was_forgotten(session: Session, owner_id: str, row: Position | Review) -> bool:
    """Whether its owner has forgotten a memory that it was given with, while the model thought."""
    shown = select(Memory.deleted_at).where(Memory.user_id == owner_id, Memory.id.in_(row.memory_ids))
    return any(at is not None for at in session.scalars(shown.with_for_update(read=True)))


async def mark_absent(room: Room, seat: Seat | ReviewSeat, error: BaseException) -> None:
    """Record that a member gave no answer. An absence is never a vote; the cause is a word, never an error's text."""
    lineage = await asyncio.to_thread(_lineage, room, seat["agent_id"])
    told: dict[str, Any] = {name: value for name, value in seat.items() if name in _PLACE}
    row: Position | Review
    if "hypothesis_id" in seat:
        row = Review(**told, verdict="absent", cause=cause_of(error), lineage=lineage)
    else:
        row = Position(**told, status="absent", cause=cause_of(error), lineage=lineage)
    await keep(room, row, None)


def _place_of(row: Position) -> Seat:
    return Seat(debate_id=row.debate_id, round=row.round, agent_id=row.agent_id)


def _seat_of(row: Review) -> ReviewSeat:
    return ReviewSeat(debate_id=row.debate_id, hypothesis_id=row.hypothesis_id, agent_id=row.agent_id)


def _lineage(room: Room, agent_id: str) -> str:
    try:
        return room.directory.by_id(agent_id).identity.lineage
    except NotFound:
        return "unknown"


def cause_of(error: BaseException) -> Cause:
    """Why a member is absent, as a word."""
    if isinstance(error, TimeoutError | BackendTimeout):
        return "timeout"
    if isinstance(error, BackendError) and not isinstance(error, BackendUnavailable):
        return "refused"
    return "error"

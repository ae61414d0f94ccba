"""What members do in a debate, each step written so that running it again repeats no call: its row is looked up.

Doors: `think` (the blind round, and solving again), `review` (the check of one hypothesis), `mark_absent`. A member
sees the question, in later rounds hypotheses without authors or counts, and of its owner's memories what the audience
may see; what it says goes through the egress guard before it is stored, and whatever others read comes from there.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from agents.messages import SamplingParams
from agents.personal import PersonalAgent, Proposal
from personal_data.errors import BackendError, BackendTimeout, BackendUnavailable, NotFound
from personal_data.records import Debate, Hypothesis, Memory, Position, Review
from personal_data.sharing import disclose
from society.canonical import answer_key
from society.egress import Egress, gives_orders
from society.room import Room
from society.standing import REVIEWED, UNFOUNDED, standing_of
from society.state import Cause, ReviewSeat, Seat

BLIND, AGAIN = 0, 1
_MAX_TOKENS = 320
_TEMPERATURE = 0.5  # some spread between members of one lineage, little harm to each
_ORDERS = "[left out: it gives orders]"
_SEEDS = 1_000
"""Apart, so that no two thoughts of a debate share a seed."""


async def think(room: Room, seat: Seat) -> None:
    """One member's position in a round; it and what the member was shown are stored in one transaction."""
    if await asyncio.to_thread(_is_stored, room, seat):
        return
    started = time.monotonic()
    agent = await asyncio.to_thread(room.directory.by_id, seat["agent_id"])
    if seat["round"] == BLIND:
        seeds = range(room.plan.samples)
        thoughts = await agent.propose(
            room.debate.question,
            audience=room.audience,
            params=[_params(room, agent, number) for number in seeds],
            recalls=agent.id not in room.silent,
        )
        position, shown = _position(seat, agent, thoughts), thoughts[0].shown
    else:
        hypotheses = await asyncio.to_thread(_left, room)
        thought = await agent.resolve(
            room.debate.question,
            hypotheses,
            audience=room.audience,
            params=_params(room, agent, room.plan.samples),
            recalls=agent.id not in room.silent,
        )
        position, shown = _position(seat, agent, [thought]), thought.shown
        position.reason = await asyncio.to_thread(_reason, room, position)
    position.elapsed_s = time.monotonic() - started
    await asyncio.to_thread(_keep, room, position, agent, shown)


async def review(room: Room, seat: ReviewSeat) -> None:
    """One member's check of one hypothesis: it solves the question with the proposal before its eyes, and the verdict
    is the comparison, in code, of what it found with what was proposed."""
    if await asyncio.to_thread(_is_reviewed, room, seat):
        return
    started = time.monotonic()
    agent = await asyncio.to_thread(room.directory.by_id, seat["agent_id"])
    proposed, key, argument = await asyncio.to_thread(_hypothesis, room, seat["hypothesis_id"])
    found = await agent.review(
        room.debate.question,
        proposed,
        argument,
        audience=room.audience,
        params=_params(room, agent, room.plan.samples + 1),
        recalls=agent.id not in room.silent,
    )
    own = None if found.answer is None else answer_key(found.answer) or None
    verdict = "undecided" if own is None else "verified" if own == key else "refuted"
    row = Review(
        **seat,
        verdict=verdict,
        answer=found.answer,
        argument=found.argument,
        lineage=agent.identity.lineage,
        memory_ids=list(found.memory_ids),
        completion_tokens=found.completion_tokens,
        flags={"calls": found.calls},
        elapsed_s=time.monotonic() - started,
    )
    await asyncio.to_thread(_keep, room, row, agent, found.shown)


async def mark_absent(room: Room, seat: Seat | ReviewSeat, error: BaseException) -> None:
    """Record that a member gave no answer. An absence is never a vote; the cause is a word, never an error's text."""
    lineage = await asyncio.to_thread(_lineage, room, seat["agent_id"])
    row: Position | Review
    if "hypothesis_id" in seat:
        row = Review(**seat, verdict="absent", cause=_cause(error), lineage=lineage)
    else:
        row = Position(**seat, status="absent", cause=_cause(error), lineage=lineage)
    await asyncio.to_thread(_keep, room, row, None)


def _params(room: Room, agent: PersonalAgent, number: int) -> SamplingParams:
    seed = room.debate.seed + room.debate.panel.index(agent.id) + _SEEDS * number
    return SamplingParams(max_tokens=_MAX_TOKENS, temperature=_TEMPERATURE, seed=seed % 2**31)


def _position(seat: Seat, agent: PersonalAgent, thoughts: Sequence[Proposal]) -> Position:
    """What most of a member's thoughts ended with; the first of those that did speaks for them."""
    parsed = [one for one in thoughts if one.parsed]
    keys = [_key(one) for one in parsed]
    held = Counter(keys)
    key = max(held, key=lambda one: (held[one], -keys.index(one))) if held else None
    spoken = parsed[keys.index(key)] if parsed else thoughts[0]
    status, cause = ("absent", "parse") if not parsed else ("abstained", None) if key is None else ("answered", None)
    adapter = agent.identity.adapter
    tokens = [one.completion_tokens for one in thoughts]
    return Position(
        debate_id=seat["debate_id"],
        round=seat["round"],
        agent_id=agent.id,
        status=status,
        cause=cause,
        answer=spoken.answer if status == "answered" else None,
        answer_key=key if status == "answered" else None,
        argument=spoken.argument,
        confidence=held[key] / len(thoughts) if len(thoughts) > 1 and status == "answered" else None,
        alternatives=[one for one in held if one not in (None, key)] if len(thoughts) > 1 else None,
        flags={"calls": sum(one.calls for one in thoughts)},
        lineage=agent.identity.lineage,
        adapter_version_id=None if adapter is None else adapter.name,
        memory_ids=list(spoken.memory_ids),
        completion_tokens=None if None in tokens else sum(count for count in tokens if count is not None),
    )


def _key(thought: Proposal) -> str | None:
    return None if thought.answer is None else answer_key(thought.answer) or None


def _reason(room: Room, position: Position) -> str | None:
    """Why a member that solved again holds what it holds: code looks at what it could have seen, the member is not
    asked."""
    if position.status != "answered" or position.answer_key is None:
        return None
    with room.database.reading() as session:
        standing = standing_of(session, session.get_one(Debate, room.debate.id), REVIEWED)
    before = standing.votes.get(position.agent_id)
    if before == position.answer_key:
        return "unchanged"
    verified = standing.status(position.answer_key) == "verified"
    refuted = before is not None and standing.status(before) == "refuted"
    return "new_evidence" if verified or refuted else UNFOUNDED


def _left(room: Room) -> list[tuple[str, str]]:
    """The hypotheses that are left and what became of them, in an order that tells nothing."""
    with room.database.reading() as session:
        standing = standing_of(session, session.get_one(Debate, room.debate.id), REVIEWED)
    left = [(answer, standing.status(key)) for key, answer in standing.wording.items() if key not in standing.ruled_out]
    return [(answer, status) for answer, status in sorted(left) if not gives_orders(answer)]


def _hypothesis(room: Room, hypothesis_id: str) -> tuple[str, str, str]:
    """Its answer, key, and the argument of one of its supporters, by lot of the debate's seed."""
    with room.database.reading() as session:
        row = session.get_one(Hypothesis, hypothesis_id)
        query = select(Position.argument).where(
            Position.debate_id == room.debate.id, Position.answer_key == row.key, Position.round == BLIND
        )
        arguments = [text or "" for text in session.scalars(query.order_by(Position.agent_id))]
    argument = arguments[room.debate.seed % len(arguments)] if arguments else ""
    return row.text, row.key, _ORDERS if gives_orders(argument) else argument


def _keep(room: Room, row: Position | Review, agent: PersonalAgent | None, shown: Sequence[str] = ()) -> None:
    """Store a row once: a member's last answer and its timeout may arrive together, and the first one stands."""
    if agent is not None:
        _clear(room, row, agent, shown)
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
        there = _is_reviewed(room, _seat_of(row)) if isinstance(row, Review) else _is_stored(room, _place_of(row))
        if not there:
            raise


def _clear(room: Room, row: Position | Review, agent: PersonalAgent, shown: Sequence[str]) -> None:
    """What is about to be stored is about to be read by others."""
    texts = [text for text in (row.argument, row.answer) if text]
    egress = Egress(agent.hidden_near("\n".join(texts), room.audience), [room.debate.question, *shown])
    held: Counter[str] = Counter()
    if row.argument:
        argument = egress.cleared(row.argument)
        row.argument, held = argument.text, held + argument.held_back
    if row.answer:
        answer = egress.cleared(row.answer)
        row.answer, held = answer.text, held + answer.held_back
        if isinstance(row, Position) and answer.held_back:
            row.answer_key = answer_key(answer.text) or None
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


def _was_forgotten(session: Session, owner_id: str, row: Position | Review) -> bool:
    """Whether its owner has forgotten a memory that it was given with, while the model thought."""
    shown = select(Memory.deleted_at).where(Memory.user_id == owner_id, Memory.id.in_(row.memory_ids))
    return any(at is not None for at in session.scalars(shown.with_for_update(read=True)))


def _is_stored(room: Room, seat: Seat) -> bool:
    query = select(Position.id).where(
        Position.debate_id == seat["debate_id"],
        Position.round == seat["round"],
        Position.agent_id == seat["agent_id"],
    )
    with room.database.reading() as session:
        return session.scalar(query) is not None


def _is_reviewed(room: Room, seat: ReviewSeat) -> bool:
    query = select(Review.id).where(
        Review.debate_id == seat["debate_id"],
        Review.hypothesis_id == seat["hypothesis_id"],
        Review.agent_id == seat["agent_id"],
    )
    with room.database.reading() as session:
        return session.scalar(query) is not None


def _place_of(row: Position) -> Seat:
    return Seat(debate_id=row.debate_id, round=row.round, agent_id=row.agent_id)


def _seat_of(row: Review) -> ReviewSeat:
    return ReviewSeat(debate_id=row.debate_id, hypothesis_id=row.hypothesis_id, agent_id=row.agent_id)


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

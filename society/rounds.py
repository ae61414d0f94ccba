"""What members do in a debate, each step written so that running it again repeats no call: its row is looked up.

Doors: `think` (the blind round, and solving again), `review` (the check of one hypothesis). A member sees the question,
in later rounds hypotheses without authors or counts, and of its owner's memories what the audience may see; what it
says goes through the egress guard before it is stored (`keeping.py`), and whatever others read comes from there.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from sqlalchemy import select

from agents.messages import SamplingParams
from agents.personal import PersonalAgent, Proposal
from personal_data.records import Debate, Hypothesis, Position, Review
from society.canonical import key_of
from society.egress import gives_orders
from society.keeping import is_reviewed, is_stored, keep
from society.room import Room
from society.standing import REVIEWED, UNFOUNDED, standing_of
from society.state import CLOSED, ReviewSeat, Seat

BLIND, AGAIN = 0, 1
_MAX_TOKENS = 320
_TEMPERATURE = 0.5  # some spread between members of one lineage, little harm to each
_ORDERS = "[left out: it gives orders]"
_SEEDS = 1_000
"""Apart, so that no two thoughts of a debate share a seed."""


async def think(room: Room, seat: Seat) -> None:
    """One member's position in a round; it and what the member was shown are stored in one transaction."""
    if await asyncio.to_thread(is_stored, room, seat):
        return
    started = time.monotonic()
    agent = await asyncio.to_thread(room.directory.by_id, seat["agent_id"])
    if seat["round"] == BLIND:
        seeds = range(room.plan.samples)
        thoughts = await agent.propose(
            room.debate.question,
            audience=room.audience,
            params=[params_of(room, agent, number) for number in seeds],
            recalls=agent.id not in room.silent,
            free=room.debate.kind != CLOSED,
        )
        position, shown = _position(room, seat, agent, thoughts), thoughts[0].shown
    else:
        hypotheses = await asyncio.to_thread(_left, room)
        thought = await agent.resolve(
            room.debate.question,
            hypotheses,
            audience=room.audience,
            params=params_of(room, agent, room.plan.samples),
            recalls=agent.id not in room.silent,
        )
        position, shown = _position(room, seat, agent, [thought]), thought.shown
        position.reason = await asyncio.to_thread(_reason, room, position)
    position.elapsed_s = time.monotonic() - started
    await keep(room, position, agent, shown)


async def review(room: Room, seat: ReviewSeat) -> None:
    """One member's check of one hypothesis: it solves the question with the proposal before its eyes, and the verdict
    is the comparison, in code, of what it found with what was proposed."""
    if await asyncio.to_thread(is_reviewed, room, seat):
        return
    started = time.monotonic()
    agent = await asyncio.to_thread(room.directory.by_id, seat["agent_id"])
    proposed, key, argument = await asyncio.to_thread(_hypothesis, room, seat["hypothesis_id"])
    found = await agent.review(
        room.debate.question,
        proposed,
        argument,
        audience=room.audience,
        params=params_of(room, agent, room.plan.samples + 1),
        recalls=agent.id not in room.silent,
    )
    own = _key(room, found)
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
    await keep(room, row, agent, found.shown)


def params_of(room: Room, agent: PersonalAgent, number: int) -> SamplingParams:
    """How a member thinks its thought of that number: each of a debate has a seed of its own."""
    seed = room.debate.seed + room.debate.panel.index(agent.id) + _SEEDS * number
    return SamplingParams(max_tokens=_MAX_TOKENS, temperature=_TEMPERATURE, seed=seed % 2**31)


def _position(room: Room, seat: Seat, agent: PersonalAgent, thoughts: Sequence[Proposal]) -> Position:
    """What most of a member's thoughts ended with; the first of those that did speaks for them."""
    parsed = [one for one in thoughts if one.parsed]
    keys = [_key(room, one) for one in parsed]
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


def _key(room: Room, thought: Proposal) -> str | None:
    return None if thought.answer is None else key_of(thought.answer, free=room.debate.kind != CLOSED)


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

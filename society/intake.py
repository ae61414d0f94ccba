"""Taking in a question: who asks whom, with which panel, seed and time. Needs no model and no graph."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from personal_data.errors import Conflict, InvalidInput, NotFound
from personal_data.records import Agent, Debate, User, now
from society.learning import Learned, Learning
from society.membership import for_asker, panel
from society.state import CLOSED, KINDS, Plan

MAX_QUESTION_CHARS = 8_000
MOST_LOOKED_AT = 200
"""Members of a society in whose shared memories it is looked whether they bear on a question."""


def open_debate(
    session: Session,
    *,
    user: User,
    slug: str,
    question: str,
    deadline_s: float,
    seed: int | None = None,
    kind: str = CLOSED,
    topic: str = "general",
    plan: Mapping[str, Any] | None = None,
    learning: Learning | None = None,
    bearing: Mapping[str, float] | None = None,
) -> Debate:
    """Record a question to a society, and whom it goes to: its members of this moment, those it trusts most first. Of
    more than the plan has seats for it asks those, in half of the seats those whose shared memories bear on the
    question (`bearing`, by owner), and one by lot, so that nobody's record stays unknown.

    Raises:
        InvalidInput: an empty or oversized question; a kind or plan that there is not.
        NotFound: no such society for this person.
        Conflict: the society has no members to ask.
    """
    if not question.strip():
        raise InvalidInput("the question is empty", param="question")
    if len(question) > MAX_QUESTION_CHARS:
        raise InvalidInput(f"a question holds {MAX_QUESTION_CHARS} characters at most", param="question")
    society = for_asker(session, user_id=user.id, slug=slug)
    seats = panel(session, society.id)
    if not seats:
        raise Conflict(f"society {slug!r} has no accepted members yet: invite some")
    if kind not in KINDS:
        raise InvalidInput(f"no kind of question {kind!r}; there are {', '.join(KINDS)}", param="kind")
    going = Plan.read((society.plan or {}) | dict(plan or {}))
    seed = secrets.randbelow(2**31) if seed is None else seed
    asked_at = now()
    learned = (learning or Learning()).of(session, society.id, until=asked_at)
    panel_of = _seated(seats, learned, topic, going.panel_size, seed, _by_agent(session, seats, bearing or {}))
    own = session.scalar(select(Agent.id).where(Agent.user_id == user.id))
    debate = Debate(
        society_id=society.id,
        user_id=user.id,
        question=question.strip(),
        panel=_first(own, going.sure, learned, topic, panel_of),
        seed=seed,
        kind=kind,
        topic=topic,
        plan=going.told(),
        created_at=asked_at,
        deadline_s=deadline_s,
    )
    session.add(debate)
    session.flush()
    return debate


def to_look_at(session: Session, *, user_id: str, slug: str, plan: Mapping[str, Any] | None = None) -> list[str]:
    """The owners in whose shared memories it is to be looked before a question is recorded; nobody where there are
    seats for all, or too many to look at.

    Raises:
        NotFound: no such society for this person.
    """
    society = for_asker(session, user_id=user_id, slug=slug)
    seats = panel(session, society.id)
    size = Plan.read((society.plan or {}) | dict(plan or {})).panel_size
    if not size < len(seats) <= MOST_LOOKED_AT:
        return []
    return sorted(session.scalars(select(Agent.user_id).where(Agent.id.in_(seats))))


def _by_agent(session: Session, seats: Sequence[str], bearing: Mapping[str, float]) -> dict[str, float]:
    owners = dict(session.execute(select(Agent.user_id, Agent.id).where(Agent.id.in_(seats))).tuples().all())
    return {owners[owner]: fit for owner, fit in bearing.items() if owner in owners}


def _seated(
    members: Sequence[str], learned: Learned, topic: str, size: int, seed: int, bearing: Mapping[str, float]
) -> list[str]:
    """Those trusted most first, members alike in their order of handles."""
    order = sorted(members, key=lambda member: -learned.trust(member, topic))
    if len(order) <= size:
        return order
    knowing = sorted(bearing, key=lambda member: (-bearing[member], order.index(member)))[: (size - 1) // 2]
    trusted = [member for member in order if member not in knowing][: size - 1 - len(knowing)]
    rest = [member for member in order if member not in knowing and member not in trusted]
    return [*(member for member in order if member in knowing or member in trusted), rest[seed % len(rest)]]


def _first(own: str | None, sure: float, learned: Learned, topic: str, order: list[str]) -> list[str]:
    """The asker's own agent first, where it is trusted so much that it and one checker may do."""
    if own in order and learned.trust(own, topic) >= sure:
        return [own, *(member for member in order if member != own)]
    return order


def for_reader(session: Session, *, user_id: str, debate_id: str) -> Debate:
    """A debate that this person asked.

    Raises:
        NotFound: unknown, or somebody else's.
    """
    debate = session.get(Debate, debate_id)
    if debate is None or debate.user_id != user_id:
        raise NotFound(f"no debate {debate_id}")
    return debate

"""Taking in a question: who asks whom, with which panel, seed and time. Needs no model and no graph."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from personal_data.errors import Conflict, InvalidInput, NotFound
from personal_data.records import Debate, User, now
from society.learning import Learned, Learning
from society.membership import for_asker, panel
from society.state import CLOSED, KINDS, Plan

MAX_QUESTION_CHARS = 8_000


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
) -> Debate:
    """Record a question to a society, and whom it goes to: its members of this moment, those it trusts most first; of
    more than the plan has seats for, those, and one by lot, so that nobody's record stays unknown.

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
    debate = Debate(
        society_id=society.id,
        user_id=user.id,
        question=question.strip(),
        panel=_seated(seats, learned, topic, going.panel_size, seed),
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


def _seated(members: Sequence[str], learned: Learned, topic: str, size: int, seed: int) -> list[str]:
    """Those trusted most first, members alike in their order of handles."""
    order = sorted(members, key=lambda member: -learned.trust(member, topic))
    if len(order) <= size:
        return order
    chosen, rest = order[: size - 1], order[size - 1 :]
    return [*chosen, rest[seed % len(rest)]]


def for_reader(session: Session, *, user_id: str, debate_id: str) -> Debate:
    """A debate that this person asked.

    Raises:
        NotFound: unknown, or somebody else's.
    """
    debate = session.get(Debate, debate_id)
    if debate is None or debate.user_id != user_id:
        raise NotFound(f"no debate {debate_id}")
    return debate

"""Taking in a question: who asks whom, with which panel, seed and time. Needs no model and no graph."""

from __future__ import annotations

import secrets

from sqlalchemy.orm import Session

from personal_data.errors import Conflict, InvalidInput, NotFound
from personal_data.records import Debate, User
from society.membership import for_asker, panel

MAX_QUESTION_CHARS = 8_000


def open_debate(
    session: Session, *, user: User, slug: str, question: str, deadline_s: float, seed: int | None = None
) -> Debate:
    """Record a question to a society; the panel is its accepted members of this moment.

    Raises:
        InvalidInput: an empty or oversized question.
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
    debate = Debate(
        society_id=society.id,
        user_id=user.id,
        question=question.strip(),
        panel=seats,
        seed=secrets.randbelow(2**31) if seed is None else seed,
        deadline_s=deadline_s,
    )
    session.add(debate)
    session.flush()
    return debate


def for_reader(session: Session, *, user_id: str, debate_id: str) -> Debate:
    """A debate that this person asked.

    Raises:
        NotFound: unknown, or somebody else's.
    """
    debate = session.get(Debate, debate_id)
    if debate is None or debate.user_id != user_id:
        raise NotFound(f"no debate {debate_id}")
    return debate

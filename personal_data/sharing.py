"""Who may see which memory. A memory is private until its owner gives it a wider scope.

Scopes: `private`, `society:<slug>`, `public`. What enters a debate is projected first: `visible_scopes` is applied
inside recall, before any model sees a text, and each memory that was shown is written to the owner's disclosure ledger.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from personal_data.errors import InvalidInput
from personal_data.records import Disclosure

PRIVATE = "private"
PUBLIC = "public"
_SCOPE = re.compile(r"private|public|society:[a-z0-9][a-z0-9-]{0,62}")


def society_scope(slug: str) -> str:
    """The scope that members of one society see."""
    return check_scope(f"society:{slug}")


def check_scope(scope: str) -> str:
    """Return the scope.

    Raises:
        InvalidInput: it is none of private, public, society:<slug>.
    """
    if not _SCOPE.fullmatch(scope):
        raise InvalidInput(f"scope must be private, public or society:<slug>, not {scope!r}", param="scope")
    return scope


def visible_scopes(audience: str | None) -> tuple[str, ...] | None:
    """Scopes that an audience may see; None (all of them) for the owner alone."""
    return None if audience is None else (PUBLIC, check_scope(audience))


def disclose(session: Session, *, user_id: str, debate_id: str, audience: str, memory_ids: Sequence[str]) -> None:
    """Write to the owner's ledger that these memories were shown; once a debate."""
    known = set(
        session.scalars(
            select(Disclosure.memory_id).where(Disclosure.debate_id == debate_id, Disclosure.user_id == user_id)
        )
    )
    for memory_id in dict.fromkeys(memory_ids):
        if memory_id not in known:
            session.add(Disclosure(user_id=user_id, debate_id=debate_id, memory_id=memory_id, audience=audience))


def disclosures(session: Session, user_id: str) -> list[Disclosure]:
    """Everything of this owner that was ever shown, newest first."""
    query = select(Disclosure).where(Disclosure.user_id == user_id).order_by(Disclosure.created_at.desc())
    return list(session.scalars(query))

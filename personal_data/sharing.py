"""Who may see which memory. A memory is private until its owner gives it a wider scope, or grants what it is about.

Scopes: `private`, `society:<slug>`, `public`. Sensitive kinds (`sensitive.py`) stay with their owner, whatever the
scope, unless a grant names the kind, or the owner gave the scope to that very memory. A grant opens to an audience what
holds its words, or, without words, its kinds within what the scopes show; it ends at its time or when it is withdrawn.
What enters a debate is projected first: `view_of` is asked at every recall, before any model sees a text, and each
memory that was shown is written to the owner's disclosure ledger.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from personal_data.errors import InvalidInput, NotFound
from personal_data.lexical import words
from personal_data.records import Disclosure, Grant, now
from personal_data.sensitive import KINDS

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


@dataclass(frozen=True, slots=True)
class Opening:
    """A live grant with words: what holds all stems of one of `about` is opened, with these sensitive kinds."""

    about: tuple[frozenset[str], ...]
    kinds: frozenset[str]


@dataclass(frozen=True, slots=True)
class View:
    """What an audience may see of one owner now: what has one of these scopes, with the sensitive kinds that were
    granted without words, and what the openings hold."""

    scopes: tuple[str, ...]
    kinds: frozenset[str] = frozenset()
    openings: tuple[Opening, ...] = ()


def view_of(session: Session, user_id: str, audience: str, *, at: float) -> View:
    """What an audience may see at a moment, by the grants as they are now.

    Raises:
        InvalidInput: no audience is called so.
    """
    if check_scope(audience) == PRIVATE:
        raise InvalidInput("an audience is a society or the public", param="audience")
    live = Grant.withdrawn_at.is_(None), or_(Grant.until.is_(None), Grant.until > at)
    mine = Grant.user_id == user_id, Grant.audience.in_((PUBLIC, audience))
    grants = session.scalars(select(Grant).where(*mine, *live)).all()
    kinds = frozenset(kind for grant in grants if not grant.about for kind in grant.kinds)
    openings = tuple(
        Opening(tuple(frozenset(words(phrase)) for phrase in grant.about), frozenset(grant.kinds))
        for grant in grants
        if grant.about
    )
    return View((PUBLIC, audience), kinds, openings)


def grant(
    session: Session,
    user_id: str,
    audience: str,
    *,
    about: Sequence[str] = (),
    kinds: Sequence[str] = (),
    until: float | None = None,
) -> Grant:
    """Let an audience see more of an owner, from the next recall on.

    Raises:
        InvalidInput: no such audience or kind; words that say nothing; a grant of nothing.
    """
    if check_scope(audience) == PRIVATE:
        raise InvalidInput("a grant is to a society or to the public", param="audience")
    if strange := sorted(set(kinds) - set(KINDS)):
        raise InvalidInput(f"no sensitive kind is called {strange[0]!r}; there are {', '.join(KINDS)}", param="kinds")
    if silent := [phrase for phrase in about if not words(phrase)]:
        raise InvalidInput(f"{silent[0]!r} says nothing that a memory could be known by", param="about")
    if not about and not kinds:
        raise InvalidInput("say what the grant is about, or which sensitive kinds it includes", param="about")
    made = Grant(user_id=user_id, audience=audience, about=list(about), kinds=sorted(set(kinds)), until=until)
    session.add(made)
    session.flush()
    return made


def grants(session: Session, user_id: str) -> list[Grant]:
    """The owner's grants, newest first, those that have ended too."""
    return list(session.scalars(select(Grant).where(Grant.user_id == user_id).order_by(Grant.id.desc())))


def withdraw(session: Session, user_id: str, grant_id: str) -> Grant:
    """Take a grant back: it counts for nothing at the next recall. Withdrawing twice is fine.

    Raises:
        NotFound: no such grant of this owner.
    """
    found = session.get(Grant, grant_id)
    if found is None or found.user_id != user_id:
        raise NotFound(f"no grant {grant_id}")
    found.withdrawn_at = found.withdrawn_at or now()
    return found


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

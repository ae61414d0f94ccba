"""Facts and standing preferences that a model drew from their owner's own words, and until when each of them holds.

Doors: `unobserved` (the turns to look in next), `keep` (what was found in them), `looked_in`, `drawn_from` and
`look_again` (a turn is forgotten, or says something else), `reopen`. A fact names the memories it was drawn from; it
goes with any of them, and the others are looked in again. A newer fact never erases an older one: it ends it, and what
ended it is written beside it, so that "as of last May" is still answered, and forgetting the newer one lets the older
one hold again. Which model draws, and by which words, is told elsewhere (`agents/reflection.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from personal_data.outbox import live, mark, take_turn, tell, these
from personal_data.records import Memory, User, new_id
from personal_data.sensitive import kinds_of_memory

FACT, PREFERENCE = "fact", "preference"
KINDS = (FACT, PREFERENCE)
_SOURCE = "memory:"


@dataclass(frozen=True, slots=True)
class Seen:
    """A turn as it was when it was shown to the model."""

    id: str
    text: str
    at: float
    """When it was said, or else when it was stored."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in turns, and how it stands to what is known."""

    text: str
    kind: str
    confidence: float
    sources: tuple[str, ...]
    """The ids of the turns that say it."""
    same_as: str | None = None
    """A known memory that tells it already."""
    replaces: str | None = None
    """A known memory that it makes untrue."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What came of a finding: the id of the memory that was added, confirmed or ended."""

    added: str | None = None
    confirmed: str | None = None
    ended: str | None = None


def unobserved(session: Session, user_id: str, limit: int) -> list[Seen]:
    """The owner's own turns in which nobody has looked yet, the newest ones, in the order in which they were said."""
    query = (
        select(Memory.id, Memory.text, Memory.event_at, Memory.created_at)
        .where(*live(user_id), Memory.observed.is_(False), Memory.kind == "turn", Memory.own)
        .order_by(Memory.event_at.desc().nulls_first(), Memory.id.desc())
        .limit(limit)
    )
    rows = session.execute(query).tuples().all()
    return [Seen(memory_id, text, created if at is None else at) for memory_id, text, at, created in reversed(rows)]


def current(session: Session, user_id: str, memory_ids: Collection[str]) -> list[Memory]:
    """Those of these memories that still hold."""
    query = select(Memory).where(*these(user_id, list(memory_ids)), Memory.valid_to.is_(None))
    return list(session.scalars(query.order_by(Memory.id)))


def keep(session: Session, user_id: str, shown: Sequence[Seen], found: Found) -> Kept:
    """Write down what was found in some of the turns that were shown. What was found in a turn that was forgotten or
    corrected meanwhile is found in nothing, and left out."""
    revision = take_turn(session, user_id)
    still = _unchanged(session, user_id, [one for one in shown if one.id in found.sources])
    if still.keys() < set(found.sources):
        return Kept()
    if found.same_as is not None:
        return Kept(confirmed=_confirm(session, user_id, revision, found))
    row = _row(user_id, session.get_one(User, user_id).name, found, max(one.at for one in still.values()))
    same = Memory.user_id == user_id, Memory.content_sha256 == row.content_sha256
    if session.scalar(select(Memory.id).where(*same)) is not None:
        return Kept()
    session.add(row)
    session.flush()
    ended = None if found.replaces is None else _end(session, user_id, revision, row, found.replaces)
    tell(session, user_id, revision, [row.id])
    return Kept(added=row.id, ended=ended)


def looked_in(session: Session, user_id: str, shown: Sequence[Seen]) -> None:
    """Nothing more is to be found in these turns; those that say something else by now are looked in again."""
    still = sorted(_unchanged(session, user_id, shown))
    session.execute(update(Memory).where(*these(user_id, still)).values(observed=True))


def _unchanged(session: Session, user_id: str, shown: Sequence[Seen]) -> dict[str, Seen]:
    """Those that are there and say what they said, locked until the transaction ends."""
    ids = [one.id for one in shown]
    query = select(Memory.id, Memory.text).where(*these(user_id, ids)).with_for_update()
    texts = dict(session.execute(query).tuples().all())
    return {one.id: one for one in shown if texts.get(one.id) == one.text}


def _row(user_id: str, owner: str, found: Found, at: float) -> Memory:
    return Memory(
        id=new_id("mem"),
        user_id=user_id,
        text=found.text,
        kind=found.kind,
        speaker=owner,
        sources=[f"{_SOURCE}{source}" for source in found.sources],
        event_at=at,
        valid_from=at,
        confidence=found.confidence,
        sensitive=kinds_of_memory(found.text, kind=found.kind, own=True),
        content_sha256=drawn_digest(owner, found.text, at),
    )


def drawn_digest(owner: str, text: str, at: float | None) -> str:
    """What makes a fact known again. The same may begin to hold twice: one moves away, and back."""
    return hashlib.sha256(f"{owner}\0{' '.join(text.split())}\0drawn\0{at}".encode()).hexdigest()


def _confirm(session: Session, user_id: str, revision: int, found: Found) -> str | None:
    """One more source of a fact that a model drew; what somebody said by hand needs none."""
    row = session.scalar(select(Memory).where(*these(user_id, [str(found.same_as)])))
    if row is None or row.confidence is None:
        return None
    row.sources = list(dict.fromkeys([*row.sources, *(f"{_SOURCE}{source}" for source in found.sources)]))
    row.confidence = max(row.confidence, found.confidence)
    mark(session, revision, [row.id])
    return row.id


def _end(session: Session, user_id: str, revision: int, newer: Memory, older_id: str) -> str | None:
    """Let one of two facts end where the other begins: the one that was said first, whichever was found first. The id
    of the known one, where it is that which ended."""
    known = next(iter(current(session, user_id, [older_id])), None)
    if known is None:
        return None
    begun = next(at for at in (known.valid_from, known.event_at, known.created_at) if at is not None)
    assert newer.valid_from is not None
    if begun > newer.valid_from:
        newer.valid_to, newer.superseded_by = begun, known.id
        return None
    known.valid_to, known.superseded_by = newer.valid_from, newer.id
    mark(session, revision, [known.id])
    return known.id


def drawn_from(session: Session, user_id: str, memory_ids: Collection[str]) -> list[str]:
    """The facts that were drawn from any of these memories."""
    named = {f"{_SOURCE}{memory_id}" for memory_id in memory_ids}
    query = select(Memory.id, Memory.sources).where(*live(user_id), Memory.confidence.is_not(None))
    return [fact for fact, sources in session.execute(query).tuples() if named.intersection(sources)]


def look_again(session: Session, user_id: str, facts: Collection[str]) -> None:
    """Facts are about to go: their sources may tell something else, or the same, without the one that went."""
    query = select(Memory.sources).where(*these(user_id, list(facts)))
    sources = {str(one).removeprefix(_SOURCE) for told in session.scalars(query) for one in told}
    session.execute(update(Memory).where(*these(user_id, sorted(sources))).values(observed=False))


def reopen(session: Session, user_id: str, revision: int, memory_ids: Collection[str]) -> None:
    """What ended with one of these memories holds again."""
    mine = Memory.user_id == user_id, Memory.superseded_by.in_(list(memory_ids))
    ended = list(session.scalars(select(Memory.id).where(*mine)))
    session.execute(update(Memory).where(Memory.id.in_(ended)).values(valid_to=None, superseded_by=None))
    mark(session, revision, ended)

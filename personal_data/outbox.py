"""The road from SQL to the vector index: the outbox is read, the index is told, and what it lost is queued again.

Door: `Outbox`, held by `memory.Memory`. An entry says no more than that a memory has changed; what the index is told is
what SQL holds when it is told. Entries go only after the index has taken them, so any number of processes may deliver
at once, and may die doing it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from personal_data.chunks import embed
from personal_data.database import Database
from personal_data.embedding import Embedder, from_bytes, to_bytes
from personal_data.errors import BackendError, IndexUnavailable
from personal_data.index import IndexRow, VectorIndex
from personal_data.records import Memory as MemoryRow
from personal_data.records import MemoryOutbox, User, now

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_Stored = tuple[str, bytes]
"""What the index is told of a memory: its scope and its vector."""
BATCH = 500
"""Rows a transaction: other writers get their turn between two of them. Every database binds that many variables."""
SYNC, REPLACE = "sync", "replace"
_RETRY_S = 5.0
_LONGEST_RETRY_S = 300.0


class Outbox:
    """What the index has still to be told."""

    def __init__(self, database: Database, embedder: Embedder, index: VectorIndex) -> None:
        self._database = database
        self._embedder = embedder
        self._index = index
        self.interrupted = False
        """Whether the index was away in the middle of something since somebody last looked."""

    def drain(self, user_id: str | None = None) -> int:
        """Tell the index what has waited longest, of one owner or of all: one batch.

        Returns how many entries it took: 0 when none is due or the index is away, and then they are tried again later.
        """
        due = select(MemoryOutbox).where(MemoryOutbox.not_before <= now())
        if user_id is not None:
            due = due.where(MemoryOutbox.user_id == user_id)
        with self._database.reading() as session:
            entries = list(session.scalars(due.order_by(MemoryOutbox.id).limit(BATCH)))
        by_owner: dict[str, list[MemoryOutbox]] = {}
        for entry in entries:
            by_owner.setdefault(entry.user_id, []).append(entry)
        return sum(self._deliver(owner, group) for owner, group in by_owner.items())

    def reconcile(self, owner: str) -> int:
        """Queue every memory of an owner that the index lacks, or holds although it was forgotten; how many those are.

        Raises:
            IndexUnavailable: the index is away; what was queued by then stays queued.
        """
        return sum(self._queue(owner, batch) for batch in batches(self.astray(owner)))

    def requeue(self, owner: str) -> int:
        """Queue all that an owner's index should hold, after it was dropped; how many memories those are.

        Those that wait already are queued again: somebody may have written one into the index that was dropped, and be
        about to take its entry away.
        """
        with self._database.reading() as session:
            ids = session.scalars(select(MemoryRow.id).where(*live(owner)).order_by(MemoryRow.id)).all()
        return sum(self._queue(owner, batch, again=True) for batch in batches(ids))

    def astray(self, owner: str) -> list[str]:
        """The owner's memories of which SQL and the index disagree whether they are there."""
        with self._database.reading() as session:
            query = select(MemoryRow.id, MemoryRow.deleted_at.is_(None)).where(MemoryRow.user_id == owner)
            alive = dict(session.execute(query.order_by(MemoryRow.id)).tuples().all())
        known = {
            memory_id
            for batch in batches(list(alive))
            for memory_id in self._index.known(owner, self._embedder.model, batch)
        }
        return [memory_id for memory_id, lives in alive.items() if lives != (memory_id in known)]

    def _queue(self, owner: str, ids: Sequence[str], *, again: bool = False) -> int:
        with self._database.session() as session:
            revision = take_turn(session, owner)
            waiting = session.scalars(select(MemoryOutbox.memory_id).where(MemoryOutbox.memory_id.in_(ids)))
            queued = sorted(set(ids) if again else set(ids) - set(waiting))
            tell(session, owner, revision, queued)
        return len(queued)

    def _deliver(self, owner: str, entries: Sequence[MemoryOutbox]) -> int:
        """Bring the index to SQL's present state for the entries' memories.

        A memory may be forgotten or shared after we have read it, and the index be told so before we write: so we look
        again after writing, and the entries go only when what was written still holds.
        """
        ids = sorted({entry.memory_id for entry in entries})
        told: dict[str, _Stored] | None = None
        changed = {entry.memory_id for entry in entries if entry.operation == REPLACE}
        try:
            if changed:  # they may have fewer parts now
                self._index.delete(owner, self._embedder.model, sorted(changed))
            while (stored := self._stored(owner, ids)) != told:
                self._write(owner, ids, stored)
                told = stored
        except (IndexUnavailable, BackendError) as error:
            log.warning("the index will be told later: %s", error)
            self.interrupted |= isinstance(error, IndexUnavailable)
            self._postpone(entries)
            return 0
        with self._database.session() as session:
            session.execute(delete(MemoryOutbox).where(MemoryOutbox.id.in_([entry.id for entry in entries])))
        return len(entries)

    def _write(self, owner: str, ids: Sequence[str], stored: dict[str, _Stored]) -> None:
        if stored:
            rows = [
                IndexRow(memory_id, scope, vector, part)
                for memory_id, (scope, blob) in stored.items()
                for part, vector in enumerate(from_bytes(blob))
            ]
            self._index.upsert(owner, self._embedder.model, rows)
        if gone := [memory_id for memory_id in ids if memory_id not in stored]:
            self._index.delete(owner, self._embedder.model, gone)

    def _stored(self, owner: str, ids: Sequence[str]) -> dict[str, _Stored]:
        """The live ones of `ids`, after giving a vector to those stored without one, or with another model's."""
        with self._database.reading() as session:
            rows = session.scalars(select(MemoryRow).where(*these(owner, ids))).all()
        bare = [row for row in rows if row.embedding is None or row.embedding_model != self._embedder.model]
        if bare:
            embedded = embed(self._embedder, [(row.speaker, row.text) for row in bare])
            with self._database.session() as session:
                mark(session, take_turn(session, owner), [row.id for row in bare])
                for row, vectors in zip(bare, embedded, strict=True):
                    row.embedding = to_bytes(vectors)
                    session.execute(
                        update(MemoryRow)
                        .where(MemoryRow.id == row.id, MemoryRow.deleted_at.is_(None), MemoryRow.text == row.text)
                        .values(embedding=row.embedding, embedding_model=self._embedder.model)
                    )
        return {row.id: (row.scope, row.embedding) for row in rows if row.embedding is not None}

    def _postpone(self, entries: Iterable[MemoryOutbox]) -> None:
        with self._database.session() as session:
            for entry in entries:
                wait = min(_RETRY_S * 2**entry.attempts, _LONGEST_RETRY_S)
                session.execute(
                    update(MemoryOutbox)
                    .where(MemoryOutbox.id == entry.id)
                    .values(attempts=entry.attempts + 1, not_before=now() + wait)
                )


def take_turn(session: Session, user_id: str) -> int:
    """The owner's next revision, for what this transaction will change of their memories. It must come first.

    Whoever changes an owner's memories waits here for the transaction that changed them before: so no text is stored
    twice, a higher revision is never seen before a lower one, and no two wait for each other.
    """
    grown = update(User).where(User.id == user_id).values(memory_revision=User.memory_revision + 1)
    return session.execute(grown.returning(User.memory_revision)).scalar_one()


def mark(session: Session, revision: int, memory_ids: Sequence[str]) -> None:
    """Write down that these memories changed with this revision."""
    session.flush()
    session.execute(update(MemoryRow).where(MemoryRow.id.in_(memory_ids)).values(revision=revision))


def tell(session: Session, user_id: str, revision: int, memory_ids: Iterable[str], *, operation: str = SYNC) -> None:
    """Write down, in the transaction of the change itself, that these memories changed and the index has to hear of
    them."""
    ids = list(dict.fromkeys(memory_ids))
    mark(session, revision, ids)
    session.add_all(MemoryOutbox(memory_id=memory_id, user_id=user_id, operation=operation) for memory_id in ids)


def live(user_id: str) -> tuple[ColumnElement[bool], ...]:
    """What every query on memories begins with: one owner's, and none that was forgotten."""
    return MemoryRow.user_id == user_id, MemoryRow.deleted_at.is_(None)


def these(user_id: str, memory_ids: Sequence[str]) -> tuple[ColumnElement[bool], ...]:
    """Those of these ids that are live and this owner's, found by their ids: SQLite would rather look through all
    100,000 of an owner's where it may choose, so the owner is compared in a way that no index serves."""
    return MemoryRow.id.in_(memory_ids), MemoryRow.user_id.concat("") == user_id, MemoryRow.deleted_at.is_(None)


def batches(found: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """As many at a time as one transaction should hold."""
    return (found[start : start + BATCH] for start in range(0, len(found), BATCH))

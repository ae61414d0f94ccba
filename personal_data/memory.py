"""A person's memory: remember, recall, forget.

SQL is the truth (text, vector, provenance, tombstones); the vector index only speeds recall up and can be rebuilt.
Between them stands an outbox, written in the memory's own transaction: a crash, or an index that is away, delays the
index and loses nothing. Recall is hybrid, dense and BM25 ranks fused by reciprocal ranks (Cormack et al. 2009), always
for one owner; `audience` narrows it to what that audience may see before anything is ranked.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from personal_data.database import Database
from personal_data.embedding import Embedder, Vectors, from_bytes, to_bytes
from personal_data.errors import BackendError, IndexUnavailable, InvalidInput, NotFound
from personal_data.index import IndexRow, VectorIndex
from personal_data.records import Memory as MemoryRow
from personal_data.records import MemoryOutbox, new_id, now
from personal_data.sharing import PRIVATE, check_scope, visible_scopes

log = logging.getLogger(__name__)

_RRF_K = 60  # the constant of the paper
MAX_CHARS = 8_000
_RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class NewMemory:
    """A text to remember. `event_at` is when it happened, in seconds since the epoch."""

    text: str
    speaker: str
    kind: str = "fact"
    scope: str = PRIVATE
    event_at: float | None = None
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """A recalled memory: its fused score and, in `why`, its rank (1 = best) by each way it was found."""

    id: str
    text: str
    speaker: str
    kind: str
    scope: str
    score: float
    why: dict[str, int] = field(default_factory=dict)


class Memory:
    """The memories of all owners; every method takes the owner first and sees nobody else's."""

    def __init__(self, database: Database, embedder: Embedder, index: VectorIndex) -> None:
        self._database = database
        self._embedder = embedder
        self._index = index

    def remember(self, user_id: str, items: Sequence[NewMemory]) -> list[str]:
        """Store texts and return their ids, in order; a text that is already known keeps its id.

        When the embedder or the index is away the memory is stored all the same and indexed later.

        Raises:
            InvalidInput: an empty or oversized text, an unknown scope.
        """
        for item in items:
            _check(item)
        vectors = self._try_embed([item.text for item in items])
        with self._database.session() as session:
            ids = [
                self._store(session, user_id, item, None if vectors is None else vectors[row])
                for row, item in enumerate(items)
            ]
        self.drain_outbox(user_id=user_id)
        return ids

    def recall(self, user_id: str, query: str, k: int, *, audience: str | None = None) -> list[Hit]:
        """The k memories that bear on the query most, best first.

        Args:
            audience: a scope such as `society:moot`; None when only the owner will see the result.
        """
        scopes = visible_scopes(audience)
        with self._database.reading() as session:
            rows = self._live(session, user_id, scopes)
        if not rows or not query.strip():
            return []
        ranks = {"dense": self._dense_ranks(user_id, query, k * 4, scopes, rows), "words": _bm25_ranks(query, rows)}
        fused: dict[str, float] = {}
        for ranking in ranks.values():
            for memory_id, rank in ranking.items():
                fused[memory_id] = fused.get(memory_id, 0.0) + 1.0 / (_RRF_K + rank)
        best = sorted(fused, key=lambda memory_id: (-fused[memory_id], memory_id))[:k]
        return [
            Hit(
                id=memory_id,
                text=rows[memory_id].text,
                speaker=rows[memory_id].speaker,
                kind=rows[memory_id].kind,
                scope=rows[memory_id].scope,
                score=fused[memory_id],
                why={name: ranking[memory_id] for name, ranking in ranks.items() if memory_id in ranking},
            )
            for memory_id in best
        ]

    def entries(self, user_id: str, *, limit: int = 100, before: str | None = None) -> Sequence[MemoryRow]:
        """The owner's live memories, newest first; `before` is the last id of the previous page."""
        query = select(MemoryRow).where(MemoryRow.user_id == user_id, MemoryRow.deleted_at.is_(None))
        if before is not None:
            query = query.where(MemoryRow.id < before)
        with self._database.reading() as session:
            return session.scalars(query.order_by(MemoryRow.id.desc()).limit(limit)).all()

    def set_scope(self, user_id: str, memory_id: str, scope: str) -> None:
        """Share a memory more widely, or take it back; acts on the next recall.

        Raises:
            NotFound: no such live memory of this owner.
        """
        with self._database.session() as session:
            row = self._owned(session, user_id, memory_id)
            row.scope = check_scope(scope)
            session.add(MemoryOutbox(memory_id=memory_id, user_id=user_id, operation="upsert"))
        self.drain_outbox(user_id=user_id)

    def forget(self, user_id: str, memory_id: str) -> None:
        """Erase a memory's text and vector at once and leave a tombstone, so that no late writer brings it back.

        Raises:
            NotFound: no such live memory of this owner.
        """
        with self._database.session() as session:
            row = self._owned(session, user_id, memory_id)
            row.text, row.embedding, row.sources = "", None, []
            row.content_sha256 = f"forgotten:{memory_id}"
            row.deleted_at = now()
            session.add(MemoryOutbox(memory_id=memory_id, user_id=user_id, operation="delete"))
        self.drain_outbox(user_id=user_id)

    def drain_outbox(self, *, user_id: str | None = None, limit: int = 500) -> int:
        """Tell the index what it has not heard yet; returns how many entries it took. Safe to run at any time."""
        due = select(MemoryOutbox).where(MemoryOutbox.not_before <= now())
        if user_id is not None:
            due = due.where(MemoryOutbox.user_id == user_id)
        with self._database.reading() as session:
            entries = list(session.scalars(due.order_by(MemoryOutbox.id).limit(limit)))
        by_owner: dict[str, list[MemoryOutbox]] = {}
        for entry in entries:
            by_owner.setdefault(entry.user_id, []).append(entry)
        return sum(self._deliver(owner, group) for owner, group in by_owner.items())

    def missing(self, user_id: str) -> list[str]:
        """Ids of live memories that the index does not hold: empty when index and SQL agree.

        Raises:
            IndexUnavailable: the index is away.
        """
        with self._database.reading() as session:
            ids = list(self._live(session, user_id, None))
        return sorted(set(ids) - self._index.known(user_id, self._embedder.model, ids)) if ids else []

    def rebuild(self, user_id: str) -> int:
        """Queue all of an owner's memories for the index again and deliver them; returns how many were taken."""
        with self._database.session() as session:
            for memory_id in self._live(session, user_id, None):
                session.add(MemoryOutbox(memory_id=memory_id, user_id=user_id, operation="upsert"))
        return self.drain_outbox(user_id=user_id, limit=1_000_000)

    def _try_embed(self, texts: Sequence[str]) -> Vectors | None:
        try:
            return self._embedder.embed(texts) if texts else None
        except BackendError as error:
            log.warning("stored without a vector for now: %s", error)
            return None

    def _store(self, session: Session, user_id: str, item: NewMemory, vector: Vectors | None) -> str:
        digest = _content_digest(item)
        known = select(MemoryRow.id).where(MemoryRow.user_id == user_id, MemoryRow.content_sha256 == digest)
        if (existing := session.scalar(known)) is not None:
            return existing
        row = MemoryRow(
            id=new_id("mem"),
            user_id=user_id,
            text=item.text,
            kind=item.kind,
            speaker=item.speaker,
            scope=item.scope,
            event_at=item.event_at,
            sources=list(item.sources),
            embedding=None if vector is None else to_bytes(vector),
            embedding_model=None if vector is None else self._embedder.model,
            content_sha256=digest,
        )
        session.add(row)
        session.add(MemoryOutbox(memory_id=row.id, user_id=user_id, operation="upsert"))
        session.flush()
        return row.id

    @staticmethod
    def _live(session: Session, user_id: str, scopes: tuple[str, ...] | None) -> dict[str, MemoryRow]:
        query = select(MemoryRow).where(MemoryRow.user_id == user_id, MemoryRow.deleted_at.is_(None))
        if scopes is not None:
            query = query.where(MemoryRow.scope.in_(scopes))
        return {row.id: row for row in session.scalars(query.order_by(MemoryRow.id))}

    @staticmethod
    def _owned(session: Session, user_id: str, memory_id: str) -> MemoryRow:
        row = session.get(MemoryRow, memory_id)
        if row is None or row.user_id != user_id or row.deleted_at is not None:
            raise NotFound(f"no memory {memory_id}")
        return row

    def _dense_ranks(
        self, user_id: str, query: str, k: int, scopes: tuple[str, ...] | None, rows: dict[str, MemoryRow]
    ) -> dict[str, int]:
        """Rank by cosine: from the index, or exactly from SQL's own vectors while the index is away."""
        vectors = self._try_embed([query])
        if vectors is None:
            return {}
        try:
            found = self._index.query(user_id, self._embedder.model, vectors[0], k, scopes)
            ids: Sequence[str] = [memory_id for memory_id, _ in found if memory_id in rows]
        except IndexUnavailable as error:
            log.warning("recalling without the index: %s", error)
            ids = self._exact(vectors[0], rows)[:k]
        return {memory_id: rank for rank, memory_id in enumerate(ids, 1)}

    def _exact(self, vector: Vectors, rows: dict[str, MemoryRow]) -> Sequence[str]:
        held = {
            memory_id: from_bytes(row.embedding)
            for memory_id, row in rows.items()
            if row.embedding is not None and row.embedding_model == self._embedder.model
        }
        if not held:
            return []
        scores = np.stack(tuple(held.values())) @ vector
        ids = tuple(held)
        return [ids[position] for position in np.argsort(-scores, kind="stable")]

    def _deliver(self, owner: str, entries: Sequence[MemoryOutbox]) -> int:
        """Bring the index to SQL's present state for the entries' memories; whatever they asked for, SQL decides."""
        ids = sorted({entry.memory_id for entry in entries})
        try:
            rows = self._with_vectors(owner, ids)
            alive = [IndexRow(row.id, row.scope, from_bytes(row.embedding)) for row in rows if row.embedding]
            if alive:
                self._index.upsert(owner, self._embedder.model, alive)
            if gone := sorted(set(ids) - {row.memory_id for row in alive}):
                self._index.delete(owner, self._embedder.model, gone)
        except (IndexUnavailable, BackendError) as error:
            log.warning("the index will be told later: %s", error)
            self._postpone(entries)
            return 0
        with self._database.session() as session:
            session.execute(delete(MemoryOutbox).where(MemoryOutbox.id.in_([entry.id for entry in entries])))
        return len(entries)

    def _with_vectors(self, owner: str, ids: Sequence[str]) -> list[MemoryRow]:
        """The live rows among `ids`, after giving a vector to those stored without one, or with another model's."""
        with self._database.reading() as session:
            query = select(MemoryRow).where(
                MemoryRow.id.in_(ids), MemoryRow.user_id == owner, MemoryRow.deleted_at.is_(None)
            )
            rows = list(session.scalars(query))
        bare = [row for row in rows if row.embedding is None or row.embedding_model != self._embedder.model]
        if bare:
            vectors = self._embedder.embed([row.text for row in bare])
            with self._database.session() as session:
                for row, vector in zip(bare, vectors, strict=True):
                    row.embedding, row.embedding_model = to_bytes(vector), self._embedder.model
                    session.execute(
                        update(MemoryRow)
                        .where(MemoryRow.id == row.id, MemoryRow.deleted_at.is_(None))
                        .values(embedding=row.embedding, embedding_model=row.embedding_model)
                    )
        return rows

    def _postpone(self, entries: Iterable[MemoryOutbox]) -> None:
        with self._database.session() as session:
            for entry in entries:
                wait = min(_RETRY_S * 2**entry.attempts, 300.0)
                session.execute(
                    update(MemoryOutbox)
                    .where(MemoryOutbox.id == entry.id)
                    .values(attempts=entry.attempts + 1, not_before=now() + wait)
                )


def pieces(text: str) -> list[str]:
    """A text in as few parts as a memory holds, cut where a line, else a sentence, else a word ends."""
    parts: list[str] = []
    rest = text.strip()
    while len(rest) > MAX_CHARS:
        head = rest[:MAX_CHARS]
        cut = next((at + 1 for mark in ("\n", ". ", " ") if (at := head.rfind(mark)) > 0), MAX_CHARS)
        parts.append(rest[:cut].strip())
        rest = rest[cut:].strip()
    return [*parts, rest]


def _check(item: NewMemory) -> None:
    check_scope(item.scope)
    if not item.text.strip():
        raise InvalidInput("there is nothing to remember: the text is empty", param="text")
    if len(item.text) > MAX_CHARS:
        raise InvalidInput(f"a memory holds {MAX_CHARS} characters at most; split this text", param="text")


def _content_digest(item: NewMemory) -> str:
    return hashlib.sha256(f"{item.speaker}\0{' '.join(item.text.split())}".encode()).hexdigest()


def _bm25_ranks(query: str, rows: dict[str, MemoryRow]) -> dict[str, int]:
    """Rank by BM25 over `speaker: text`; memories that share no word with the query have no rank."""
    import bm25s

    texts = [f"{row.speaker}: {row.text}" for row in rows.values()]
    tokens = bm25s.tokenize([*texts, query], stopwords="en", return_ids=False, show_progress=False)
    if not tokens[-1] or not any(tokens[:-1]):
        return {}
    retriever = bm25s.BM25()
    retriever.index(tokens[:-1], show_progress=False)
    scores = retriever.get_scores(tokens[-1])
    ids = tuple(rows)
    order = [position for position in np.argsort(-scores, kind="stable") if scores[position] > 0]
    return {ids[position]: rank for rank, position in enumerate(order, 1)}

"""What an owner's memories tell of a question: the reading half of `memory.Memory`.

Door: `Recall.recall`. It is always for one owner, over what this process holds of theirs (`shelf.py`), ranked by
`ranking.py`; the index is asked for those alone who have more vectors than a shelf takes. `audience` narrows what is
ranked to what that audience may see before anything is ranked, and whatever else here looks into memories for others
does so too: what they would see, who has something that bears on a question, what a text may have been taken from.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from sqlalchemy import select

from personal_data.chunks import chunks
from personal_data.database import Database
from personal_data.embedding import Embedder, Vectors, from_bytes
from personal_data.errors import BackendError, IndexUnavailable
from personal_data.index import VectorIndex
from personal_data.lexical import Mask, Scores, words
from personal_data.outbox import live, these
from personal_data.ranking import DEPTH, Ranked, fused_share, rank
from personal_data.records import Memory as MemoryRow
from personal_data.records import User, now
from personal_data.reranking import Reranker
from personal_data.sensitive import kinds_of_memory
from personal_data.sharing import View, view_of
from personal_data.shelf import Entry, Shelf, Shelves

log = logging.getLogger(__name__)

_FURTHEST = 200 * 4**3
"""An index is asked for no more than so many of the nearest."""
_RERANKED = 30
"""So many of the best are shown to a reranker."""
_SHELVES_BYTES = 512 * 2**20
"""What the owners that were asked last may take in this process."""


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
    sources: tuple[str, ...] = ()
    """Where it comes from: a chat's message, a place in an import, the memories that a fact was made of."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What an audience would see: how many memories, a page of them, and why how many others are hidden."""

    count: int
    page: Sequence[MemoryRow]
    hidden: Counter[str]


class Recall:
    """Reads the memories of all owners; every method takes the owner first and sees nobody else's."""

    def __init__(
        self, database: Database, embedder: Embedder, index: VectorIndex, reranker: Reranker | None = None
    ) -> None:
        self._database = database
        self._embedder = embedder
        self._index = index
        self._reranker = reranker
        self._shelves = Shelves(self._refresh, _SHELVES_BYTES)

    def recall(
        self,
        user_id: str,
        query: str,
        k: int,
        *,
        audience: str | None = None,
        as_of: float | None = None,
        kinds: Collection[str] | None = None,
    ) -> list[Hit]:
        """The k memories that bear on the question most, best first. What was superseded is left out.

        Args:
            audience: a scope such as `society:moot`; None when only the owner will see the result.
            as_of: a moment in seconds since the epoch, as if it were asked then: from there "last May" is seen, what
                was said later is not known, and what was superseded later still holds. None is now.
            kinds: only facts, preferences, turns or documents; None is all.
        """
        if not query.strip() or not self._remembers(user_id):
            return []
        vector = self._try_embed(query)
        with self._shelves.of(user_id) as shelf:
            asked_at = now() if as_of is None else as_of
            view = self._view(user_id, audience)
            allowed = shelf.seen_by(view) & shelf.true_at(asked_at)
            if as_of is not None:
                allowed &= shelf.known_at(as_of)
            if kinds is not None:
                allowed &= shelf.of_kinds(kinds)
            cosines = None if vector is None else self._cosines(user_id, shelf, vector, view, allowed)
            deep = k if self._reranker is None else max(k, _RERANKED)
            found = rank(shelf, query, cosines, asked_at=asked_at, allowed=allowed, k=deep)
            hits = [_hit(shelf.entries[ranked.number], ranked) for ranked in found]
        return self._sourced(user_id, self._reranked(query, hits)[:k])

    def _reranked(self, query: str, hits: list[Hit]) -> list[Hit]:
        """With the reranker's order as one more ranking."""
        if self._reranker is None or not hits:
            return hits
        try:
            order = self._reranker.order(query, [f"{hit.speaker}: {hit.text}" for hit in hits])
        except BackendError as error:
            log.warning("recalling without the reranker: %s", error)
            return hits
        places = {number: place for place, number in enumerate(order, 1)}
        fused = [
            replace(hit, score=hit.score + fused_share(places[number]), why=hit.why | {"reranker": places[number]})
            if number in places
            else hit
            for number, hit in enumerate(hits)
        ]
        return sorted(fused, key=lambda hit: -hit.score)

    def bearing(self, owners: Sequence[str], query: str, audience: str) -> dict[str, float]:
        """How well the best memory that each of these owners shows an audience fits a question: reciprocal ranks among
        them, by words and by meaning; only those with a memory that fits at all."""
        vector = self._try_embed(query)
        by_words: dict[str, float] = {}
        by_meaning: dict[str, float] = {}
        for owner in owners:
            view = self._view(owner, audience)
            with self._shelves.of(owner) as shelf:
                allowed = shelf.seen_by(view) & shelf.true_at(now())
                if not allowed.any():
                    continue
                best = float(shelf.words.scores(words(query), allowed).max())
                if best > 0:
                    by_words[owner] = best
                if vector is not None and shelf.exact:
                    by_meaning[owner] = float(shelf.cosines(vector)[allowed].max())
        found: dict[str, float] = dict.fromkeys(by_words, 0.0)
        for scores in (by_words, by_meaning):
            for place, owner in enumerate(sorted(scores, key=lambda one: -scores[one]), 1):
                if owner in found:
                    found[owner] += fused_share(place)
        return found

    def _remembers(self, user_id: str) -> bool:
        """Whether an owner has any memory: a question of one who has none is not worth a vector."""
        with self._database.reading() as session:
            return session.scalar(select(MemoryRow.id).where(*live(user_id)).limit(1)) is not None

    def _view(self, user_id: str, audience: str | None) -> View | None:
        """By the scopes and grants as they are at this moment, not as somebody remembers them."""
        if audience is None:
            return None
        with self._database.reading() as session:
            return view_of(session, user_id, audience, at=now())

    def likeness(self, texts: Sequence[str]) -> Vectors | None:
        """The cosines [n, n] of any texts, nobody's memories; of a text in several parts, by the mean of its parts.
        None while the embedder is away: then nothing is known of how near they are."""
        parts = [chunks(text) for text in texts]
        try:
            vectors = self._embedder.embed([part for of_one in parts for part in of_one])
        except BackendError as error:
            log.warning("no likeness of texts for now: %s", error)
            return None
        means = np.zeros((len(texts), vectors.shape[1]), np.float32)
        np.add.at(means, np.repeat(np.arange(len(texts)), [len(of_one) for of_one in parts]), vectors)
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        cosines: Vectors = np.clip(means @ means.T, -1.0, 1.0)
        return cosines

    def hidden_near(self, user_id: str, text: str, audience: str, *, limit: int = 50) -> list[str]:
        """Texts of the owner that this audience may not see, those first that share most words with a text: what it may
        have been taken from."""
        view = self._view(user_id, audience)
        with self._shelves.of(user_id) as shelf:
            hidden = shelf.alive & ~shelf.seen_by(view)
            if not hidden.any():
                return []
            scores = shelf.words.scores(words(text), hidden)
            best = np.argsort(-scores, kind="stable")[:limit]
            return [shelf.entries[number].text for number in best if hidden[number] and scores[number] > 0]

    def shown_to(self, user_id: str, audience: str, *, limit: int = 100, before: str | None = None) -> Shown:
        """What an audience would see of an owner, newest first, and why the rest stays hidden. It is what recall for
        that audience ranks, by the same masks; `before` is the last id of the previous page."""
        view = self._view(user_id, audience)
        assert view is not None
        with self._shelves.of(user_id) as shelf:
            seen = shelf.seen_by(view)
            covered = shelf.in_scope(view)
            ids = [shelf.entries[number].id for number in np.flatnonzero(seen)]
            hidden: Counter[str] = Counter()
            for number in np.flatnonzero(shelf.alive & ~seen):
                kept = sorted(shelf.entries[number].guard - view.kinds)
                hidden[f"sensitive: {', '.join(kept)}" if covered[number] else "private"] += 1
        page = sorted((memory_id for memory_id in ids if before is None or memory_id < before), reverse=True)[:limit]
        query = select(MemoryRow).where(*these(user_id, page)).order_by(MemoryRow.id.desc())
        with self._database.reading() as session:
            return Shown(len(ids), session.scalars(query).all(), hidden)

    def _sourced(self, user_id: str, hits: Sequence[Hit]) -> list[Hit]:
        """With their sources, which no shelf holds; without those that were forgotten this very moment."""
        query = select(MemoryRow.id, MemoryRow.sources).where(*these(user_id, [hit.id for hit in hits]))
        with self._database.reading() as session:
            sources: dict[str, list[str]] = dict(session.execute(query).tuples().all())
        return [replace(hit, sources=tuple(sources[hit.id])) for hit in hits if hit.id in sources]

    def _try_embed(self, query: str) -> Vectors | None:
        """The vector of a question."""
        try:
            vector: Vectors = self._embedder.embed([query])[0]
            return vector
        except BackendError as error:
            log.warning("recalling by words only: %s", error)
            return None

    def _cosines(self, user_id: str, shelf: Shelf, vector: Vectors, view: View | None, allowed: Mask) -> Scores | None:
        """Of all memories, from the shelf; where an owner has more than it holds vectors of, of the nearest by the
        index: of those in the view's scopes, and where words open others, of all."""
        if shelf.exact:
            return shelf.cosines(vector)
        asked = {None if view is None else view.scopes}
        if view is not None and view.openings:
            asked.add(None)
        try:
            found = [one for scopes in asked for one in self._nearest(user_id, shelf, vector, scopes, allowed)]
        except IndexUnavailable as error:
            log.warning("recalling by words only: %s", error)
            return None
        return shelf.placed(found)

    def _nearest(
        self, user_id: str, shelf: Shelf, vector: Vectors, scopes: Sequence[str] | None, allowed: Mask
    ) -> list[tuple[str, float]]:
        """The index knows scopes and nothing else that keeps a memory back: it is asked for more until those that may
        be seen are as many as count, so that the others do not take their places."""
        k = DEPTH
        while True:
            found = self._index.query(user_id, self._embedder.model, vector, k, scopes)
            if len(found) < k or k >= _FURTHEST or shelf.count({one for one, _ in found}, allowed) >= DEPTH:
                return found
            k *= 4

    def _refresh(self, user_id: str, shelf: Shelf) -> None:
        """Tell a shelf what has changed since its revision."""
        model = self._embedder.model
        with self._database.reading() as session:
            revision = session.scalar(select(User.memory_revision).where(User.id == user_id)) or 0
            if revision == shelf.revision:
                return
            query = select(*_SHELVED).where(MemoryRow.user_id == user_id)
            if shelf.revision is None:
                query = query.where(MemoryRow.deleted_at.is_(None))
            else:
                query = query.where(MemoryRow.revision > shelf.revision)
            rows = session.execute(query.order_by(MemoryRow.id)).all()
        if any(shelf.says(row.id) not in (None, row.text) for row in rows if row.deleted_at is None):
            shelf.clear()  # a memory was corrected, and what a shelf has lined up it cannot change
            self._refresh(user_id, shelf)
            return
        for row in rows:
            if row.deleted_at is not None:
                shelf.remove(row.id)
                continue
            vectors = from_bytes(row.embedding) if row.embedding and row.embedding_model == model else None
            at = row.created_at if row.event_at is None else row.event_at
            kinds = row.sensitive
            if kinds is None:
                kinds = kinds_of_memory(row.text, kind=row.kind, own=row.own)
            entry = Entry(
                row.id,
                row.text,
                row.speaker,
                row.kind,
                row.scope,
                row.thread,
                at,
                guard=frozenset(kinds),
                named=row.named,
                said_at=row.event_at if row.valid_from is None else row.valid_from,
                valid_to=row.valid_to,
            )
            shelf.put(entry, vectors)
        shelf.revision = max([revision, *(row.revision for row in rows)])


_SHELVED = (
    MemoryRow.id,
    MemoryRow.text,
    MemoryRow.speaker,
    MemoryRow.kind,
    MemoryRow.scope,
    MemoryRow.thread,
    MemoryRow.own,
    MemoryRow.sensitive,
    MemoryRow.named,
    MemoryRow.event_at,
    MemoryRow.valid_from,
    MemoryRow.valid_to,
    MemoryRow.created_at,
    MemoryRow.embedding,
    MemoryRow.embedding_model,
    MemoryRow.deleted_at,
    MemoryRow.revision,
)


def _hit(entry: Entry, ranked: Ranked) -> Hit:
    return Hit(entry.id, entry.text, entry.speaker, entry.kind, entry.scope, ranked.score, dict(ranked.why))

"""A person's memory: remember, recall, forget.

SQL is the truth (text, vector, provenance, tombstones); the vector index can be filled again. Between them stands an
outbox (`outbox.py`), written in the memory's own transaction: a crash, or an index that is away, delays the index and
loses nothing. Recall (`ranking.py`) is always for one owner, over what this process holds of theirs (`shelf.py`): the
index is asked for those alone who have more vectors than a shelf takes. `audience` narrows recall to what that audience
may see before anything is ranked.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from personal_data.chunks import chunks, embed
from personal_data.database import Database
from personal_data.embedding import Embedder, EndpointEmbedder, Vectors, from_bytes, to_bytes
from personal_data.errors import BackendError, ConfigurationError, Conflict, IndexUnavailable, InvalidInput, NotFound
from personal_data.facts import drawn_from, look_again, reopen
from personal_data.index import ChromaIndex, VectorIndex
from personal_data.lexical import Mask, Scores, words
from personal_data.outbox import BATCH, REPLACE, Outbox, batches, live, take_turn, tell, these
from personal_data.ranking import DEPTH, Ranked, fused_share, rank
from personal_data.records import Import, ImportedMemory, MemoryVersion, User, new_id, now
from personal_data.records import Memory as MemoryRow
from personal_data.reranking import EndpointReranker, Reranker
from personal_data.sensitive import kinds_of_memory
from personal_data.settings import Settings, read_key
from personal_data.sharing import PRIVATE, View, check_scope, view_of
from personal_data.shelf import Entry, Shelf, Shelves
from personal_data.upkeep import Findings, Upkeep
from personal_data.versions import correct, history, put_back
from personal_data.versions import forget as forget_versions

log = logging.getLogger(__name__)

MAX_CHARS = 8_000
_FURTHEST = 200 * 4**3
"""An index is asked for no more than so many of the nearest."""
_RERANKED = 30
"""So many of the best are shown to a reranker."""
_SHELVES_BYTES = 512 * 2**20
"""What the owners that were asked last may take in this process."""


@dataclass(frozen=True, slots=True)
class NewMemory:
    """A text to remember. `event_at` is when it happened, in seconds since the epoch.

    `scope` None is nobody's wish: a new text is private then, and one that is known keeps the scope that it has.
    """

    text: str
    speaker: str
    kind: str = "fact"
    scope: str | None = None
    event_at: float | None = None
    sources: tuple[str, ...] = ()
    thread: str | None = None
    """The conversation it was said in, whose other turns stand beside it in recall."""
    own: bool = True
    """Whether the owner said it; what others said is context only."""
    named: bool = False
    """Whether its owner gave the scope to this very text, so that no sensitive kind of it keeps it back."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The part of an import that memories come from."""

    import_id: str
    unit: int


_Wanted = tuple[str, NewMemory]
"""A text to remember behind its digest, by which it is known again."""


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


class Memory:
    """The memories of all owners; every method takes the owner first and sees nobody else's."""

    def __init__(
        self, database: Database, embedder: Embedder, index: VectorIndex, reranker: Reranker | None = None
    ) -> None:
        self._database = database
        self._embedder = embedder
        self._index = index
        self._reranker = reranker
        self._outbox = Outbox(database, embedder, index)
        self._upkeep = Upkeep(database, embedder.model, index, self._outbox)
        self._shelves = Shelves(self._refresh, _SHELVES_BYTES)

    def remember(self, user_id: str, items: Sequence[NewMemory], *, origin: Origin | None = None) -> list[str]:
        """Store texts and return their ids, in order; a text that is already known keeps its id.

        Many texts are stored in several transactions. Should it break off between two of them, repeating it stores
        the rest. When the embedder or the index is away the memory is stored all the same and indexed later.

        Raises:
            InvalidInput: an empty or oversized text, an unknown scope; then nothing was stored.
        """
        for item in items:
            _check(item)
        ids: list[str] = []
        for batch in batches(items):
            wanted = [(content_digest(item), item) for item in batch]
            vectors = self._vectors_of_new(user_id, wanted)
            with self._database.session() as session:
                ids += self._store(session, user_id, wanted, vectors, origin)
            self._outbox.drain(user_id)
        return ids

    def scopes(self, user_id: str, memory_ids: Sequence[str]) -> list[str]:
        """The scope that each of the owner's memories has now, in order."""
        found: dict[str, str] = {}
        with self._database.reading() as session:
            for batch in batches(memory_ids):
                query = select(MemoryRow.id, MemoryRow.scope).where(MemoryRow.user_id == user_id)
                found |= dict(session.execute(query.where(MemoryRow.id.in_(batch))).tuples().all())
        return [found[memory_id] for memory_id in memory_ids]

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

    def entries(
        self,
        user_id: str,
        *,
        limit: int = 100,
        before: str | None = None,
        kind: str | None = None,
        speaker: str | None = None,
        holds: str | None = None,
    ) -> Sequence[MemoryRow]:
        """The owner's live memories, newest first; `before` is the last id of the previous page. Only those of a kind,
        of a speaker, or that hold a text (letters of either case), where that is asked for."""
        query = select(MemoryRow).where(*live(user_id))
        if kind is not None:
            query = query.where(MemoryRow.kind == kind)
        if speaker is not None:
            query = query.where(MemoryRow.speaker == speaker)
        if holds is not None:
            query = query.where(MemoryRow.text.icontains(holds, autoescape=True))
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
            revision = take_turn(session, user_id)
            row = self._owned(session, user_id, memory_id)
            row.scope, row.named = check_scope(scope), scope != PRIVATE
            tell(session, user_id, revision, [memory_id])
        self._outbox.drain(user_id)

    def correct(self, user_id: str, memory_id: str, text: str) -> None:
        """Let a memory say something else; what it said before is kept, and `take_back_correction` puts it back.

        Raises:
            NotFound: no such live memory of this owner.
            InvalidInput: an empty or oversized text.
        """
        _check(NewMemory(text, speaker=""))
        with self._database.session() as session:
            revision = take_turn(session, user_id)
            row = self._owned(session, user_id, memory_id)
            if text != row.text:
                correct(session, row, text)
                tell(session, user_id, revision, [memory_id], operation=REPLACE)
                retract(session, user_id, revision, [memory_id])
        self._outbox.drain(user_id)

    def take_back_correction(self, user_id: str, memory_id: str) -> None:
        """Let a memory say what it said before it was last corrected.

        Raises:
            NotFound: no such live memory of this owner.
            Conflict: it was never corrected.
        """
        with self._database.session() as session:
            revision = take_turn(session, user_id)
            put_back(session, self._owned(session, user_id, memory_id))
            tell(session, user_id, revision, [memory_id], operation=REPLACE)
            retract(session, user_id, revision, [memory_id])
        self._outbox.drain(user_id)

    def history(self, user_id: str, memory_id: str) -> list[MemoryVersion]:
        """What a memory said before, oldest first.

        Raises:
            NotFound: no such live memory of this owner.
        """
        with self._database.reading() as session:
            self._owned(session, user_id, memory_id)
            return history(session, [memory_id])

    def forget(self, user_id: str, memory_id: str) -> None:
        """Erase a memory's text and vector at once and leave a tombstone, so that no late writer brings it back.

        Raises:
            NotFound: no such live memory of this owner.
        """
        with self._database.session() as session:
            self._owned(session, user_id, memory_id)
        self.forget_many(user_id, [memory_id])

    def forget_many(self, user_id: str, memory_ids: Sequence[str]) -> int:
        """Erase those of these memories that are there and this owner's; how many they were."""
        forgotten = 0
        for batch in batches(memory_ids):
            with self._database.session() as session:
                revision = take_turn(session, user_id)
                forgotten += bury(session, user_id, revision, batch)
            self._outbox.drain(user_id)
        return forgotten

    def take_back(self, user_id: str, import_id: str, unit: int | None = None) -> int:
        """Forget what came with one part of an import, or with all of it, and in no other way; how many that were.

        A memory that another import holds too, or that was remembered otherwise, stays.
        """
        held = select(ImportedMemory.memory_id).where(ImportedMemory.import_id == import_id)
        if unit is not None:
            held = held.where(ImportedMemory.unit == unit)
        forgotten, more = 0, True
        while more:
            with self._database.session() as session:
                revision = take_turn(session, user_id)
                ids = session.scalars(held.order_by(ImportedMemory.memory_id).limit(BATCH)).all()
                mine = ImportedMemory.import_id == import_id, ImportedMemory.memory_id.in_(ids)
                session.execute(delete(ImportedMemory).where(*mine))
                others = select(ImportedMemory.memory_id).where(ImportedMemory.memory_id.in_(ids))
                gone = select(MemoryRow.id).where(
                    MemoryRow.id.in_(ids), MemoryRow.imported, MemoryRow.id.not_in(others)
                )
                forgotten += bury(session, user_id, revision, session.scalars(gone).all())
                more = bool(ids)
            self._outbox.drain(user_id)
        return forgotten

    def let_go(self, user_id: str) -> None:
        """Keep nothing of this owner's texts in this process; the next recall reads them again."""
        self._shelves.drop(user_id)

    def drain_outbox(self) -> int:
        """Tell the index what it has not heard yet, a batch of it; returns how many entries it took: 0 when none is due
        or the index is away. Safe to run at any time.
        """
        return self._outbox.drain()

    def reconcile(self) -> int:
        """Queue what the index lacks or holds wrongly, of every owner, and what is in a shard that has lost memories;
        how many were queued: `drain_outbox` delivers them.

        An index that was lost, or whose embedding model was replaced, is filled again by this and by nothing else: what
        it has been told once is in no outbox any more.

        Raises:
            IndexUnavailable: the index is away; what was queued by then stays queued.
        """
        self._outbox.interrupted = False
        return self._upkeep.check_all()

    @property
    def suspicious(self) -> bool:
        """Whether the index has failed in the middle of something since `reconcile`, or was found to be wrong."""
        return self._outbox.interrupted

    def verify(self, user_id: str) -> Findings:
        """Whether the index holds the owner's memories and finds them by their own vectors; nothing is changed, but
        what is wrong makes it `suspicious`, so that whoever keeps it repairs it.

        Raises:
            IndexUnavailable: the index is away.
        """
        findings = self._upkeep.verify(user_id)
        self._outbox.interrupted |= not findings.healthy
        return findings

    def rebuild(self, user_id: str) -> int:
        """Fill the owner's part of the index anew from SQL, and that of those who share a shard with them; how many
        memories were queued.

        Raises:
            IndexUnavailable: the index is away; nothing was changed.
        """
        return self._upkeep.rebuild(user_id)

    def _try_embed(self, query: str) -> Vectors | None:
        """The vector of a question."""
        try:
            vector: Vectors = self._embedder.embed([query])[0]
            return vector
        except BackendError as error:
            log.warning("recalling by words only: %s", error)
            return None

    def _vectors_of_new(self, user_id: str, wanted: Sequence[_Wanted]) -> dict[str, Vectors]:
        """By digest, those of the texts that are not known yet; none while the embedder is away."""
        with self._database.reading() as session:
            known = set(session.scalars(_same(user_id, wanted).with_only_columns(MemoryRow.content_sha256)))
        new = {digest: (item.speaker, item.text) for digest, item in wanted if digest not in known}
        try:
            return dict(zip(new, embed(self._embedder, list(new.values())), strict=True))
        except BackendError as error:
            log.warning("stored without a vector for now: %s", error)
            return {}

    def _store(
        self,
        session: Session,
        user_id: str,
        wanted: Sequence[_Wanted],
        vectors: dict[str, Vectors],
        origin: Origin | None,
    ) -> list[str]:
        revision = take_turn(session, user_id)
        rows = {row.content_sha256: row for row in session.scalars(_same(user_id, wanted))}
        told: list[str] = []
        corrected: list[str] = []
        for digest, item in wanted:
            if (row := rows.get(digest)) is None:
                row = rows[digest] = self._new_row(user_id, item, digest, vectors.get(digest))
                session.add(row)
                row.imported = origin is not None
                told.append(row.id)
                continue
            row.imported = row.imported and origin is not None
            if origin is None and row.text.split() != item.text.split():  # it was corrected: the last word counts
                correct(session, row, item.text)
                corrected.append(row.id)
            if item.scope is not None and (item.scope != row.scope or (item.named and not row.named)):
                row.scope, row.named = item.scope, item.named
                told.append(row.id)
        tell(session, user_id, revision, told)
        tell(session, user_id, revision, corrected, operation=REPLACE)
        retract(session, user_id, revision, corrected)
        ids = [rows[digest].id for digest, _ in wanted]
        if origin is not None:
            _belong(session, origin, ids)
        return ids

    def _new_row(self, user_id: str, item: NewMemory, digest: str, vector: Vectors | None) -> MemoryRow:
        return MemoryRow(
            id=new_id("mem"),
            user_id=user_id,
            text=item.text,
            kind=item.kind,
            speaker=item.speaker,
            scope=item.scope or PRIVATE,
            event_at=item.event_at,
            sources=list(item.sources),
            thread=item.thread,
            own=item.own,
            sensitive=kinds_of_memory(item.text, kind=item.kind, own=item.own),
            named=item.named,
            embedding=None if vector is None else to_bytes(vector),
            embedding_model=None if vector is None else self._embedder.model,
            content_sha256=digest,
        )

    @staticmethod
    def _owned(session: Session, user_id: str, memory_id: str) -> MemoryRow:
        row = session.get(MemoryRow, memory_id)
        if row is None or row.user_id != user_id or row.deleted_at is not None:
            raise NotFound(f"no memory {memory_id}")
        return row

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


def open_memory(settings: Settings, database: Database) -> Memory:
    """The memory of these settings; it connects to nothing before it is used.

    Raises:
        ConfigurationError: no embedder or no index is configured, or the embedder's key is missing.
    """
    if settings.embedding_url is None or settings.index_url is None:
        raise ConfigurationError(
            "embedding_url and index_url are not set: start everything with `folkmoot serve`, or point "
            "FOLKMOOT_EMBEDDING_URL and FOLKMOOT_INDEX_URL at your own servers"
        )
    key = read_key("embedding server", settings.embedding_api_key_env)
    embedder = EndpointEmbedder(settings.embedding_url, settings.embedding_model, token=key)
    reranker = None
    if settings.reranker_url is not None:
        token = read_key("reranker", settings.reranker_api_key_env)
        reranker = EndpointReranker(settings.reranker_url, settings.reranker_model, token=token)
    return Memory(database, embedder, ChromaIndex(settings.index_url), reranker)


def _hit(entry: Entry, ranked: Ranked) -> Hit:
    return Hit(entry.id, entry.text, entry.speaker, entry.kind, entry.scope, ranked.score, dict(ranked.why))


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


def bury(session: Session, user_id: str, revision: int, memory_ids: Sequence[str]) -> int:
    """Empty those of these memories that are alive and this owner's, and the facts that were drawn from them; how many
    of those named there were."""
    retract(session, user_id, revision, memory_ids)
    return _empty(session, user_id, revision, memory_ids)


def retract(session: Session, user_id: str, revision: int, memory_ids: Sequence[str]) -> None:
    """Empty the facts that were drawn from these memories, which go or say something else now."""
    if facts := drawn_from(session, user_id, memory_ids):
        look_again(session, user_id, facts)
        _empty(session, user_id, revision, facts)


def _empty(session: Session, user_id: str, revision: int, memory_ids: Sequence[str]) -> int:
    rows = session.scalars(select(MemoryRow).where(*these(user_id, memory_ids))).all()
    for row in rows:
        row.text, row.embedding, row.sources = "", None, []
        row.sensitive, row.named = None, False
        row.content_sha256 = f"forgotten:{row.id}"
        row.deleted_at = now()
    ids = [row.id for row in rows]
    forget_versions(session, ids)
    reopen(session, user_id, revision, ids)
    tell(session, user_id, revision, ids)
    return len(rows)


def _check(item: NewMemory) -> None:
    if item.scope is not None:
        check_scope(item.scope)
    if not item.text.strip():
        raise InvalidInput("there is nothing to remember: the text is empty", param="text")
    if len(item.text) > MAX_CHARS:
        raise InvalidInput(f"a memory holds {MAX_CHARS} characters at most; split this text", param="text")


def _same(user_id: str, wanted: Sequence[_Wanted]) -> Select[MemoryRow]:
    digests = [digest for digest, _ in wanted]
    return select(MemoryRow).where(MemoryRow.user_id == user_id, MemoryRow.content_sha256.in_(digests))


def content_digest(item: NewMemory) -> str:
    """What makes a text known again: who said it, and in a dated conversation where and when, since people repeat
    themselves."""
    place = "" if item.thread is None or item.event_at is None else f"\0{item.thread}\0{item.event_at}"
    return hashlib.sha256(f"{item.speaker}\0{' '.join(item.text.split())}{place}".encode()).hexdigest()


def _belong(session: Session, origin: Origin, ids: Sequence[str]) -> None:
    """Write down that these memories came with an import.

    Raises:
        Conflict: it was undone meanwhile.
    """
    begun = session.get(Import, origin.import_id)
    if begun is None or begun.state == "undone":
        raise Conflict(f"import {origin.import_id} was undone; begin another one")
    query = select(ImportedMemory.memory_id).where(ImportedMemory.import_id == origin.import_id)
    there = set(session.scalars(query.where(ImportedMemory.memory_id.in_(ids))))
    for memory_id in dict.fromkeys(ids):
        if memory_id not in there:
            session.add(ImportedMemory(import_id=origin.import_id, memory_id=memory_id, unit=origin.unit))

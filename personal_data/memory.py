"""A person's memory: remember, recall, forget.

SQL is the truth (text, vector, provenance, tombstones); the vector index can be filled again. Between them stands an
outbox (`outbox.py`), written in the memory's own transaction: a crash, or an index that is away, delays the index and
loses nothing. What is asked of it is in `recall.py`; here is what changes it, and its upkeep.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from personal_data.chunks import embed
from personal_data.database import Database
from personal_data.embedding import Embedder, EndpointEmbedder, Vectors, to_bytes
from personal_data.errors import BackendError, ConfigurationError, Conflict, InvalidInput, NotFound
from personal_data.facts import drawn_from, look_again, reopen
from personal_data.index import ChromaIndex, VectorIndex
from personal_data.outbox import BATCH, REPLACE, Outbox, batches, live, take_turn, tell, these
from personal_data.recall import Recall
from personal_data.records import Import, ImportedMemory, MemoryVersion, new_id, now
from personal_data.records import Memory as MemoryRow
from personal_data.reranking import EndpointReranker, Reranker
from personal_data.sensitive import kinds_of_memory
from personal_data.settings import Settings, read_key
from personal_data.sharing import PRIVATE, check_scope
from personal_data.upkeep import Findings, Upkeep
from personal_data.versions import correct, history, put_back
from personal_data.versions import forget as forget_versions

log = logging.getLogger(__name__)

MAX_CHARS = 8_000


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


class Memory(Recall):
    """The memories of all owners; every method takes the owner first and sees nobody else's."""

    def __init__(
        self, database: Database, embedder: Embedder, index: VectorIndex, reranker: Reranker | None = None
    ) -> None:
        super().__init__(database, embedder, index, reranker)
        self._outbox = Outbox(database, embedder, index)
        self._upkeep = Upkeep(database, embedder.model, index, self._outbox)

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

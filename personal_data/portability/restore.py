"""Bringing an archive in: into an account that is new, or that has data already. Twice gives the same as once.

Door: `restore`. A row keeps its id unless that is another person's here; then the id is derived from theirs and the old
one, so that it is the same the next time. What was forgotten here stays forgotten, a text that is known here keeps its
row, and what is here is never overwritten. Texts are embedded later, by way of the outbox. Rows go in batch by batch:
should it break off, the same archive again brings the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session

from personal_data.database import Database
from personal_data.errors import AdapterError, InvalidInput, NotFound
from personal_data.facts import drawn_digest
from personal_data.memory import NewMemory, content_digest
from personal_data.outbox import BATCH, take_turn, tell
from personal_data.portability.archive import Archive, opened
from personal_data.portability.export import AdapterFiles
from personal_data.portability.ids import Ids
from personal_data.portability.rows import Checker
from personal_data.portability.settings import apply_settings, archived_agent, check_settings
from personal_data.portability.tables import PARTS, Owner, Part
from personal_data.records import AdapterVersion, Agent, Memory, Society, now
from personal_data.sharing import PRIVATE, society_scope

Row = dict[str, Any]


@dataclass(slots=True)
class Restored:
    """How many rows of each part are new here, and what was left out: reason → how many."""

    added: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        return {"added": dict(self.added), "left_out": dict(self.left_out)}


def restore(database: Database, adapters: AdapterFiles, user_id: str, source: Path | IO[bytes]) -> Restored:
    """Bring in what an archive holds. All of it is checked before the first row is written.

    Raises:
        NotFound: there is no such person, or they have no agent.
        InvalidInput: it is no archive of ours, was changed or damaged, or contradicts itself.
    """
    with opened(source) as archive:
        with database.reading() as session:
            agent = session.scalar(select(Agent).where(Agent.user_id == user_id))
        if agent is None:
            raise NotFound(f"user {user_id} has no agent to restore to")
        work = _Restoring(database, adapters, Owner(user_id, agent.id), archive)
        try:
            return work.run()
        except (IntegrityError, DataError) as error:
            raise InvalidInput("this archive cannot be restored: it contradicts itself", param="archive") from error


class _Restoring:
    def __init__(self, database: Database, adapters: AdapterFiles, owner: Owner, archive: Archive) -> None:
        self._database, self._adapters = database, adapters
        self._owner, self._archive = owner, archive
        self._told = archive.settings()
        self._ids = Ids(owner, archived_agent(self._told))
        self._slugs: set[str] = set()
        self._result = Restored()
        self._prepare: dict[str, Callable[[Session, list[Row]], list[Row]]] = {
            "memories": self._memories,
            "memory_versions": self._versions_of_memories,
            "grants": self._grants,
            "societies": self._societies,
            "debates": self._debates,
        }

    def run(self) -> Restored:
        check_settings(self._told)
        for part in PARTS:
            for _ in self._batches(part):  # all of it fits, or nothing is stored
                pass
        for part in PARTS:
            for batch in self._batches(part):
                if not part.restored:
                    self._result.left_out["told of another person's debates, for reading only"] += len(batch)
                elif part.record is AdapterVersion:
                    self._versions(part, batch)
                else:
                    self._store(part, batch)
        with self._database.session() as session:
            for reason in apply_settings(session, self._owner, self._told, self._ids):
                self._result.left_out[reason] += 1
        self._result.added, self._result.left_out = +self._result.added, +self._result.left_out
        return self._result

    def _batches(self, part: Part) -> Iterator[list[Row]]:
        """The part's rows as they will be stored: checked, with the ids and owner of this place."""
        if not part.restored:
            lines = self._archive.lines(part.name)
            yield from iter(lambda: list(islice(lines, BATCH)), [])
            return
        checker = Checker(part)
        lines = self._archive.lines(part.name)
        while batch := [checker.checked(line) for line in islice(lines, BATCH)]:
            with self._database.reading() as session:
                if "id" in part.columns:
                    self._ids.learn(session, part, [row["id"] for row in batch])
                if part.record is Memory:
                    self._ids.equate(self._known_texts(session, batch))
            yield [self._ids.translated(part, row) for row in batch]

    def _store(self, part: Part, batch: list[Row]) -> None:
        with self._database.session() as session:
            revision = take_turn(session, self._owner.user_id) if part.record is Memory else 0
            prepare = self._prepare.get(part.name)
            added = self._insert(session, part, prepare(session, batch) if prepare else batch)
            if part.record is Memory:
                tell(session, self._owner.user_id, revision, added)
            self._result.added[part.name] += len(added)

    def _insert(self, session: Session, part: Part, batch: list[Row]) -> list[str]:
        """Store the rows that are not here yet; the first column of each one's key."""
        if not batch:
            return []
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        key = next(iter(part.table.primary_key.columns))
        statement = insert(part.table).values(batch).on_conflict_do_nothing().returning(key)
        return [str(found) for found in session.scalars(statement)]

    def _memories(self, session: Session, batch: list[Row]) -> list[Row]:
        ids = [row["id"] for row in batch]
        gone = select(Memory.id).where(Memory.id.in_(ids), Memory.deleted_at.is_not(None))
        forgotten = set(session.scalars(gone))
        self._result.left_out["forgotten here since"] += len(forgotten)
        for row in batch:
            row["content_sha256"] = _digest(row)
            if row["scope"].startswith("society:") and row["scope"] not in self._slugs:
                row["scope"] = PRIVATE
                self._result.left_out["shared with a society that is not here: private now"] += 1
        return [row for row in batch if row["id"] not in forgotten]

    def _versions_of_memories(self, session: Session, batch: list[Row]) -> list[Row]:
        """Of memories that were not forgotten here since."""
        ids = {row["memory_id"] for row in batch}
        mine = Memory.user_id == self._owner.user_id, Memory.deleted_at.is_(None)
        alive = set(session.scalars(select(Memory.id).where(*mine, Memory.id.in_(ids))))
        return [row for row in batch if row["memory_id"] in alive]

    def _grants(self, _session: Session, batch: list[Row]) -> list[Row]:
        """A society that is not here may be somebody else's one day: what was granted to it is taken back."""
        for row in batch:
            if row["audience"].startswith("society:") and row["audience"] not in self._slugs:
                row["withdrawn_at"] = row["withdrawn_at"] or now()
        return batch

    def _societies(self, session: Session, batch: list[Row]) -> list[Row]:
        """A society that is here already is the same one by its id; another one of its name keeps the name."""
        for row in batch:
            scope = society_scope(row["slug"])
            holder = session.scalar(select(Society.id).where(Society.slug == row["slug"]))
            if holder not in (None, row["id"]):
                row["slug"] = f"{row['slug'][:50]}-{row['id'][-8:]}"
            else:
                self._slugs.add(scope)
        return batch

    def _debates(self, _session: Session, batch: list[Row]) -> list[Row]:
        for row in batch:
            if row["state"] == "queued":
                row["state"], row["error"] = "failed", "it was not finished when it was exported"
                row["finished_at"] = row["finished_at"] or now()
        return batch

    def _known_texts(self, session: Session, batch: list[Row]) -> dict[str, str]:
        """Which of these memories are here under another id, because their text is."""
        digests = {_digest(row): row["id"] for row in batch}
        known = select(Memory.content_sha256, Memory.id).where(
            Memory.user_id == self._owner.user_id, Memory.content_sha256.in_(digests)
        )
        return {digests[digest]: there for digest, there in session.execute(known).tuples()}

    def _versions(self, part: Part, batch: list[Row]) -> None:
        for row in batch:
            files = self._archive.adapter(row["number"])
            try:
                self._version(part, row, files)
            except AdapterError as error:
                self._ids.lost(part, row["id"])
                self._result.left_out[f"an adapter version: {error}"] += 1

    def _version(self, part: Part, row: Row, files: dict[str, bytes]) -> None:
        with self._database.reading() as session:
            there = session.get(AdapterVersion, row["id"])
            numbers = set(
                session.scalars(select(AdapterVersion.number).where(AdapterVersion.agent_id == self._owner.agent_id))
            )
        if there is not None and there.retired_at is not None:
            raise AdapterError("it was retired here since")
        if there is not None:
            row |= {"number": there.number, "token": there.token, "job_id": there.job_id}
        elif row["number"] in numbers or row["number"] < 1:
            row["number"] = max(numbers, default=0) + 1
        path, sha256 = self._publish(row, files)
        if there is None:
            with self._database.session() as session:
                agent = session.get_one(Agent, self._owner.agent_id, with_for_update=True)
                agent.fence = max(agent.fence, row["token"])
                self._result.added[part.name] += len(
                    self._insert(session, part, [row | {"path": path, "sha256": sha256}])
                )
            self._publish(row, files)  # a worker that started meanwhile took the folder for nobody's

    def _publish(self, row: Row, files: dict[str, bytes]) -> tuple[str, str]:
        return self._adapters.adopt(
            self._owner.agent_id,
            row["number"],
            files,
            base_sha256=row["base_sha256"],
            job_id=row["job_id"],
            token=row["token"],
        )


def _digest(row: Row) -> str:
    if row["confidence"] is not None:
        return drawn_digest(row["speaker"], row["text"], row["valid_from"])
    return content_digest(
        NewMemory(row["text"], speaker=row["speaker"], event_at=row["event_at"], thread=row["thread"])
    )

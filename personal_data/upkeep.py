"""Does the index hold what SQL holds? Ids are compared, and memories looked for by their own vectors: counts lie.

Doors: `Upkeep.verify`, `.rebuild`, `.check_all` at start. An index that lost a memory is told again; a shard that does
not find what it holds, or answers only with errors, is dropped and filled anew from SQL. Recall does not wait for any
of it: it is exact without the index for all but the largest memories.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from sqlalchemy import func, select

from personal_data.database import Database
from personal_data.embedding import from_bytes
from personal_data.errors import IndexBroken
from personal_data.index import VectorIndex, collection_name
from personal_data.outbox import Outbox, live, these
from personal_data.records import Memory as MemoryRow
from personal_data.records import MemoryOutbox

log = logging.getLogger(__name__)

PROBES, MOST_PROBES = 1_000, 50_000
"""So many of one owner's memories, and of all together, are looked for by their own vectors."""
_ASKED_AT_ONCE = 100
_NEAR, _FAR, _SAME = 20, 500, 1e-4
"""Places among which a memory must find itself, unless so many others have its very vector; and, at the second look."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found of one owner's memories; healthy when nothing is astray and every probe was answered."""

    memories: int
    waiting: int
    """Entries that the index has still to be told: not a fault."""
    astray: int
    """Memories that it lacks, or holds although they were forgotten, beside those that wait."""
    probes: int
    lost: int
    """Probes that did not find themselves."""
    broken: str | None = None
    """What the index answered instead of looking, if it did."""

    @property
    def healthy(self) -> bool:
        return not self.astray and not self.lost and self.broken is None


class Upkeep:
    """Compares and repairs; held by `memory.Memory`."""

    def __init__(self, database: Database, model: str, index: VectorIndex, outbox: Outbox) -> None:
        self._database, self._model, self._index, self._outbox = database, model, index, outbox

    def verify(self, owner: str, *, probes: int = PROBES, seed: int = 0) -> Findings:
        """Compare one owner's memories with the index; nothing is changed.

        Raises:
            IndexUnavailable: the index is away.
        """
        with self._database.reading() as session:
            mine = MemoryOutbox.user_id == owner
            waiting = set(session.scalars(select(MemoryOutbox.memory_id).where(mine)))
            count = session.scalar(select(func.count()).where(*live(owner))) or 0
        told = self._told(owner)
        drawn = Random(seed).sample(told, min(probes, len(told)))
        try:
            astray = set(self._outbox.astray(owner)) - waiting
            lost = self._lost(owner, drawn)
        except IndexBroken as error:
            return Findings(count, len(waiting), 0, len(drawn), 0, str(error))
        return Findings(count, len(waiting), len(astray), len(drawn), len(lost))

    def _lost(self, owner: str, memory_ids: Sequence[str]) -> list[str]:
        """Those that are not found by their own vectors, nor by looking further: a graph leads past some of many that
        are alike, and that is no loss."""
        missed = self._missed(owner, memory_ids, _NEAR)
        return self._missed(owner, missed, _FAR)

    def _missed(self, owner: str, memory_ids: Sequence[str], k: int) -> list[str]:
        missed: list[str] = []
        for start in range(0, len(memory_ids), _ASKED_AT_ONCE):
            batch = memory_ids[start : start + _ASKED_AT_ONCE]
            query = select(MemoryRow.id, MemoryRow.embedding).where(*these(owner, batch))
            with self._database.reading() as session:
                rows = session.execute(query.where(MemoryRow.embedding.is_not(None))).tuples().all()
            if not rows:
                continue
            vectors = np.stack([from_bytes(blob)[0] for _, blob in rows if blob is not None])
            for (memory_id, _), near in zip(rows, self._index.nearest(owner, self._model, vectors, k), strict=True):
                same = [found for found, cosine in near if cosine > 1 - _SAME]
                if memory_id not in same and len(same) < k:
                    missed.append(memory_id)
        return missed

    def rebuild(self, owner: str) -> int:
        """Drop the shard that holds an owner's vectors, and queue all memories in it; how many those are.

        Raises:
            IndexUnavailable: the index is away; nothing was changed.
        """
        owners = self._shards()[collection_name(owner, self._model)] or [owner]
        self._index.drop(owner, self._model)
        return sum(self._outbox.requeue(one) for one in owners)

    def check_all(self, seed: int = 0) -> int:
        """Queue what the index lacks or holds wrongly, of every owner, and rebuild each shard that does not find all it
        is asked for; how many memories were queued.

        After a kill one vector in a thousand may be lost: all are looked for, up to a number that takes half a minute.

        Raises:
            IndexUnavailable: the index is away; what was queued by then stays queued.
        """
        queued, shards = 0, self._shards()
        each = max(1, MOST_PROBES // max(1, sum(map(len, shards.values()))))
        for owners in shards.values():
            if any(not self._finds_itself(owner, seed, each) for owner in owners):
                log.warning("a shard of the memory index has lost memories: it is filled again")
                queued += self.rebuild(owners[0])
            else:
                queued += sum(self._outbox.reconcile(owner) for owner in owners)
        return queued

    def _finds_itself(self, owner: str, seed: int, probes: int) -> bool:
        told = self._told(owner)
        try:
            return not self._lost(owner, Random(seed).sample(told, min(probes, len(told))))
        except IndexBroken:
            return False

    def _told(self, owner: str) -> list[str]:
        """Memories with a vector of the present model that the index should hold."""
        waiting = select(MemoryOutbox.memory_id).where(MemoryOutbox.user_id == owner)
        ours = MemoryRow.embedding_model == self._model, MemoryRow.id.not_in(waiting)
        with self._database.reading() as session:
            return list(session.scalars(select(MemoryRow.id).where(*live(owner), *ours).order_by(MemoryRow.id)))

    def _shards(self) -> dict[str, list[str]]:
        with self._database.reading() as session:
            owners = session.scalars(select(MemoryRow.user_id).distinct().order_by(MemoryRow.user_id)).all()
        shards: dict[str, list[str]] = defaultdict(list)
        for owner in owners:
            shards[collection_name(owner, self._model)].append(owner)
        return shards

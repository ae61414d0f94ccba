"""What a memory said before its owner corrected it: kept, so that a correction can be taken back; erased with it.

Doors: `correct`, `put_back`, `history`, inside the transaction of whoever holds the owner's turn. A corrected memory
stays the same one: its id, its place in a conversation, its sources and who may see it do not change, nor does the
digest by which an import knows it again, so that importing once more does not bring the error back.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from personal_data.errors import Conflict
from personal_data.records import Memory, MemoryVersion
from personal_data.sensitive import kinds_of_memory


def correct(session: Session, row: Memory, text: str) -> None:
    """Give a memory another text; the vector is made when the index is told."""
    count = session.scalar(select(func.count()).where(MemoryVersion.memory_id == row.id)) or 0
    session.add(MemoryVersion(memory_id=row.id, number=count + 1, text=row.text))
    _say(row, text)


def put_back(session: Session, row: Memory) -> None:
    """Take the last correction back.

    Raises:
        Conflict: there is none.
    """
    last = latest(session, row.id)
    _say(row, last.text)
    session.delete(last)


def latest(session: Session, memory_id: str) -> MemoryVersion:
    """What a memory said before.

    Raises:
        Conflict: it never said anything else.
    """
    query = select(MemoryVersion).where(MemoryVersion.memory_id == memory_id).order_by(MemoryVersion.number.desc())
    found = session.scalars(query.limit(1)).first()
    if found is None:
        raise Conflict(f"memory {memory_id} was never corrected")
    return found


def history(session: Session, memory_ids: Sequence[str]) -> list[MemoryVersion]:
    """Everything that these memories said before, oldest first."""
    query = select(MemoryVersion).where(MemoryVersion.memory_id.in_(memory_ids))
    return list(session.scalars(query.order_by(MemoryVersion.memory_id, MemoryVersion.number)))


def forget(session: Session, memory_ids: Sequence[str]) -> None:
    """Erase everything that these memories said before."""
    session.execute(delete(MemoryVersion).where(MemoryVersion.memory_id.in_(memory_ids)))


def _say(row: Memory, text: str) -> None:
    """What its owner shared by hand was another text: where this one is more sensitive, that consent is no more."""
    before, kinds = (kinds_of_memory(said, kind=row.kind, own=row.own) for said in (row.text, text))
    row.text, row.sensitive = text, kinds
    row.named = row.named and set(kinds) <= set(before)
    row.embedding, row.embedding_model = None, None
    row.observed = False

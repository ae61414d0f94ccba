"""What somebody wants erased: one memory, one source, or everything. Door: `read_wish`, then `memories_of`.

A source is an import (`imp_...`), a conversation (`cnv_...`), or the beginning of what memories name as theirs, such as
`chatgpt:` or `message:msg_...`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from personal_data.errors import Conflict, InvalidInput, NotFound
from personal_data.records import ChatMessage, Conversation, Import, ImportedMemory, Memory

Wish = dict[str, Any]


def read_wish(
    session: Session, user_id: str, *, memory: str | None = None, source: str | None = None, everything: bool = False
) -> Wish:
    """The wish as it is recorded.

    Raises:
        InvalidInput: not exactly one thing is named.
        NotFound: this owner has no such memory, or nothing from such a source.
        Conflict: an import is running that may bring more from there.
    """
    if [memory is not None, source is not None, everything].count(True) != 1:
        raise InvalidInput("say what to erase: a memory, a source, or everything", param="memory")
    if memory is not None:
        row = session.get(Memory, memory)
        if row is None or row.user_id != user_id:
            raise NotFound(f"no memory {memory}")
        return {"memory": memory}
    if source is not None:
        if not source.strip():
            raise InvalidInput("the source is empty", param="source")
        wish = {"source": source}
        if not (_owned(session, user_id, source) or memories_of(session, user_id, wish)):
            raise NotFound(f"nothing comes from source {source[:100]!r}")
        running = select(Import.id).where(Import.user_id == user_id, Import.state == "running")
        if not _owned(session, user_id, source) and (busy := session.scalars(running.limit(1)).first()) is not None:
            raise Conflict(f"import {busy} is running and may bring more: undo it, or wait for its end")
        return wish
    return {"everything": True}


def conversation_of(session: Session, user_id: str, wish: Wish) -> Conversation | None:
    """The conversation that the wish names."""
    row = session.get(Conversation, wish.get("source", ""))
    return row if row is not None and row.user_id == user_id else None


def import_of(session: Session, user_id: str, wish: Wish) -> Import | None:
    """The import that the wish names."""
    row = session.get(Import, wish.get("source", ""))
    return row if row is not None and row.user_id == user_id else None


def memories_of(session: Session, user_id: str, wish: Wish) -> list[str]:
    """The memories to erase that are still there; the one that was named, there or not."""
    if "memory" in wish:
        return [wish["memory"]]
    live = select(Memory.id).where(Memory.user_id == user_id, Memory.deleted_at.is_(None)).order_by(Memory.id)
    if "everything" in wish:
        return list(session.scalars(live))
    if (begun := import_of(session, user_id, wish)) is not None:
        held = select(ImportedMemory.memory_id).where(ImportedMemory.import_id == begun.id)
        others = select(ImportedMemory.memory_id).where(ImportedMemory.import_id != begun.id)
        return list(session.scalars(live.where(Memory.id.in_(held), Memory.imported, Memory.id.not_in(others))))
    beginnings: Sequence[str] = (wish["source"],)
    thread = None
    if (talk := conversation_of(session, user_id, wish)) is not None:
        turns = session.scalars(select(ChatMessage.id).where(ChatMessage.conversation_id == talk.id))
        beginnings, thread = tuple(f"message:{turn}" for turn in turns), talk.id
    told = session.execute(live.add_columns(Memory.sources, Memory.thread)).tuples()
    return [
        memory_id
        for memory_id, sources, where in told
        if (thread is not None and where == thread)
        or any(isinstance(one, str) and one.startswith(tuple(beginnings)) for one in sources)
    ]


def held_elsewhere(session: Session, user_id: str, wish: Wish) -> int:
    """Of an import, how many memories stay because they came in another way too."""
    begun = import_of(session, user_id, wish)
    if begun is None:
        return 0
    held = select(ImportedMemory.memory_id).where(ImportedMemory.import_id == begun.id)
    there = select(Memory.id).where(Memory.user_id == user_id, Memory.deleted_at.is_(None), Memory.id.in_(held))
    return len(session.scalars(there).all())


def _owned(session: Session, user_id: str, source: str) -> bool:
    wish = {"source": source}
    return any(find(session, user_id, wish) is not None for find in (conversation_of, import_of))

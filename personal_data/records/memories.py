"""What is remembered of a person: memories with their history, imports, what the index still has to learn."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text, UniqueConstraint, false, true
from sqlalchemy.orm import Mapped, mapped_column

from personal_data.records.base import Record, new_id, now


class Memory(Record):
    """One remembered text. SQL is the truth; the vector index can be rebuilt from `embedding`."""

    __tablename__ = "memories"
    __table_args__ = (
        UniqueConstraint("user_id", "content_sha256"),
        Index("ix_memories_user_live", "user_id", "deleted_at"),
        Index("ix_memories_user_revision", "user_id", "revision"),
        Index("ix_memories_user_observed", "user_id", "observed"),
    )
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("mem"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    text: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(16), default="fact")
    speaker: Mapped[str] = mapped_column(String(200))
    scope: Mapped[str] = mapped_column(String(100), default="private")
    """private, society:<slug> or public."""
    own: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Whether the owner said it. What others said is context, and never something to learn to say."""
    imported: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether imports alone have brought it: undoing the last of them forgets it."""
    sensitive: Mapped[list[Any] | None]
    """Its kinds as `sensitive.kinds_of` found them when it was stored; None: not looked at yet."""
    named: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether its owner gave its scope to this very text, so that no kind keeps it back."""
    sources: Mapped[list[Any]] = mapped_column(default=list)
    event_at: Mapped[float | None]
    valid_from: Mapped[float | None]
    valid_to: Mapped[float | None]
    """From when on it is not true any more; None: it still is."""
    superseded_by: Mapped[str | None] = mapped_column(String(40))
    """The memory that ended it."""
    confidence: Mapped[float | None]
    """How sure the model was that drew it from the owner's words; None: nobody drew it, somebody said it."""
    observed: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether a reflection has looked in it for facts."""
    embedding: Mapped[bytes | None]
    """Unit vectors of its parts: `embedding.to_bytes`."""
    embedding_model: Mapped[str | None] = mapped_column(String(200))
    content_sha256: Mapped[str] = mapped_column(String(64))
    thread: Mapped[str | None] = mapped_column(String(200))
    """The conversation that it was said in; None stands alone."""
    revision: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """The owner's `memory_revision` when this memory last changed."""
    deleted_at: Mapped[float | None]
    """Tombstone: the text is emptied at once, the row stays so that a late writer cannot bring it back."""
    created_at: Mapped[float] = mapped_column(default=now)


class MemoryVersion(Record):
    """What a memory said before a correction."""

    __tablename__ = "memory_versions"
    memory_id: Mapped[str] = mapped_column(ForeignKey("memories.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(Text)
    replaced_at: Mapped[float] = mapped_column(default=now)


class Import(Record):
    """What came in together, and how each part of it fared."""

    __tablename__ = "imports"
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("imp"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(300))
    """The upload's file or folder, as its owner calls it."""
    state: Mapped[str] = mapped_column(String(16), default="looking")
    """looking, ready, running, done, failed or undone; one that broke off is running still, and goes on when it is run
    again."""
    choice: Mapped[dict[str, Any]]
    """What its owner chose: {me, scope, date_order, timezone}."""
    units: Mapped[list[Any]] = mapped_column(default=list)
    """One report for each file, channel or mailbox: `importing.Report`."""
    error: Mapped[str | None] = mapped_column(Text)
    """Why the upload as a whole could not be read."""
    created_at: Mapped[float] = mapped_column(default=now)
    finished_at: Mapped[float | None]


class ImportedMemory(Record):
    """A memory that came with a part of an import, be it with that one alone or not."""

    __tablename__ = "imported_memories"
    import_id: Mapped[str] = mapped_column(ForeignKey("imports.id", ondelete="CASCADE"), primary_key=True)
    memory_id: Mapped[str] = mapped_column(ForeignKey("memories.id", ondelete="CASCADE"), primary_key=True, index=True)
    unit: Mapped[int]


class MemoryOutbox(Record):
    """What the index has still to be told, written in the same transaction as the memory."""

    __tablename__ = "memory_outbox"
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    memory_id: Mapped[str] = mapped_column(String(40), index=True)
    user_id: Mapped[str] = mapped_column(String(40))
    operation: Mapped[str] = mapped_column(String(8))
    """sync, or replace where the memory says something else now, maybe in fewer parts."""
    attempts: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[float] = mapped_column(default=0.0)

"""Who may see what, who saw it, and what was erased."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from personal_data.records.base import Record, new_id, now


class Grant(Record):
    """What its owner lets an audience see, beside or within the scopes of their memories."""

    __tablename__ = "grants"
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("gra"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    audience: Mapped[str] = mapped_column(String(100))
    """public or society:<slug>."""
    about: Mapped[list[Any]] = mapped_column(default=list)
    """Words: memories that hold all words of one of these are opened; none: what the scopes show already."""
    kinds: Mapped[list[Any]] = mapped_column(default=list)
    """The sensitive kinds that are granted by name."""
    until: Mapped[float | None]
    withdrawn_at: Mapped[float | None]
    created_at: Mapped[float] = mapped_column(default=now)


class Disclosure(Record):
    """A memory that was shown to a debate: its owner can read the whole list."""

    __tablename__ = "disclosures"
    __table_args__ = (UniqueConstraint("debate_id", "memory_id"),)
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("dsc"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    memory_id: Mapped[str] = mapped_column(String(40))
    debate_id: Mapped[str] = mapped_column(ForeignKey("debates.id", ondelete="CASCADE"))
    audience: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[float] = mapped_column(default=now)


class Erasure(Record):
    """What its owner wanted erased, and the receipt: numbers and reasons, never a word of what it was.

    `user_id` is no foreign key: the receipt outlives the account.
    """

    __tablename__ = "erasures"
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("era"))
    user_id: Mapped[str] = mapped_column(String(40), index=True)
    what: Mapped[dict[str, Any]]
    """{memory: id}, {source: prefix, import or conversation} or {everything: true}."""
    state: Mapped[str] = mapped_column(String(16), default="running", index=True)
    """running or done; one that broke off is running still and is taken up again."""
    stage: Mapped[str] = mapped_column(String(16), default="rows")
    """rows, traces or account: what is being done now."""
    removed: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """How many of each kind."""
    residue: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """File → how many places in it still hold something of it."""
    could_not: Mapped[list[Any]] = mapped_column(default=list)
    """What was out of reach, and why."""
    created_at: Mapped[float] = mapped_column(default=now)
    finished_at: Mapped[float | None]


class ErasureMark(Record):
    """Digests of what an erasure removed, by which its bytes are looked for; they go when it is done."""

    __tablename__ = "erasure_marks"
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("erm"))
    erasure_id: Mapped[str] = mapped_column(ForeignKey("erasures.id", ondelete="CASCADE"), index=True)
    digests: Mapped[bytes]

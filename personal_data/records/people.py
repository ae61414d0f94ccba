"""People, their keys and agents, what they said to each other, and what the person liked of it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from personal_data.records.base import Record, new_id, now


class User(Record):
    """A person."""

    __tablename__ = "users"
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("usr"))
    handle: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    admin: Mapped[bool] = mapped_column(default=False)
    memory_revision: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Grows with every transaction that changes one of their memories."""
    created_at: Mapped[float] = mapped_column(default=now)


class Key(Record):
    """An API key: the secret itself is shown once and only its SHA-256 is stored."""

    __tablename__ = "keys"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    label: Mapped[str] = mapped_column(String(200), default="")
    secret_sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[float] = mapped_column(default=now)
    revoked_at: Mapped[float | None]


class Model(Record):
    """A configured model. Agents on one base are one lineage: near-clones in a vote."""

    __tablename__ = "models"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    base: Mapped[str | None] = mapped_column(String(500))
    lineage: Mapped[str] = mapped_column(String(500))
    abilities: Mapped[dict[str, Any] | None]
    """What was tried with it, by name: {passed, of, able, lineage, at}; what is missing was not tried yet."""
    created_at: Mapped[float] = mapped_column(default=now)


class Agent(Record):
    """A person's agent: a model, a live adapter (or the bare base), standing instructions, a schedule."""

    __tablename__ = "agents"
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("agt"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), unique=True)
    handle: Mapped[str] = mapped_column(String(64), unique=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    live_version_id: Mapped[str | None] = mapped_column(
        ForeignKey("adapter_versions.id", use_alter=True, name="fk_agents_live_version")
    )
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
    """Highest ledger token that has published for this agent; never decreases."""
    instructions: Mapped[list[Any]] = mapped_column(default=list)
    improve_every_s: Mapped[float | None]
    schedule_from: Mapped[float | None]
    created_at: Mapped[float] = mapped_column(default=now)


class Conversation(Record):
    """A chat between a person and their agent."""

    __tablename__ = "conversations"
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("cnv"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    agent_id: Mapped[str] = mapped_column(ForeignKey("agents.id", ondelete="CASCADE"))
    created_at: Mapped[float] = mapped_column(default=now)


class ChatMessage(Record):
    """One stored turn. `request_id` makes a retried request store its turns once."""

    __tablename__ = "messages"
    __table_args__ = (UniqueConstraint("conversation_id", "seq"), UniqueConstraint("user_id", "request_id", "role"))
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("msg"))
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    seq: Mapped[int]
    role: Mapped[str] = mapped_column(String(16))
    content: Mapped[str] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(String(100))
    memory_ids: Mapped[list[Any]] = mapped_column(default=list)
    adapter_version_id: Mapped[str | None] = mapped_column(ForeignKey("adapter_versions.id", ondelete="SET NULL"))
    finish_reason: Mapped[str | None] = mapped_column(String(16))
    created_at: Mapped[float] = mapped_column(default=now)


class Feedback(Record):
    """What the owner preferred, to a prompt: a chosen answer, a rejected one, or one over the other."""

    __tablename__ = "feedback"
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("fbk"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    message_id: Mapped[str | None] = mapped_column(ForeignKey("messages.id", ondelete="SET NULL"))
    prompt: Mapped[list[Any]]
    """The messages the model saw: [{role, content}, ...]."""
    chosen: Mapped[str | None] = mapped_column(Text)
    """None: they rejected an answer and said of none that it would have been better."""
    rejected: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[float] = mapped_column(default=now)

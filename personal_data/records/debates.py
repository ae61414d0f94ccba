"""Societies, and all that was said, found and decided in a debate."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint, true
from sqlalchemy.orm import Mapped, mapped_column

from personal_data.records.base import Record, new_id, now


class Society(Record):
    """A group of agents that can be asked together."""

    __tablename__ = "societies"
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("soc"))
    slug: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    plan: Mapped[dict[str, Any] | None]
    """How it debates where a question does not say: `society.state.Plan`."""
    created_at: Mapped[float] = mapped_column(default=now)


class Member(Record):
    """An agent's seat in a society; only its owner can take or leave it."""

    __tablename__ = "members"
    society_id: Mapped[str] = mapped_column(ForeignKey("societies.id", ondelete="CASCADE"), primary_key=True)
    agent_id: Mapped[str] = mapped_column(ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True)
    state: Mapped[str] = mapped_column(String(16), default="invited")
    role: Mapped[str] = mapped_column(String(16), default="member", server_default="member")
    """member: its agent is asked; observer: it may ask and read."""
    shares_memories: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Whether the agent may look into what its owner shares with this society, or answers by what it knows alone."""
    created_at: Mapped[float] = mapped_column(default=now)


class Debate(Record):
    """One question to one society, run under a ledger job so that another process can finish it."""

    __tablename__ = "debates"
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("dbt"))
    society_id: Mapped[str] = mapped_column(ForeignKey("societies.id", ondelete="CASCADE"), index=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    question: Mapped[str] = mapped_column(Text)
    panel: Mapped[list[Any]]
    """Agent ids in seat order, fixed at intake."""
    seed: Mapped[int]
    kind: Mapped[str] = mapped_column(String(16), default="closed", server_default="closed")
    """closed: answers can be compared; open: texts; opinion: there is no right answer."""
    topic: Mapped[str] = mapped_column(String(64), default="general", server_default="general")
    plan: Mapped[dict[str, Any] | None]
    """`society.state.Plan`, as it was when it was asked."""
    state: Mapped[str] = mapped_column(String(16), default="queued")
    """queued, done or failed; how far it is, its positions tell."""
    deadline_s: Mapped[float]
    """How long the panel may think, from the moment a process takes the debate up."""
    outcome: Mapped[str | None] = mapped_column(Text)
    """What turned out to be right, given later by the asker."""
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[float] = mapped_column(default=now)
    finished_at: Mapped[float | None]


class Position(Record):
    """One member's answer in one round: also the call table, so that a resumed debate repeats no call."""

    __tablename__ = "positions"
    __table_args__ = (UniqueConstraint("debate_id", "round", "agent_id", "attempt"),)
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("pos"))
    debate_id: Mapped[str] = mapped_column(ForeignKey("debates.id", ondelete="CASCADE"))
    round: Mapped[int]
    agent_id: Mapped[str] = mapped_column(String(40))
    attempt: Mapped[int] = mapped_column(default=0)
    status: Mapped[str] = mapped_column(String(16))
    """answered, abstained or absent."""
    answer: Mapped[str | None] = mapped_column(Text)
    answer_key: Mapped[str | None] = mapped_column(Text)
    argument: Mapped[str | None] = mapped_column(Text)
    confidence: Mapped[float | None]
    """The share of its own thoughts that ended with this answer; None where it thought once."""
    alternatives: Mapped[list[Any] | None]
    """Keys of the other answers that it held; in round 2, which ranks and answers nothing, of the candidates, best
    first."""
    reason: Mapped[str | None] = mapped_column(String(20))
    """Of a later round, why it is what it is: new_evidence, unchanged, or unfounded, which counts as the one before."""
    flags: Mapped[dict[str, Any] | None]
    """What the guards saw in it: {held_back: n, orders: true}; and `checks`, what a machine made of its claims."""
    cause: Mapped[str | None] = mapped_column(String(32))
    """Why it is absent: timeout, error, refused, budget or parse."""
    lineage: Mapped[str] = mapped_column(String(500))
    adapter_version_id: Mapped[str | None] = mapped_column(String(40))
    memory_ids: Mapped[list[Any]] = mapped_column(default=list)
    completion_tokens: Mapped[int | None]
    elapsed_s: Mapped[float | None]
    created_at: Mapped[float] = mapped_column(default=now)


class Hypothesis(Record):
    """A cluster of equal answers; of free texts one may be `merged` into another, which has its supporters then."""

    __tablename__ = "hypotheses"
    __table_args__ = (UniqueConstraint("debate_id", "key"),)
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("hyp"))
    debate_id: Mapped[str] = mapped_column(ForeignKey("debates.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    supporters: Mapped[list[Any]]
    posterior: Mapped[float]
    status: Mapped[str] = mapped_column(String(16), default="open")


class Review(Record):
    """One member's check of one hypothesis, without knowing whose it is or how many hold it. Of free texts: whether it
    and another one, whose key is the `answer`, say the same."""

    __tablename__ = "reviews"
    __table_args__ = (UniqueConstraint("debate_id", "hypothesis_id", "agent_id"),)
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("rev"))
    debate_id: Mapped[str] = mapped_column(ForeignKey("debates.id", ondelete="CASCADE"))
    hypothesis_id: Mapped[str] = mapped_column(ForeignKey("hypotheses.id", ondelete="CASCADE"))
    agent_id: Mapped[str] = mapped_column(String(40))
    verdict: Mapped[str] = mapped_column(String(16))
    """verified, refuted, undecided or absent."""
    answer: Mapped[str | None] = mapped_column(Text)
    """What the reviewer found itself; code compares it with the hypothesis."""
    argument: Mapped[str | None] = mapped_column(Text)
    lineage: Mapped[str] = mapped_column(String(500))
    memory_ids: Mapped[list[Any]] = mapped_column(default=list)
    flags: Mapped[dict[str, Any] | None]
    cause: Mapped[str | None] = mapped_column(String(32))
    completion_tokens: Mapped[int | None]
    elapsed_s: Mapped[float | None]
    created_at: Mapped[float] = mapped_column(default=now)


class ResolvedQuestion(Record):
    """A question whose right answer became known, and what each member had answered: what trust is learnt from.

    Keys only, no question's text: of a debate, by its asker's outcome; or brought in from elsewhere.
    """

    __tablename__ = "resolved_questions"
    __table_args__ = (UniqueConstraint("society_id", "source"),)
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("res"))
    society_id: Mapped[str] = mapped_column(ForeignKey("societies.id", ondelete="CASCADE"), index=True)
    source: Mapped[str] = mapped_column(String(64))
    """The debate's id, or the digest of a question that was brought in."""
    topic: Mapped[str] = mapped_column(String(64), default="general")
    right: Mapped[str | None] = mapped_column(Text)
    """The right answer's key; None: none of those given."""
    votes: Mapped[dict[str, Any]]
    """Agent id → {key, confidence, revision}; a key that is None abstained."""
    reviews: Mapped[dict[str, Any] | None]
    """Answer key → {verified, refuted}."""
    created_at: Mapped[float] = mapped_column(default=now)


class Verdict(Record):
    """What the society reports."""

    __tablename__ = "verdicts"
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("vdt"))
    debate_id: Mapped[str] = mapped_column(ForeignKey("debates.id", ondelete="CASCADE"), unique=True)
    answer: Mapped[str | None] = mapped_column(Text)
    answer_key: Mapped[str | None] = mapped_column(Text)
    confidence: Mapped[float | None]
    rule: Mapped[str] = mapped_column(String(64))
    tie: Mapped[str | None] = mapped_column(String(200))
    """How a tie was broken, None where there was none."""
    dissent: Mapped[list[Any]]
    coverage: Mapped[dict[str, Any]]
    degraded: Mapped[bool]
    distribution: Mapped[dict[str, Any] | None]
    """Answer key → how probable it is; of ranked texts their share of points, of opinions the share that holds them."""
    none_of_these: Mapped[float | None]
    """How probable it is that every answer given is wrong."""
    stopped: Mapped[str | None] = mapped_column(String(100))
    """Why nothing more was asked."""
    cost: Mapped[dict[str, Any] | None]
    """{calls, completion_tokens, spared}: spared calls are those that an earlier stop saved, or would have saved."""
    created_at: Mapped[float] = mapped_column(default=now)

"""Jobs, training runs with every rollout and judgement, and the adapters that came of them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from personal_data.records.base import Record, new_id, now


class Job(Record):
    """The ledger: the truth about background work. The broker only rings the bell."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_due", "state", "not_before", "lease_until"),
        CheckConstraint("state in ('queued','leased','done','failed','dead','cancelled')", name="state"),
    )
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("job"))
    kind: Mapped[str] = mapped_column(String(32))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    subject_id: Mapped[str] = mapped_column(String(40), index=True)
    """The agent or debate that it works on; at most one job per subject and kind runs at a time."""
    idempotency_key: Mapped[str] = mapped_column(String(200), unique=True)
    payload: Mapped[dict[str, Any]] = mapped_column(default=dict)
    state: Mapped[str] = mapped_column(String(16), default="queued")
    token: Mapped[int] = mapped_column(BigInteger, default=0)
    lease_until: Mapped[float | None]
    attempts: Mapped[int] = mapped_column(default=0)
    max_attempts: Mapped[int] = mapped_column(default=5)
    not_before: Mapped[float] = mapped_column(default=0.0)
    nudged_at: Mapped[float | None]
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    progress: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """{stage, done, total, note}: what a progress bar shows."""
    result: Mapped[dict[str, Any] | None]
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[float] = mapped_column(default=now)
    finished_at: Mapped[float | None]


class TrainingRun(Record):
    """One attempt at one improvement: its recipe, its measurements, the gate's decision and reasons."""

    __tablename__ = "training_runs"
    __table_args__ = (UniqueConstraint("job_id", "token", "stage"),)
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("run"))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    token: Mapped[int] = mapped_column(BigInteger)
    stage: Mapped[str] = mapped_column(String(32))
    """texts, preferences, memories, debates or environment."""
    agent_id: Mapped[str] = mapped_column(ForeignKey("agents.id", ondelete="CASCADE"), index=True)
    parent_version_id: Mapped[str | None] = mapped_column(String(40))
    recipe: Mapped[dict[str, Any]]
    data_sha256: Mapped[str | None] = mapped_column(String(64))
    made_from: Mapped[dict[str, Any] | None]
    """Ids of what it learned from: feedback, memories, debates; None: not written down, so anything of then."""
    steps: Mapped[list[Any]] = mapped_column(default=list)
    """One dict per optimiser step: loss, reward, kl, entropy, length, gradient norm."""
    gate: Mapped[dict[str, Any] | None]
    decision: Mapped[str | None] = mapped_column(String(16))
    """published, refused or skipped."""
    reasons: Mapped[list[Any]] = mapped_column(default=list)
    judgements_left_out: Mapped[int | None]
    """How many judgements were not stored for want of room; None: nothing was said of any."""
    created_at: Mapped[float] = mapped_column(default=now)
    finished_at: Mapped[float | None]


class Rollout(Record):
    """One sampled completion with every score it was given; a score that was not given is None."""

    __tablename__ = "rollouts"
    __table_args__ = (Index("ix_rollouts_run_step", "run_id", "step"),)
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("rol"))
    run_id: Mapped[str] = mapped_column(ForeignKey("training_runs.id", ondelete="CASCADE"))
    step: Mapped[int]
    group: Mapped[int]
    prompt: Mapped[str] = mapped_column(Text)
    completion: Mapped[str] = mapped_column(Text)
    rewards: Mapped[dict[str, Any]]
    """Reward name → value or None."""
    advantage: Mapped[float | None]
    finish_reason: Mapped[str] = mapped_column(String(16))


class Judgement(Record):
    """What a judge was asked in a run and what it said; equal ones are stored once."""

    __tablename__ = "judgements"
    __table_args__ = (Index("ix_judgements_run_step", "run_id", "step"),)
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("jud"))
    run_id: Mapped[str] = mapped_column(ForeignKey("training_runs.id", ondelete="CASCADE"))
    step: Mapped[int | None]
    """The step whose rollouts it judged; None: before the first step or after the last one."""
    prompt: Mapped[str] = mapped_column(Text)
    said: Mapped[str | None] = mapped_column(Text)
    """None: the prompt was too long for its context."""
    verdict: Mapped[list[Any] | None]
    """What code read in it: one word or number, or one a candidate; None: nothing."""


class AdapterVersion(Record):
    """An immutable adapter on disk; the agent's live pointer moves in the transaction that writes this row."""

    __tablename__ = "adapter_versions"
    __table_args__ = (UniqueConstraint("agent_id", "number"), UniqueConstraint("job_id", "token"))
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("adv"))
    agent_id: Mapped[str] = mapped_column(ForeignKey("agents.id", ondelete="CASCADE"), index=True)
    number: Mapped[int]
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    token: Mapped[int] = mapped_column(BigInteger)
    parent_id: Mapped[str | None] = mapped_column(String(40))
    """The version that was live when its training began; None: the bare base."""
    model: Mapped[str | None] = mapped_column(String(64))
    """The model that it was trained on, and the only one that it is for."""
    path: Mapped[str] = mapped_column(String(500))
    """Folder relative to the adapters folder."""
    sha256: Mapped[str] = mapped_column(String(64))
    """Of the digests of its two files (agents/adapters.py)."""
    base_sha256: Mapped[str] = mapped_column(String(64))
    evaluation: Mapped[dict[str, Any]] = mapped_column(default=dict)
    retired_at: Mapped[float | None]
    """It was trained on what has been erased: its files are gone and it can never be live again."""
    created_at: Mapped[float] = mapped_column(default=now)

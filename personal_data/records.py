"""The tables. Everything that happened can be told from these rows.

Ids are made here (`new_id`), never taken from a caller. Times are seconds since the epoch, UTC, as floats: due-ness and
leases are then plain arithmetic in SQL on both databases. JSON columns hold lists of ids, scores and settings; text
that somebody wrote has a column of its own.
"""

from __future__ import annotations

import secrets
import threading
import time
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    false,
    true,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def now() -> float:
    """Seconds since the epoch."""
    return time.time()


_LOCK = threading.Lock()
_last = (0, 0)
"""The time and the random part of the id made last."""


def new_id(prefix: str) -> str:
    """A sortable, unguessable id: prefix, 9 characters of milliseconds, 16 random characters (80 bits).

    Of two that one process makes, the later is the greater: within a millisecond the random part grows, by 48 bits.
    """
    global _last
    with _LOCK:
        stamp = max(int(time.time() * 1000), _last[0])
        tail = _last[1] + 1 + secrets.randbits(48) if stamp == _last[0] else secrets.randbits(79)
        _last = stamp, tail
    head = "".join(_CROCKFORD[(stamp >> shift) & 31] for shift in range(40, -1, -5))
    return f"{prefix}_{head}" + "".join(_CROCKFORD[(tail >> shift) & 31] for shift in range(75, -1, -5))


class Record(DeclarativeBase):
    """Base of all tables, with stable constraint names for migrations."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        float: Double(),
        dict[str, Any]: JSON(),
        list[Any]: JSON(),
        bytes: LargeBinary(),
    }


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

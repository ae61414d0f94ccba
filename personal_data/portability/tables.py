"""Which records are one person's, so that an archive holds all of theirs and nothing of anybody else.

Doors: `PARTS`, one for each file of an archive, in an order in which what a row points at comes before it; `OTHERS`,
the tables that stay behind, each with the reason. A new table fails a test until it stands in one of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from personal_data.records import (
    AdapterVersion,
    ChatMessage,
    Conversation,
    Debate,
    Disclosure,
    Feedback,
    Grant,
    Hypothesis,
    Import,
    ImportedMemory,
    Job,
    Judgement,
    Member,
    Memory,
    MemoryVersion,
    Position,
    Record,
    Review,
    Rollout,
    Society,
    TrainingRun,
    Verdict,
)

ENDED = ("done", "failed", "dead", "cancelled")


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose data it is; the agent's id is empty where a person has none."""

    user_id: str
    agent_id: str


Condition = Callable[[Owner], ColumnElement[bool]]


@dataclass(frozen=True)
class Part:
    """One file of an archive: the rows of a table that are the owner's."""

    name: str
    record: type[Record]
    owned: Condition
    order: tuple[InstrumentedAttribute[Any], ...] = ()
    fills: Mapping[str, str] = field(default_factory=dict)
    """Columns that name the owner (`user`) or their agent (`agent`): never read from an archive."""
    left_out: frozenset[str] = frozenset()
    """Columns that are made anew, or mean nothing elsewhere."""
    refers: Mapping[str, str] = field(default_factory=dict)
    """Columns that must name a row of another part, or be empty."""
    mentions: frozenset[str] = frozenset()
    """Columns that may name rows of any part, alone or in lists."""
    words: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Columns with a fixed vocabulary."""
    theirs: Condition | None = None
    """Whether a row that is here already is the owner's to refer to; `owned` where it is left out."""
    restored: bool = True
    """False: it can be read, but belongs to something of another person's and cannot be brought in elsewhere."""
    with_question: bool = False
    """Whether the debate's question is told beside the columns, for readers."""
    hides: Callable[[Owner, dict[str, Any]], dict[str, Any]] = lambda _, row: row
    """Takes out of a row what is another person's."""

    @property
    def table(self) -> Table:
        table = self.record.__table__
        assert isinstance(table, Table)
        return table

    @property
    def columns(self) -> list[str]:
        """What the file says of a row."""
        return [one.key for one in self.table.columns if one.key not in self.fills and one.key not in self.left_out]


def _words(*words: str) -> frozenset[str]:
    return frozenset(words)


def _live(owner: Owner) -> ColumnElement[bool]:
    return and_(Memory.user_id == owner.user_id, Memory.deleted_at.is_(None))


def _asked(owner: Owner) -> ColumnElement[bool]:
    return Debate.user_id == owner.user_id


def _in_asked(column: InstrumentedAttribute[str]) -> Condition:
    return lambda owner: column.in_(select(Debate.id).where(_asked(owner)))


def _societies(owner: Owner) -> ColumnElement[bool]:
    """Those that are the owner's, and those that they have asked."""
    return or_(Society.owner_id == owner.user_id, Society.id.in_(select(Debate.society_id).where(_asked(owner))))


def _seated(owner: Owner) -> ColumnElement[bool]:
    seats = select(Member.society_id).where(Member.agent_id == owner.agent_id, Member.state == "accepted")
    return or_(Society.owner_id == owner.user_id, Society.id.in_(seats))


def _own_seat(owner: Owner) -> ColumnElement[bool]:
    own = select(Society.id).where(Society.owner_id == owner.user_id)
    return and_(Member.agent_id == owner.agent_id, Member.society_id.in_(own))


def _improvements(owner: Owner) -> ColumnElement[bool]:
    return and_(Job.user_id == owner.user_id, Job.kind == "improve", Job.state.in_(ENDED))


def _runs(owner: Owner) -> ColumnElement[bool]:
    return and_(
        TrainingRun.agent_id == owner.agent_id, TrainingRun.job_id.in_(select(Job.id).where(_improvements(owner)))
    )


def _position(owner: Owner, row: dict[str, Any]) -> dict[str, Any]:
    """Another member's answer, as the asker of the debate may read it: not which memories it was made from."""
    return row if row["agent_id"] == owner.agent_id else row | {"memory_ids": [], "adapter_version_id": None}


def _review(owner: Owner, row: dict[str, Any]) -> dict[str, Any]:
    return row if row["agent_id"] == owner.agent_id else row | {"memory_ids": []}


_RANKING = 2


def _spoken(owner: Owner, row: dict[str, Any]) -> dict[str, Any]:
    """What one's own agent said in another's debate; a ranking names by their words what others said there."""
    return row | {"alternatives": None} if row["round"] == _RANKING else row


def _spoke_elsewhere(owner: Owner) -> ColumnElement[bool]:
    """In the debates of others, what the owner's own agent said."""
    asked = select(Debate.id).where(_asked(owner))
    return and_(Position.agent_id == owner.agent_id, Position.debate_id.not_in(asked))


def _shown_elsewhere(owner: Owner) -> ColumnElement[bool]:
    asked = select(Debate.id).where(_asked(owner))
    return and_(Disclosure.user_id == owner.user_id, Disclosure.debate_id.not_in(asked))


_TECHNICAL = frozenset({"idempotency_key", "lease_until", "nudged_at", "cancel_requested", "not_before"})

PARTS: tuple[Part, ...] = (
    Part(
        "jobs",
        Job,
        _improvements,
        fills={"user_id": "user", "subject_id": "agent"},
        left_out=_TECHNICAL,
        words={"kind": _words("improve"), "state": frozenset(ENDED)},
    ),
    Part(
        "adapter_versions",
        AdapterVersion,
        lambda owner: and_(AdapterVersion.agent_id == owner.agent_id, AdapterVersion.retired_at.is_(None)),
        order=(AdapterVersion.number,),
        fills={"agent_id": "agent"},
        left_out=frozenset({"path", "retired_at"}),
        refers={"job_id": "jobs"},
        mentions=frozenset({"parent_id"}),
        theirs=lambda owner: AdapterVersion.agent_id == owner.agent_id,
    ),
    Part(
        "conversations",
        Conversation,
        lambda owner: Conversation.user_id == owner.user_id,
        fills={"user_id": "user", "agent_id": "agent"},
    ),
    Part("societies", Society, _societies, fills={"owner_id": "user"}, theirs=_seated),
    Part(
        "members",
        Member,
        _own_seat,
        order=(Member.society_id,),
        fills={"agent_id": "agent"},
        refers={"society_id": "societies"},
        words={"state": _words("invited", "accepted")},
    ),
    Part(
        "memories",
        Memory,
        _live,
        fills={"user_id": "user"},
        left_out=frozenset({"embedding", "embedding_model", "content_sha256", "sensitive", "revision", "deleted_at"}),
        mentions=frozenset({"sources", "thread", "superseded_by"}),
        words={"kind": _words("fact", "turn", "document", "preference")},
        theirs=lambda owner: Memory.user_id == owner.user_id,
    ),
    Part(
        "memory_versions",
        MemoryVersion,
        lambda owner: MemoryVersion.memory_id.in_(select(Memory.id).where(_live(owner))),
        order=(MemoryVersion.memory_id, MemoryVersion.number),
        refers={"memory_id": "memories"},
    ),
    Part(
        "messages",
        ChatMessage,
        lambda owner: ChatMessage.user_id == owner.user_id,
        order=(ChatMessage.conversation_id, ChatMessage.seq),
        fills={"user_id": "user"},
        left_out=frozenset({"request_id"}),
        refers={"conversation_id": "conversations", "adapter_version_id": "adapter_versions"},
        mentions=frozenset({"memory_ids"}),
        words={"role": _words("user", "assistant")},
    ),
    Part(
        "feedback",
        Feedback,
        lambda owner: Feedback.user_id == owner.user_id,
        fills={"user_id": "user"},
        refers={"message_id": "messages"},
    ),
    Part(
        "grants",
        Grant,
        lambda owner: Grant.user_id == owner.user_id,
        fills={"user_id": "user"},
    ),
    Part(
        "imports",
        Import,
        lambda owner: Import.user_id == owner.user_id,
        fills={"user_id": "user"},
        words={"state": _words("looking", "ready", "running", "done", "failed", "undone")},
    ),
    Part(
        "imported_memories",
        ImportedMemory,
        lambda owner: ImportedMemory.memory_id.in_(select(Memory.id).where(_live(owner))),
        order=(ImportedMemory.import_id, ImportedMemory.memory_id),
        refers={"import_id": "imports", "memory_id": "memories"},
    ),
    Part(
        "debates",
        Debate,
        _asked,
        fills={"user_id": "user"},
        refers={"society_id": "societies"},
        mentions=frozenset({"panel"}),
        words={"state": _words("queued", "done", "failed")},
    ),
    Part(
        "positions",
        Position,
        _in_asked(Position.debate_id),
        refers={"debate_id": "debates"},
        mentions=frozenset({"agent_id", "adapter_version_id", "memory_ids"}),
        words={"status": _words("answered", "abstained", "absent")},
        hides=_position,
    ),
    Part(
        "hypotheses",
        Hypothesis,
        _in_asked(Hypothesis.debate_id),
        refers={"debate_id": "debates"},
        mentions=frozenset({"supporters"}),
    ),
    Part(
        "reviews",
        Review,
        _in_asked(Review.debate_id),
        refers={"debate_id": "debates", "hypothesis_id": "hypotheses"},
        mentions=frozenset({"agent_id", "memory_ids"}),
        words={"verdict": _words("verified", "refuted", "undecided", "absent")},
        hides=_review,
    ),
    Part("verdicts", Verdict, _in_asked(Verdict.debate_id), refers={"debate_id": "debates"}),
    Part(
        "disclosures",
        Disclosure,
        lambda owner: and_(Disclosure.user_id == owner.user_id, _in_asked(Disclosure.debate_id)(owner)),
        fills={"user_id": "user"},
        refers={"debate_id": "debates"},
        mentions=frozenset({"memory_id"}),
    ),
    Part(
        "training_runs",
        TrainingRun,
        _runs,
        fills={"agent_id": "agent"},
        refers={"job_id": "jobs"},
        mentions=frozenset({"parent_version_id", "made_from"}),
    ),
    Part(
        "rollouts",
        Rollout,
        lambda owner: Rollout.run_id.in_(select(TrainingRun.id).where(_runs(owner))),
        refers={"run_id": "training_runs"},
    ),
    Part(
        "judgements",
        Judgement,
        lambda owner: Judgement.run_id.in_(select(TrainingRun.id).where(_runs(owner))),
        refers={"run_id": "training_runs"},
    ),
    Part(
        "positions_elsewhere",
        Position,
        _spoke_elsewhere,
        restored=False,
        with_question=True,
        hides=_spoken,
    ),
    Part(
        "disclosures_elsewhere",
        Disclosure,
        _shown_elsewhere,
        fills={"user_id": "user"},
        restored=False,
        with_question=True,
    ),
)

OTHERS: Mapping[str, str] = {
    "users": "the name and handle stand in settings.json; an account is made by an administrator",
    "agents": "its model, instructions and schedule stand in settings.json",
    "keys": "secrets: each Folkmoot gives its own",
    "models": "what the administrator of a Folkmoot has configured",
    "resolved_questions": "how often a society's members were right: they stay behind; the outcomes stand in debates",
    "memory_outbox": "what the index has still to be told; made anew",
    "erasures": "receipts of what this very Folkmoot removed; read them here",
    "erasure_marks": "digests that an erasure needs while it runs",
}

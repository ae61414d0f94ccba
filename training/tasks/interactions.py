"""What the owner preferred, as pairs to learn from, split once and for all into training and gate.

The split is by conversation, or by the first thing said where there is none, so that the turns of one talk never lie on
both sides; and a question stays on the side where it was first asked, whatever was recalled for it later: what the gate
asks is never trained on, in this cycle or a later one. Feedback on one answer alone makes no pair: it is counted, or
read as an answer that was liked or disliked where the loss can learn from one. Whoever said both that one answer is
better than another and the opposite, to one and the same prompt, has said nothing: both are left out and counted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa
from sqlalchemy.orm import Session

from agents.messages import Message
from agents.prompts import MemoryLine, system
from personal_data.records import ChatMessage, Feedback, Memory

_GATE_IN = 4


@dataclass(frozen=True, slots=True)
class Preference:
    """To these messages the owner preferred one answer over another; `rejected` None: they liked it over no other;
    `chosen` None: they disliked it, and named no better one."""

    messages: tuple[Message, ...]
    chosen: str | None
    rejected: str | None
    conversation_id: str | None = None
    feedback_id: str | None = None

    @property
    def question(self) -> str:
        """What was asked, without case and spacing: one prompt, whatever the memories around it."""
        return self._said()[-1]

    @property
    def for_gate(self) -> bool:
        """Whether it is kept for the gate: one conversation in four."""
        return is_for_gate(self.conversation_id or self._said()[0])

    def _said(self) -> list[str]:
        return [plain(one.content) for one in self.messages if one.role == "user"] or [""]


@dataclass(frozen=True, slots=True)
class Preferences:
    """A frozen set of preferences; `digest` is the SHA-256 of its content.

    `unpaired` counts feedback left out for want of a rejected answer, `disliked` for want of a chosen one, `forgotten`
    what was left out because its prompt shows a memory that the owner has forgotten since, `contradicting` what says
    the opposite of each other.
    """

    train: tuple[Preference, ...]
    gate: tuple[Preference, ...]
    digest: str
    unpaired: int = 0
    disliked: int = 0
    forgotten: int = 0
    contradicting: int = 0
    memory_ids: tuple[str, ...] = ()
    """The memories that the prompts show."""

    @property
    def made_from(self) -> dict[str, list[str]]:
        """What a run on these learns from, by id: what is erased later can be traced to it."""
        pairs = [*self.train, *self.gate]
        return {
            "feedback": [pair.feedback_id for pair in pairs if pair.feedback_id is not None],
            "memories": list(self.memory_ids),
        }


def is_for_gate(group: str) -> bool:
    """Whether what belongs to a group, as a conversation's id, is kept for the gate: one group in four, always."""
    return hashlib.sha256(group.encode()).digest()[0] % _GATE_IN == 0


def plain(text: str) -> str:
    """A text without case and spacing: by this two questions are one."""
    return " ".join(text.casefold().split())


def read_preferences(session: Session, user_id: str, *, unpaired: bool = False, latest: int = 512) -> Preferences:
    """The owner's latest feedback, oldest first; with `unpaired` also answers that were liked, or disliked, alone."""
    newest = (
        sa.select(Feedback, ChatMessage.conversation_id)
        .outerjoin(ChatMessage, Feedback.message_id == ChatMessage.id)
        .where(Feedback.user_id == user_id)
        .order_by(Feedback.id.desc())
        .limit(latest)
    )
    rows = list(reversed(session.execute(newest).all()))
    pairs = [
        Preference(_messages(row), row.chosen, row.rejected, conversation_id, row.id)
        for row, conversation_id in rows
        if row.rejected != row.chosen and (unpaired or None not in (row.rejected, row.chosen))
    ]
    disliked = sum(row.chosen is None and row.rejected is not None and not unpaired for row, _ in rows)
    kept = _still_remembered(session, user_id, pairs)
    found = split(kept, unpaired=len(rows) - len(pairs) - disliked, forgotten=len(pairs) - len(kept))
    shown = _memories_shown(session, user_id, [*found.train, *found.gate])
    return replace(found, disliked=disliked, memory_ids=tuple(shown))


def split(pairs: Sequence[Preference], *, unpaired: int = 0, forgotten: int = 0) -> Preferences:
    """Divide pairs, oldest first, between training and gate.

    Equal questions with equal chosen answers are one pair, the oldest; a dislike of what a pair rejects says no more
    than the pair. A pair whose conversation lies on the other side than its question did at first is left out.
    """
    consistent = _consistent(pairs)
    sides: dict[str, bool] = {}
    for pair in consistent:
        sides.setdefault(pair.question, pair.for_gate)
    unique: dict[tuple[str, str | None, str | None], Preference] = {}
    rejected = {(pair.question, pair.rejected) for pair in consistent if pair.chosen is not None}
    for pair in sorted(
        consistent, key=lambda one: None in (one.chosen, one.rejected)
    ):  # a pair says more than that its answer was liked
        told = pair.chosen is not None or (pair.question, pair.rejected) not in rejected
        if told and sides[pair.question] == pair.for_gate:
            other = pair.rejected if pair.chosen is None else None
            unique.setdefault((pair.question, pair.chosen, other), pair)
    content = [[[(m.role, m.content) for m in p.messages], p.chosen, p.rejected] for p in unique.values()]
    return Preferences(
        train=tuple(pair for pair in unique.values() if not pair.for_gate),
        gate=tuple(pair for pair in unique.values() if pair.for_gate),
        digest=hashlib.sha256(json.dumps(content).encode()).hexdigest(),
        unpaired=unpaired,
        forgotten=forgotten,
        contradicting=len(pairs) - len(consistent),
    )


def _consistent(pairs: Sequence[Preference]) -> list[Preference]:
    """Those whose opposite was not said of the same messages; with other memories in view it is no opposite."""
    opposites = {(pair.messages, pair.rejected, pair.chosen) for pair in pairs}
    return [pair for pair in pairs if (pair.messages, pair.chosen, pair.rejected) not in opposites]


def _messages(row: Feedback) -> tuple[Message, ...]:
    return tuple(Message(turn["role"], turn["content"]) for turn in row.prompt)


def _still_remembered(session: Session, user_id: str, pairs: Sequence[Preference]) -> list[Preference]:
    """The pairs whose prompts show only memories that the owner still has.

    A forgotten memory has left no text to look for, so every line must be one of a live memory; but only when something
    was forgotten at all.
    """
    memories = sa.select(Memory.speaker, Memory.text, Memory.deleted_at).where(Memory.user_id == user_id)
    rows = session.execute(memories).all()
    if all(row.deleted_at is None for row in rows):
        return list(pairs)
    live = set(_shown([system("", [MemoryLine(row.speaker, row.text) for row in rows if row.deleted_at is None])]))
    return [pair for pair in pairs if live.issuperset(_shown(pair.messages))]


def _memories_shown(session: Session, user_id: str, pairs: Sequence[Preference]) -> list[str]:
    """The live memories whose lines stand in these prompts."""
    lines = {line for pair in pairs for line in _shown(pair.messages)}
    memories = sa.select(Memory.id, Memory.speaker, Memory.text)
    live = memories.where(Memory.user_id == user_id, Memory.deleted_at.is_(None)).order_by(Memory.id)
    return [
        row.id
        for row in session.execute(live)
        if lines.intersection(_shown([system("", [MemoryLine(row.speaker, row.text)])]))
    ]


def _shown(messages: Sequence[Message]) -> list[str]:
    """The memory lines of a prompt, as `prompts.system` writes them."""
    systems = [message.content for message in messages if message.role == "system"]
    return [line for content in systems for line in content.partition("\nMemories:\n")[2].split("\n") if line]

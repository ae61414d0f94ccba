"""What the owner wrote, by conversation, split once and for all into training and gate.

Their own turns and texts only: nothing that somebody else said, nothing that a model drew from what was said, nothing
that is not true any more. What tells of private matters stays out too: what an adapter has learned it may say anywhere,
in a debate as well, and no scope holds it back. A conversation lies on one side; a text that was said twice is kept
where it was said first. Door: `read_texts`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from personal_data.outbox import live
from personal_data.records import Memory, now
from personal_data.sensitive import kinds_of_memory
from training.tasks.interactions import is_for_gate, plain


@dataclass(frozen=True, slots=True)
class Talk:
    """What the owner said in one conversation, in order; a text without one stands alone. `id` is the conversation's,
    or the text's."""

    id: str
    texts: tuple[str, ...]

    @property
    def for_gate(self) -> bool:
        """Whether it is kept for the gate: one conversation in four."""
        return is_for_gate(self.id)


@dataclass(frozen=True, slots=True)
class OwnTexts:
    """A frozen set of texts; `digest` is the SHA-256 of its content, `private` counts those left out as private."""

    train: tuple[Talk, ...] = ()
    gate: tuple[Talk, ...] = ()
    digest: str = ""
    private: int = 0
    memory_ids: tuple[str, ...] = ()

    @property
    def made_from(self) -> dict[str, list[str]]:
        """What a run on these learns from, by id: what is erased later can be traced to it."""
        return {"feedback": [], "memories": list(self.memory_ids)}


@dataclass(slots=True)
class _Gathered:
    talks: dict[str, list[str]] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    private: int = 0


def read_texts(session: Session, user_id: str, *, latest: int = 4096) -> OwnTexts:
    """The owner's latest own texts, oldest first."""
    columns = Memory.id, Memory.text, Memory.kind, Memory.thread, Memory.sensitive
    said = (*live(user_id), Memory.own, Memory.confidence.is_(None))
    holds = sa.or_(Memory.valid_to.is_(None), Memory.valid_to > now())
    newest = sa.select(*columns).where(*said, holds).order_by(Memory.id.desc()).limit(latest)
    gathered = _gather(list(reversed(session.execute(newest).tuples().all())))
    talks = [Talk(name, tuple(texts)) for name, texts in gathered.talks.items()]
    return OwnTexts(
        train=tuple(talk for talk in talks if not talk.for_gate),
        gate=tuple(talk for talk in talks if talk.for_gate),
        digest=hashlib.sha256(json.dumps([[talk.id, talk.texts] for talk in talks]).encode()).hexdigest(),
        private=gathered.private,
        memory_ids=tuple(gathered.ids),
    )


def _gather(rows: Sequence[tuple[str, str, str, str | None, list[Any] | None]]) -> _Gathered:
    """By conversation; a text that was said before, whatever its case and spacing, is left out."""
    gathered, seen = _Gathered(), set[str]()
    for memory_id, text, kind, thread, sensitive in rows:
        if kinds_of_memory(text, kind=kind, own=True) if sensitive is None else sensitive:
            gathered.private += 1
            continue
        if (said := plain(text)) in seen:
            continue
        seen.add(said)
        gathered.talks.setdefault(thread or memory_id, []).append(text)
        gathered.ids.append(memory_id)
    return gathered

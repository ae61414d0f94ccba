"""What the owner wrote, by conversation, split once and for all into training and gate.

`memories.read_own_texts` says which texts may be learned at all: what an adapter has learned it may say anywhere, and
no scope holds it back. A conversation lies on one side; a text that was said twice is kept where it was said first.
Door: `read_texts`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from training.tasks.interactions import is_for_gate, plain
from training.tasks.memories import read_own_texts


@dataclass(frozen=True, slots=True)
class Talk:
    """What the owner said in one conversation, in order; a text without one stands alone."""

    id: str
    texts: tuple[str, ...]

    @property
    def for_gate(self) -> bool:
        """Whether it is kept for the gate: one conversation in four."""
        return is_for_gate(self.id)


@dataclass(frozen=True, slots=True)
class Texts:
    """A frozen set of texts; `digest` is the SHA-256 of its content, `left_out` says why how many are not in it."""

    train: tuple[Talk, ...] = ()
    gate: tuple[Talk, ...] = ()
    digest: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)
    memory_ids: tuple[str, ...] = ()

    @property
    def made_from(self) -> dict[str, list[str]]:
        """What a run on these learns from, by id: what is erased later can be traced to it."""
        return {"feedback": [], "memories": list(self.memory_ids)}


def read_texts(session: Session, user_id: str, *, latest: int = 4096) -> Texts:
    """The owner's latest own texts, oldest first."""
    found = read_own_texts(session, user_id, latest=latest, longest=None)
    first = {plain(own.text): own for own in reversed(found.texts)}
    kept = [own for own in found.texts if first[plain(own.text)] is own]
    said: dict[str, list[str]] = {}
    for own in kept:
        said.setdefault(own.conversation, []).append(own.text)
    talks = [Talk(name, tuple(texts)) for name, texts in said.items()]
    return Texts(
        train=tuple(talk for talk in talks if not talk.for_gate),
        gate=tuple(talk for talk in talks if talk.for_gate),
        digest=hashlib.sha256(json.dumps([[talk.id, talk.texts] for talk in talks]).encode()).hexdigest(),
        left_out=found.left_out,
        memory_ids=tuple(own.id for own in kept),
    )

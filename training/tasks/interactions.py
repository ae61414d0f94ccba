"""What the owner preferred, as pairs to learn from, split once and for all into training and gate.

The split is by a stable hash of the prompt, so that a prompt of the gate is never trained on, in this cycle or a later
one. Feedback without a rejected answer is counted but makes no pair.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from agents.messages import Message
from personal_data.records import Feedback

_GATE_IN = 4


@dataclass(frozen=True, slots=True)
class Preference:
    """To these messages the owner preferred one answer over another."""

    messages: tuple[Message, ...]
    chosen: str
    rejected: str

    @property
    def for_gate(self) -> bool:
        """Whether it is kept for the gate: one prompt in four."""
        prompt = json.dumps([(message.role, message.content) for message in self.messages])
        return hashlib.sha256(prompt.encode()).digest()[0] % _GATE_IN == 0


@dataclass(frozen=True, slots=True)
class Preferences:
    """A frozen set of preferences; `digest` is the SHA-256 of its content, `unpaired` counts feedback left out."""

    train: tuple[Preference, ...]
    gate: tuple[Preference, ...]
    digest: str
    unpaired: int


def read_preferences(session: Session, user_id: str, *, latest: int = 512) -> Preferences:
    """The owner's latest feedback, oldest first."""
    newest = sa.select(Feedback).where(Feedback.user_id == user_id).order_by(Feedback.id.desc()).limit(latest)
    rows = list(reversed(session.scalars(newest).all()))
    pairs = [
        Preference(tuple(Message(turn["role"], turn["content"]) for turn in row.prompt), row.chosen, row.rejected)
        for row in rows
        if row.rejected is not None and row.rejected != row.chosen
    ]
    return split(pairs, unpaired=len(rows) - len(pairs))


def split(pairs: Sequence[Preference], *, unpaired: int = 0) -> Preferences:
    """Divide pairs between training and gate."""
    content = json.dumps([[[(m.role, m.content) for m in p.messages], p.chosen, p.rejected] for p in pairs])
    return Preferences(
        train=tuple(pair for pair in pairs if not pair.for_gate),
        gate=tuple(pair for pair in pairs if pair.for_gate),
        digest=hashlib.sha256(content.encode()).hexdigest(),
        unpaired=unpaired,
    )

"""The small block that a model always sees: what its owner has asked for once and for all. Door: `profile_of`.

Standing wishes are not found by a question's likeness, so they are not left to recall. First come the owner's own
instructions, all of them; then the preferences among their memories that still hold, the surest and newest first, as
many as a budget of tokens takes. The block is the owner's alone: it enters no debate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from personal_data.facts import PREFERENCE
from personal_data.outbox import live
from personal_data.records import Memory, now

_BYTES_A_TOKEN = 3
"""English has four, German three and a half; what is over-counted is left for the question."""


@dataclass(frozen=True, slots=True)
class Preference:
    """A memory that tells a standing wish."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Profile:
    """What is in the block, and which preferences its budget leaves to recall."""

    instructions: tuple[str, ...]
    preferences: tuple[Preference, ...]
    left_out: tuple[Preference, ...]
    tokens: int
    """About how many it takes."""
    budget: int

    @property
    def lines(self) -> tuple[str, ...]:
        """As the model reads them."""
        return (*self.instructions, *(one.text for one in self.preferences))


def profile_of(session: Session, user_id: str, instructions: Sequence[str], budget: int) -> Profile:
    """An owner's block as it is now; `budget` in tokens, about."""
    holds = Memory.kind == PREFERENCE, Memory.own, (Memory.valid_to.is_(None)) | (Memory.valid_to > now())
    query = select(Memory.id, Memory.text).where(*live(user_id), *holds)
    # what was said by hand is surer than whatever a model drew
    order = Memory.confidence.desc().nulls_first(), Memory.id.desc()
    shown: list[Preference] = []
    left_out: list[Preference] = []
    used = sum(map(_tokens, instructions))
    for memory_id, text in session.execute(query.order_by(*order)).tuples():
        one, cost = Preference(memory_id, text), _tokens(text)
        if not left_out and used + cost <= budget:
            used += cost
            shown.append(one)
        else:
            left_out.append(one)
    return Profile(tuple(instructions), tuple(shown), tuple(left_out), used, budget)


def _tokens(text: str) -> int:
    return 1 + -(-len(text.encode(errors="surrogatepass")) // _BYTES_A_TOKEN)

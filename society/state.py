"""What travels inside a debate. LangGraph sees ids and small scalars only; texts live in our own tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypedDict

CLOSED, OPEN, OPINION = "closed", "open", "opinion"
KINDS = (CLOSED, OPEN, OPINION)
"""Of questions: answers can be compared; texts, of which some are better; no answer is right."""
Cause = Literal["timeout", "error", "refused", "budget", "parse"]
Status = Literal["open", "verified", "refuted", "merged"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a debate goes; frozen with its question."""

    panel_size: int = 8
    """Seats; a larger society sends those it trusts most, and one by lot."""
    samples: int = 1
    """So many times each member thinks, in parallel, before it says what it holds."""
    rounds: int = 1
    """Rounds of talk after the blind one: 0 none, 1 contested hypotheses are cross-examined, 2 and solved again. The
    last is for models that gain by it: the built-in one, shown an answer, is led by it more often than it is helped.
    Where answers cannot be compared members rank them, unless it is 0."""
    sure: float = 0.95
    """A hypothesis this probable ends the debate."""
    max_calls: int = 64
    """Of models. A round that cannot be finished within them is not begun; rankings are of fewer candidates then."""
    thrifty: bool = False
    """Ask the most trusted members first, and the others only where they may still change the answer."""

    @classmethod
    def read(cls, told: Mapping[str, Any] | None) -> Plan:
        """As it was stored; what is missing is as it is by default."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in (told or {}).items() if name in known and value is not None})

    def told(self) -> dict[str, Any]:
        """As it is stored."""
        return asdict(self)


class DebateState(TypedDict):
    """The graph's state: the debate and its panel's agent ids, in seat order."""

    debate_id: str
    panel: list[str]
    asked: int
    """How many of the panel have been asked in the blind round."""
    stopped: str
    """Why nothing more is asked; empty while something is."""


class Seat(TypedDict):
    """One member's task in one round."""

    debate_id: str
    round: int
    agent_id: str


class ReviewSeat(TypedDict):
    """One member's check of one hypothesis."""

    debate_id: str
    hypothesis_id: str
    agent_id: str


class RankingSeat(Seat):
    """One member's ranking of what others said; `most` is how many candidates it ranks."""

    most: int


class LikenessSeat(ReviewSeat):
    """One member's word on whether two hypotheses say the same: the one named first is shown first."""

    other_id: str
    likeness: float
    """The cosine of their embeddings."""


@dataclass(frozen=True, slots=True)
class Vote:
    """A member's final position as aggregation sees it. `key` None: it abstained."""

    agent_id: str
    lineage: str
    key: str | None
    answer: str | None


@dataclass(frozen=True, slots=True)
class Cluster:
    """Equal answers: a hypothesis."""

    key: str
    answer: str
    supporters: tuple[str, ...]
    posterior: float


@dataclass(frozen=True, slots=True)
class Decision:
    """What a rule makes of the votes. `winner` None: nobody answered."""

    winner: Cluster | None
    clusters: tuple[Cluster, ...]
    confidence: float | None
    rule: str
    tie: str | None = None
    dissent: tuple[Cluster, ...] = field(default=())
    none: float | None = None
    """How probable it is that no answer given is right."""

"""What travels inside a debate. LangGraph sees ids and small scalars only; texts live in our own tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypedDict

Cause = Literal["timeout", "error", "refused", "budget", "parse"]


class DebateState(TypedDict):
    """The graph's state: the debate and its panel's agent ids, in seat order."""

    debate_id: str
    panel: list[str]


class Seat(TypedDict):
    """One member's task in one round."""

    debate_id: str
    round: int
    agent_id: str


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

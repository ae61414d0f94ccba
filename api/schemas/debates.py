"""Societies, debates, outcomes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from api.openai_schemas import Text
from api.schemas.base import Handle, In, LongText, Out
from society.health import Drift, Health


class SocietyIn(In):
    slug: Handle
    name: Annotated[Text, Field(max_length=200)] = ""


class InviteIn(In):
    handle: Handle


class MemberOut(BaseModel):
    handle: str
    state: str
    role: str
    shares_memories: bool


class RoleIn(In):
    role: Literal["member", "observer"]


class SeatIn(In):
    shares_memories: bool


class SocietyOut(BaseModel):
    """`state` is the caller's own seat: invited or accepted."""

    slug: str
    name: str
    owner: bool
    state: str | None
    members: list[MemberOut]
    plan: dict[str, Any]
    """How it debates where a question does not say."""


class PlanIn(In):
    """How a debate goes; what is left out is as the society has it, or else as by default."""

    panel_size: Annotated[int, Field(ge=1, le=64)] | None = None
    """Seats, for those that the society trusts most and one by lot."""
    samples: Annotated[int, Field(ge=1, le=16)] | None = None
    """So many times each member thinks."""
    rounds: Annotated[int, Field(ge=0, le=2)] | None = None
    """Of talk after the blind one: contested hypotheses are cross-examined (1) and solved again (2)."""
    sure: Annotated[float, Field(gt=0.5, le=1)] | None = None
    """A hypothesis this probable ends the debate."""
    max_calls: Annotated[int, Field(ge=1, le=4096)] | None = None
    thrifty: bool | None = None
    """Ask the most trusted first, and the others only where they may change the answer."""


Topic = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]


class DebateIn(In):
    society: Handle
    question: LongText
    kind: Literal["closed", "open", "opinion"] = "closed"
    """Whether answers can be compared, are texts of which some are better, or opinions of which none is right."""
    topic: Topic = "general"
    """What trust is learnt apart for."""
    plan: PlanIn | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None


class ResolvedIn(In):
    """A question whose right answer is known, with what members answered, by handle; null abstained."""

    question: LongText
    right: LongText
    topic: Topic = "general"
    answers: Annotated[dict[Handle, LongText | None], Field(min_length=1, max_length=256)]


class ResolvedQuestionsIn(In):
    questions: Annotated[list[ResolvedIn], Field(min_length=1, max_length=5000)]


class TrustOut(Out):
    """What a society knows of a member: how probable it is that it is right when it answers, over all and by topic."""

    handle: str
    right: float | None
    topics: dict[str, float]


class LearnedOut(Out):
    """The rule that decides in a society, why, and whom it trusts."""

    rule: str
    resolved: int
    measured: dict[str, float]
    members: list[TrustOut]


class HealthOut(BaseModel):
    """How a society is doing, by its finished debates, and what new adapters changed in its members."""

    health: Health
    drift: list[Drift]


class DebateLine(Out):
    """A debate in a list."""

    id: str
    question: str
    state: str
    created_at: float
    finished_at: float | None


class DebateOut(DebateLine):
    """A debate as its asker reads it; `verdict` is None until it is done, `text` is the report in plain lines."""

    error: str | None
    outcome: str | None
    seed: int
    kind: str
    topic: str
    plan: dict[str, Any]
    panel: list[str]
    positions: list[dict[str, Any]]
    reviews: list[dict[str, Any]]
    hypotheses: list[dict[str, Any]]
    verdict: dict[str, Any] | None
    text: str


class OutcomeIn(In):
    """What turned out to be right."""

    answer: LongText

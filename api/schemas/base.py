"""What all bodies are made of."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from api.openai_schemas import Text

Handle = Annotated[str, Field(min_length=1, max_length=63)]
Scope = Annotated[str, Field(max_length=80)]
LongText = Annotated[Text, Field(min_length=1, max_length=32_000)]


class In(BaseModel, extra="forbid", allow_inf_nan=False):
    """A request body: an unknown field is an error, not a shrug; no number in it is infinite."""


class Out(BaseModel, from_attributes=True):
    """An answer, read from a record."""


class JobOut(Out):
    """How a piece of background work stands."""

    id: str
    state: str
    progress: dict[str, Any]
    attempts: int
    cancel_requested: bool
    result: dict[str, Any] | None
    error: str | None
    created_at: float
    finished_at: float | None


class Done(BaseModel):
    """It is done and there is nothing to add."""

    ok: Literal[True] = True

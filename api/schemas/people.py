"""People, their keys and agents, and what they said to each other."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from api.openai_schemas import Text
from api.schemas.base import Handle, In, LongText, Out


class UserIn(In):
    handle: Handle
    name: Annotated[Text, Field(min_length=1, max_length=200)]
    model: Annotated[str, Field(max_length=64)] | None = None


class UserOut(Out):
    id: str
    handle: str
    name: str
    admin: bool


class NewUserOut(BaseModel):
    """`key` is shown here and never again."""

    user: UserOut
    key: str


class KeyIn(In):
    label: Annotated[Text, Field(max_length=200)] = ""


class KeyOut(Out):
    id: str
    label: str
    created_at: float
    revoked_at: float | None


class NewKeyOut(KeyOut):
    """`key` is shown here and never again."""

    key: str


Instruction = Annotated[Text, Field(min_length=1, max_length=500)]


class AgentIn(In):
    instructions: Annotated[list[Instruction], Field(max_length=20)] | None = None
    model: Annotated[str, Field(max_length=64)] | None = None


class AgentOut(Out):
    id: str
    handle: str
    model: str
    live_version_id: str | None
    instructions: list[str]
    improve_every_s: float | None


class ModelOut(Out):
    name: str
    kind: str
    base: str | None
    lineage: str
    abilities: dict[str, Any] | None
    """What was tried with it, such as `reflect`: {passed, of, able, ...}; what is missing was not tried yet."""


class FeedbackIn(In):
    """What the owner preferred: to a stored answer (`message_id`) or to a `prompt` of their own. `rejected` alone says
    that an answer was not good; `chosen` alone that it was, or, of a stored answer, what it should have been."""

    message_id: Annotated[str, Field(max_length=40)] | None = None
    prompt: LongText | None = None
    chosen: LongText | None = None
    rejected: LongText | None = None


class FeedbackOut(Out):
    id: str
    message_id: str | None
    prompt: list[dict[str, str]]
    chosen: str | None
    rejected: str | None


class ConversationOut(Out):
    id: str
    created_at: float


class MessageOut(Out):
    id: str
    seq: int
    role: str
    content: str
    memory_ids: list[str]
    adapter_version_id: str | None
    finish_reason: str | None
    created_at: float


class DisclosureOut(Out):
    memory_id: str
    debate_id: str
    audience: str
    created_at: float

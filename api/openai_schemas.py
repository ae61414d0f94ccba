"""What OpenAI's chat clients send us and what they expect back.

A parameter is implemented, or a documented no-op (`user`, `metadata`, `store` and two cache hints), or refused with
400 `unsupported_parameter`; a value that asks for nothing beyond the default (`n: 1`, `tools: null`) is no request.
Ours may be added to theirs: `metadata.conversation_id` going in, the object `folkmoot` coming out.

A society's members sample as the society sees fit: there `max_tokens`, `max_completion_tokens`, `temperature`, `top_p`
and `top_k`, which many clients always send, are no-ops too; `stop` and `logprobs` are refused.

`usage` has OpenAI's three counts, or is left out (a stream then has no usage chunk) where a model server did not count.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from agents.messages import Message, Role, SamplingParams, TokenLogprob, Usage, well_formed
from personal_data.errors import InvalidInput, UnsupportedParameter

MAX_MESSAGES = 2_000
_MAX_TOKENS = 32_768

_ASKS_FOR_NOTHING: dict[str, tuple[object, ...]] = {
    "n": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "modalities": (["text"],),
}


def clean(text: object) -> object:
    """Text that can be stored and sent on; anything else is left to its own check."""
    return well_formed(text) if isinstance(text, str) else text


Text = Annotated[str, BeforeValidator(clean)]


def _only_text(kind: object) -> object:
    if kind != "text":
        raise PydanticCustomError("not_text", "only text can be read here, not {kind}", {"kind": repr(kind)[:40]})
    return kind


class TextPart(BaseModel, extra="forbid"):
    """One part of a content array; images and files are refused, never fetched."""

    type: Annotated[Literal["text"], BeforeValidator(_only_text)]
    text: Text


def _as_parts(content: object) -> object:
    """Plain text is one part. (A union of the two would answer a bad part with the complaints of both branches.)"""
    if isinstance(content, str):
        return [TextPart(type="text", text=content)]
    if content is not None and not isinstance(content, list):
        raise PydanticCustomError("not_content", "give text, or a list of parts such as {example}", _EXAMPLE)
    return content


_EXAMPLE = {"example": '{"type": "text", "text": "..."}'}
Content = Annotated[Annotated[list[TextPart], Field(max_length=100)] | None, BeforeValidator(_as_parts)]


def _as_list(stop: object) -> object:
    return [stop] if isinstance(stop, str) else stop


_Stop = Annotated[str, Field(min_length=1, max_length=200), BeforeValidator(clean)]
Stops = Annotated[Annotated[list[_Stop], Field(max_length=4)] | None, BeforeValidator(_as_list)]


class ChatMessageIn(BaseModel):
    """One message of the caller's history."""

    model_config = ConfigDict(extra="ignore")  # clients echo whole answers back: refusal, annotations, ids
    role: Literal["system", "developer", "user", "assistant"]
    content: Content = None
    tool_calls: Annotated[list[Any], Field(max_length=0)] | None = None

    def to_message(self) -> Message:
        """The message as agents know it: `developer` is today's name of `system`, parts are lines."""
        role: Role = "system" if self.role == "developer" else self.role
        return Message(role, "\n".join(part.text for part in self.content or ()))


class StreamOptions(BaseModel, extra="forbid"):
    """`include_usage` asks for one more chunk, with the usage and no choices."""

    include_usage: bool = False
    include_obfuscation: bool = False


class ChatRequest(BaseModel, extra="forbid"):
    """The body of `POST /v1/chat/completions`."""

    model: Annotated[str, Field(max_length=200)]
    messages: Annotated[list[ChatMessageIn], Field(min_length=1, max_length=MAX_MESSAGES)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1, le=_MAX_TOKENS)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=_MAX_TOKENS)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=1000)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stops = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    metadata: dict[str, Any] | None = None
    user: str | None = None
    store: bool | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_what_asks_for_nothing(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {
            name: value
            for name, value in data.items()
            if value is not None and not (name in _ASKS_FOR_NOTHING and value in _ASKS_FOR_NOTHING[name])
        }

    def history(self, max_chars: int) -> list[Message]:
        """The messages, checked.

        Raises:
            InvalidInput: one is longer than `max_chars`, or the last is not a user's, or says nothing.
        """
        messages = [message.to_message() for message in self.messages]
        for position, message in enumerate(messages):
            if len(message.content) > max_chars:
                raise InvalidInput(f"a message holds {max_chars} characters at most", param=f"messages.{position}")
        if messages[-1].role != "user" or not messages[-1].content.strip():
            raise InvalidInput("the last message must be the user's and must not be empty", param="messages")
        return messages

    def params(self) -> SamplingParams:
        """How to sample.

        Raises:
            UnsupportedParameter: `top_logprobs` without `logprobs`.
        """
        if self.top_logprobs is not None and not self.logprobs:
            raise UnsupportedParameter("top_logprobs needs logprobs: true", param="top_logprobs")
        given = {
            "max_tokens": self.max_completion_tokens or self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "seed": self.seed,
            "stop": self.stop and tuple(self.stop),
            "logprobs": (self.top_logprobs or 0) if self.logprobs else None,
        }
        return SamplingParams(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    def conversation_id(self) -> str | None:
        """Which stored conversation this turn belongs to, when the caller says so."""
        value = (self.metadata or {}).get("conversation_id")
        if value is not None and not isinstance(value, str):
            raise InvalidInput("metadata.conversation_id must be text", param="metadata.conversation_id")
        return value


def usage_body(usage: Usage) -> dict[str, int]:
    """Token counts as clients read them."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def logprobs_body(tokens: tuple[TokenLogprob, ...]) -> dict[str, Any]:
    """Log-probabilities of a choice, token by token."""
    return {"content": [_token(item) for item in tokens], "refusal": None}


def model_body(model_id: str, created: float) -> dict[str, Any]:
    """One entry of `GET /v1/models`."""
    return {"id": model_id, "object": "model", "created": int(created), "owned_by": "folkmoot"}


def _token(item: TokenLogprob) -> dict[str, Any]:
    top = [_entry(token, logprob) for token, logprob in item.top]
    return {**_entry(item.token, item.logprob), "top_logprobs": top}


def _entry(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "replace"))}

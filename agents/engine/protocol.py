"""Requests of the engine's HTTP surface: what vLLM and OpenAI clients send, checked to the last field.

Door: `parse`. A known parameter that we do not implement is refused unless it is at its neutral value, and so is an
unknown one: nothing is ignored silently, except `user`, `metadata` and the other fields of `_NO_OPS`, which ask for
nothing. JSON null means absent.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from agents.messages import Message, SamplingParams, well_formed
from personal_data.errors import InvalidInput, UnsupportedParameter

MAX_STOPS = 16
_NO_OPS = ("user", "metadata", "safety_identifier", "prompt_cache_key", "service_tier", "parallel_tool_calls")
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "store": (False,),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
}
_Stop = Annotated[str, Field(min_length=1, max_length=1000)]
_Request = TypeVar("_Request", bound="_Strict")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _StreamOptions(_Strict):
    include_usage: bool = False
    include_obfuscation: Literal[False] = False


class _Sampling(_Strict):
    """What chat and plain completions share."""

    model: str = Field(min_length=1, max_length=300)
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=-1, lt=2**63)
    n: int = Field(default=1, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: list[_Stop] = Field(default=[], max_length=MAX_STOPS)
    stop_token_ids: list[int] = Field(default=[], max_length=MAX_STOPS)
    priority: int = Field(default=0, ge=-(2**31), lt=2**31)
    """As in vLLM: a lower number goes first. Above 0 is background here."""
    stream: bool = False
    stream_options: _StreamOptions = _StreamOptions()

    @field_validator("stop", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _stream_options_need_stream(self) -> _Sampling:
        if self.stream_options.include_usage and not self.stream:
            raise ValueError("stream_options needs stream")
        return self

    @property
    def alternatives(self) -> int | None:
        """How many alternatives to report for each token; None reports no log-probabilities."""
        raise NotImplementedError

    def params(self, room: int) -> SamplingParams:
        """Sampling parameters; without a limit of its own a completion may use all the `room` there is."""
        return SamplingParams(
            max_tokens=self.max_tokens or room,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=max(self.top_k, 0),
            stop=tuple(self.stop),
            seed=self.seed,
            logprobs=self.alternatives,
        )


class _Part(_Strict):
    type: Literal["text"]
    text: str


class _Message(_Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part] = ""
    name: str | None = None

    def plain(self) -> Message:
        """The message with its text parts joined; a developer speaks as the system."""
        content = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Message("system" if self.role == "developer" else self.role, content)


class ChatRequest(_Sampling):
    """POST /v1/chat/completions."""

    messages: list[_Message] = Field(min_length=1, max_length=4096)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool = False
    top_logprobs: int | None = Field(default=None, ge=0, le=20)

    @model_validator(mode="after")
    def _one_limit(self) -> ChatRequest:
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs")
        if self.max_completion_tokens is not None:
            self.max_tokens = self.max_completion_tokens
        return self

    @property
    def alternatives(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None


class CompletionRequest(_Sampling):
    """POST /v1/completions: raw prompts, as text or as token ids, one or many."""

    prompt: str | Annotated[list[str] | list[int] | list[list[int]], Field(min_length=1)]
    max_tokens: int | None = Field(default=16, ge=1)
    logprobs: int | None = Field(default=None, ge=0, le=20)

    @property
    def alternatives(self) -> int | None:
        return self.logprobs

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """The prompts, always as a list of whole prompts."""
        single = isinstance(self.prompt, str) or isinstance(self.prompt[0], int)
        return cast("list[str] | list[list[int]]", [self.prompt] if single else self.prompt)


class EmbeddingRequest(_Strict):
    """POST /v1/embeddings."""

    model: str = Field(min_length=1, max_length=300)
    input: str | Annotated[list[str], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None

    @property
    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else self.input


class LoadAdapterRequest(_Strict):
    """POST /v1/load_lora_adapter."""

    lora_name: str = Field(min_length=1, max_length=300)
    lora_path: str = Field(min_length=1, max_length=4096)


class UnloadAdapterRequest(_Strict):
    """POST /v1/unload_lora_adapter."""

    lora_name: str = Field(min_length=1, max_length=300)


def parse(kind: type[_Request], body: bytes) -> _Request:
    """Read a request body.

    Raises:
        InvalidInput: it is not a JSON object, or a field has a value we cannot use.
        UnsupportedParameter: it asks for something that we do not implement.
    """
    try:
        raw = _clean(json.loads(body))
    except ValueError as error:
        raise InvalidInput("the body is not JSON") from error
    except RecursionError as error:
        raise InvalidInput("the body is nested too deeply") from error
    if not isinstance(raw, dict):
        raise InvalidInput("the body is not a JSON object")
    fields = {
        name: value
        for name, value in raw.items()
        if name in kind.model_fields or not (name in _NO_OPS or value in _NEUTRAL.get(name, ()))
    }
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise _refusal(error) from error


def _clean(value: Any) -> Any:
    """The value with well-formed text everywhere and without nulls."""
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {well_formed(name): _clean(item) for name, item in value.items() if item is not None}
    return value


def _refusal(error: ValidationError) -> InvalidInput:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if not (isinstance(part, str) and "[" in part))
    param = str(first["loc"][0]) if first["loc"] else None
    if first["type"] == "extra_forbidden":
        return UnsupportedParameter(f"{where} is not supported", param=param)
    return InvalidInput(f"{where or 'request'}: {first['msg']}", param=param)

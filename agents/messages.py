"""What travels between an agent and the models behind it: plain frozen values, and how texts and numbers are made fit
for every reader."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to sample. `temperature` 0 is greedy; `top_k` 0 means no limit; `logprobs` is the number of alternatives."""

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as counted by the server that did the work, or by litellm for a provider that did not count."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One sampled token with its log-probability (natural log) and the best alternatives."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a streamed completion; the last one carries `finish_reason`, and `usage` if the server counted."""

    text: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    progress: str = ""
    """What is going on before there is an answer: no part of it."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole completion; `usage` None: the server did not count."""

    text: str
    finish_reason: FinishReason
    usage: Usage | None
    model: str
    logprobs: tuple[TokenLogprob, ...] = field(default=())


def chat_request(messages: Sequence[Message], params: SamplingParams) -> dict[str, Any]:
    """What a streamed chat completion of the OpenAI protocol says of messages and sampling; no `model`, no `top_p`."""
    body: dict[str, Any] = {
        "messages": [{"role": message.role, "content": well_formed(message.content)} for message in messages],
        "max_tokens": params.max_tokens,
        "temperature": params.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if params.top_k:
        body["top_k"] = params.top_k
    if params.stop:
        body["stop"] = list(params.stop)
    if params.seed is not None:
        body["seed"] = params.seed
    if params.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": params.logprobs}
    return body


def well_formed(text: str) -> str:
    """The text with lone surrogates and NUL replaced by U+FFFD: what no database and no JSON reader takes."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\0", "\ufffd")


def storable(value: Any) -> Any:
    """The same JSON with every text well formed and None for every number that is not finite: JSON has none."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, Mapping):
        return {well_formed(str(name)): storable(entry) for name, entry in value.items()}
    return [storable(entry) for entry in value] if isinstance(value, list | tuple) else value


def shortened(text: str, most: int = 100) -> str:
    """The text, or its beginning, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"

"""Replies of the engine's HTTP surface, field by field as OpenAI and vLLM shape them.

Doors: `ChatReply` and `TextReply` turn steps into chunks or into one whole body; `refusal` shapes errors.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any

from agents.engine.base import Base
from agents.engine.generation import Prompt, Step
from agents.engine.sampling import Choice
from personal_data.errors import (
    AdapterError,
    Conflict,
    FolkmootError,
    InvalidInput,
    NotFound,
    Overloaded,
    Unauthorized,
    UnsupportedParameter,
)


class ContextOverflow(InvalidInput):
    """Prompt and answer together are longer than the model's context."""


_DONE = b"data: [DONE]\n\n"
_REFUSALS: tuple[tuple[type[FolkmootError], int, str, str | None], ...] = (
    (ContextOverflow, 400, "invalid_request_error", "context_length_exceeded"),
    (UnsupportedParameter, 400, "invalid_request_error", "unsupported_parameter"),
    (InvalidInput, 400, "invalid_request_error", "invalid_value"),
    (AdapterError, 400, "invalid_request_error", "invalid_adapter"),
    (Conflict, 400, "invalid_request_error", "already_loaded"),
    (Unauthorized, 401, "invalid_request_error", "invalid_api_key"),
    (NotFound, 404, "invalid_request_error", "model_not_found"),
    (Overloaded, 429, "rate_limit_error", "queue_full"),
    (FolkmootError, 500, "server_error", None),
)


def sse(body: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return f"data: {json.dumps(body, separators=(',', ':'))}\n\n".encode()


def error_body(message: str, kind: str, *, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """OpenAI's error shape."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def refusal(error: FolkmootError) -> tuple[int, dict[str, Any]]:
    """HTTP status and body of an error."""
    _, status, kind, code = next(row for row in _REFUSALS if isinstance(error, row[0]))
    param = error.param if isinstance(error, InvalidInput) else "model" if isinstance(error, NotFound) else None
    return status, error_body(str(error), kind, param=param, code=code)


class Reply:
    """What chat and plain completions share: identity, usage, the order of chunks."""

    prefix: str
    kind: str
    chunk_kind: str

    def __init__(self, model: str, base: Base, prompts: Sequence[Prompt], *, usage: bool) -> None:
        self._model = model
        self._base = base
        self._prompts = list(prompts)
        self._with_usage = usage
        self._id = self.prefix + secrets.token_hex(12)
        self._created = int(time.time())

    def index(self, step: Step) -> int:
        """The place of a sample among all choices: prompts in order, samples within them."""
        return self._prompts.index(step.prompt) * step.prompt.n + step.sample.index

    def opening(self) -> Iterator[bytes]:
        """What a stream begins with."""
        yield from ()

    def chunks(self, step: Step) -> Iterator[bytes]:
        """The chunks of one step: text that became certain, then the end."""
        wanted = step.prompt.params.logprobs is not None
        if step.text or (wanted and self._shown([step])):
            yield self._chunk(self.index(step), step.text, self._logprobs([step]), None)
        if step.finish_reason is not None:
            yield self._chunk(self.index(step), "", None, step.finish_reason)

    def closing(self) -> Iterator[bytes]:
        """What a stream ends with."""
        if self._with_usage:
            yield sse(self._head(self.chunk_kind) | {"choices": [], "usage": self._usage()})
        yield _DONE

    def body(self, steps: Sequence[Step]) -> dict[str, Any]:
        """The whole reply, from every step of every sample."""
        parts: dict[int, list[Step]] = {}
        for step in steps:
            parts.setdefault(self.index(step), []).append(step)
        choices = [self._choice(index, parts[index]) for index in sorted(parts)]
        return self._head(self.kind) | {"choices": choices, "usage": self._usage()}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model}

    def _usage(self) -> dict[str, int]:
        prompt = sum(len(prompt.ids) for prompt in self._prompts)
        completion = sum(len(sample.token_ids) for prompt in self._prompts for sample in prompt.samples)
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def _chunk(self, index: int, text: str, logprobs: dict[str, Any] | None, finish: str | None) -> bytes:
        choice = {"index": index, **self._piece(text, finish), "logprobs": logprobs, "finish_reason": finish}
        usage = {"usage": None} if self._with_usage else {}
        return sse(self._head(self.chunk_kind) | {"choices": [choice]} | usage)

    def _shown(self, steps: Sequence[Step]) -> list[Choice]:
        """Choices whose log-probabilities are reported: every token but the one that only ends the answer."""
        ends = self._base.eos_ids | steps[0].prompt.stop_ids
        return [step.choice for step in steps if step.choice is not None and step.choice.token not in ends]

    def _spell(self, token: int) -> str:
        """The text of a single token, as log-probabilities show it."""
        text: str = self._base.tokenizer.decode([token])
        return text

    def _piece(self, text: str, finish: str | None) -> dict[str, Any]:
        raise NotImplementedError

    def _choice(self, index: int, steps: Sequence[Step]) -> dict[str, Any]:
        raise NotImplementedError

    def _logprobs(self, steps: Sequence[Step]) -> dict[str, Any] | None:
        raise NotImplementedError


class ChatReply(Reply):
    """POST /v1/chat/completions."""

    prefix = "chatcmpl-"
    kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"

    def opening(self) -> Iterator[bytes]:
        for index in range(sum(prompt.n for prompt in self._prompts)):
            choice = {"index": index, "delta": {"role": "assistant", "content": ""}, "logprobs": None}
            usage = {"usage": None} if self._with_usage else {}
            yield sse(self._head(self.chunk_kind) | {"choices": [choice | {"finish_reason": None}]} | usage)

    def _piece(self, text: str, finish: str | None) -> dict[str, Any]:
        return {"delta": {} if finish else {"content": text}}

    def _choice(self, index: int, steps: Sequence[Step]) -> dict[str, Any]:
        sample = steps[-1].sample
        return {
            "index": index,
            "message": {"role": "assistant", "content": sample.text, "refusal": None},
            "logprobs": self._logprobs(steps),
            "finish_reason": sample.finish_reason,
        }

    def _logprobs(self, steps: Sequence[Step]) -> dict[str, Any] | None:
        if steps[0].prompt.params.logprobs is None:
            return None
        content = [
            self._entry(choice.token, choice.logprob)
            | {"top_logprobs": [self._entry(token, value) for token, value in choice.top]}
            for choice in self._shown(steps)
        ]
        return {"content": content, "refusal": None}

    def _entry(self, token: int, logprob: float) -> dict[str, Any]:
        text = self._spell(token)
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


class TextReply(Reply):
    """POST /v1/completions."""

    prefix = "cmpl-"
    kind = chunk_kind = "text_completion"

    def __init__(self, model: str, base: Base, prompts: Sequence[Prompt], *, usage: bool) -> None:
        super().__init__(model, base, prompts, usage=usage)
        self._offsets: dict[int, int] = {}

    def _piece(self, text: str, finish: str | None) -> dict[str, Any]:
        return {"text": text}

    def _choice(self, index: int, steps: Sequence[Step]) -> dict[str, Any]:
        sample = steps[-1].sample
        return {
            "index": index,
            "text": sample.text,
            "logprobs": self._logprobs(steps),
            "finish_reason": sample.finish_reason,
        }

    def _logprobs(self, steps: Sequence[Step]) -> dict[str, Any] | None:
        if steps[0].prompt.params.logprobs is None:
            return None
        index = self.index(steps[0])
        shown = self._shown(steps)
        tokens = [self._spell(choice.token) for choice in shown]
        offsets = []
        for token in tokens:
            offsets.append(self._offsets.get(index, 0))
            self._offsets[index] = offsets[-1] + len(token)
        return {
            "tokens": tokens,
            "token_logprobs": [choice.logprob for choice in shown],
            "top_logprobs": [
                {self._spell(token): value for token, value in ((choice.token, choice.logprob), *choice.top)}
                for choice in shown
            ],
            "text_offset": offsets,
        }

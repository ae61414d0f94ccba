"""Turning deltas into what chat clients read: one answer, or server-sent chunks framed exactly as OpenAI frames them.

The first chunk carries the role, inner ones a piece of text and `finish_reason: null`, the last one the reason and no
text; usage comes in a chunk without choices, when it was asked for and was counted. An answer that breaks off becomes
one `data: {"error": ...}` and a closed stream, without `[DONE]`: the SDKs raise on exactly that.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from agents.messages import Delta
from api import errors
from api.openai_schemas import clean, logprobs_body, usage_body
from personal_data.errors import BackendUnavailable, FolkmootError
from personal_data.records import new_id, now

log = logging.getLogger(__name__)

SSE_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
PING = ": ping\n\n"
_DONE = "data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all chunks of one answer share."""

    id: str
    created: int
    model: str
    with_logprobs: bool = False

    @classmethod
    def new(cls, model: str, *, with_logprobs: bool = False) -> Envelope:
        return cls(new_id("chatcmpl"), int(now()), model, with_logprobs)

    def chunk(self, delta: dict[str, str], finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self._head("chat.completion.chunk"), "choices": [choice], **more}

    def usage_chunk(self, usage: dict[str, int]) -> dict[str, Any]:
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": usage}

    def answer(self, text: str, last: Delta, logprobs: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": last.finish_reason}
        usage = {} if last.usage is None else {"usage": usage_body(last.usage)}
        return {**self._head("chat.completion"), "choices": [choice], **usage, **more}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


async def first_delta(deltas: AsyncGenerator[Delta, None]) -> Delta:
    """Wait for the model's first word, so that a model that is away is still a proper HTTP error.

    Raises:
        BackendUnavailable: the stream ended without one.
    """
    try:
        return await anext(deltas)
    except StopAsyncIteration:
        raise BackendUnavailable("the model's answer broke off before it began") from None


async def collect(envelope: Envelope, first: Delta, deltas: AsyncGenerator[Delta, None]) -> dict[str, Any]:
    """The whole answer at once.

    Raises:
        BackendError: the model broke off.
    """
    pieces, tokens, last = [first.text], first.logprobs, first
    async with aclosing(deltas):
        async for delta in deltas:
            pieces.append(delta.text)
            tokens += delta.logprobs
            last = delta
    if last.finish_reason is None:
        raise BackendUnavailable("the model's answer broke off")
    logprobs = logprobs_body(tokens) if envelope.with_logprobs else None
    return envelope.answer(str(clean("".join(pieces))), last, logprobs)


async def chunks(
    envelope: Envelope, first: Delta, deltas: AsyncGenerator[Delta, None], *, include_usage: bool, more: Any = None
) -> AsyncGenerator[str, None]:
    """The answer as server-sent events; `more()` is asked for the last chunk's `folkmoot` object."""
    no_usage = {"usage": None} if include_usage else {}
    yield event(envelope.chunk({"role": "assistant", "content": ""}, **no_usage))
    try:
        async with aclosing(deltas):
            last = first
            async for delta in _with_first(first, deltas):
                if delta.progress:
                    yield event(envelope.chunk({"reasoning_content": str(clean(delta.progress))}, **no_usage))
                if delta.text or (delta.logprobs and envelope.with_logprobs):
                    yield event(_inner(envelope, delta, no_usage))
                last = delta
            if last.finish_reason is None:
                raise BackendUnavailable("the model's answer broke off")
    except FolkmootError as error:
        yield event(errors.describe(error))
        return
    except SQLAlchemyError:
        log.exception("an answer could not be stored")
        yield event(errors.UNEXPECTED)
        return
    extra = {"folkmoot": more()} if more is not None else {}
    yield event(envelope.chunk({}, last.finish_reason, **no_usage, **extra))
    if include_usage and last.usage is not None:
        yield event(envelope.usage_chunk(usage_body(last.usage)))
    yield _DONE


def event(data: dict[str, Any], *, id: str | None = None, name: str | None = None) -> str:
    """One server-sent event."""
    head = f"id: {id}\n" if id else ""
    head += f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


async def _with_first(first: Delta, deltas: AsyncGenerator[Delta, None]) -> AsyncIterator[Delta]:
    yield first
    async for delta in deltas:
        yield delta


def _inner(envelope: Envelope, delta: Delta, no_usage: dict[str, Any]) -> dict[str, Any]:
    chunk = envelope.chunk({"content": str(clean(delta.text))}, **no_usage)
    if envelope.with_logprobs:
        chunk["choices"][0]["logprobs"] = logprobs_body(delta.logprobs)
    return chunk


async def with_pings(events: AsyncGenerator[str, None], every_s: float = 15.0) -> AsyncIterator[str]:
    """The same events, with a comment whenever nothing was said for `every_s` seconds, so that no proxy hangs up."""
    upcoming = asyncio.ensure_future(anext(events))
    try:
        while True:
            if not (await asyncio.wait({upcoming}, timeout=every_s))[0]:
                yield PING
                continue
            try:
                yield upcoming.result()
            except StopAsyncIteration:
                return
            upcoming = asyncio.ensure_future(anext(events))
    finally:
        upcoming.cancel()
        await asyncio.wait({upcoming})
        await events.aclose()

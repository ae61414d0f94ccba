"""Any OpenAI-compatible server that serves adapters by model name: our engine, or vLLM at scale.

Door: `EndpointBackend`. An adapter's name is sent as the model; a server that does not know it yet is told its folder
and asked again. No model library here.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx

from agents.backend import TOO_LONG, AdapterRef
from agents.messages import (
    Completion,
    Delta,
    FinishReason,
    Message,
    SamplingParams,
    TokenLogprob,
    Usage,
    chat_request,
    well_formed,
)
from personal_data.errors import (
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    FolkmootError,
    Overloaded,
    RequestRefused,
)

_CONNECT_S = 5.0
_MAX_ANSWER_BYTES = 64 << 20
_MAX_EVENT_BYTES = 4 << 20
_MAX_REFUSAL_BYTES = 64 << 10
_MAX_RETRY_S = 10.0
_TOO_LONG = re.compile(r"context (length|size|window)|maximum model length", re.IGNORECASE)
"""How vLLM, llama.cpp and others name a prompt that is too long; their `code` is a number or their own word."""


class EndpointBackend:
    """One model of one server.

    Args:
        url: of the server, with or without /v1.
        model: the base model's name there.
        api_key: bearer token, where it wants one.
        timeout_s: the longest one answer may take.
    """

    def __init__(self, url: str, model: str, *, api_key: str | None = None, timeout_s: float = 120.0) -> None:
        self.model = model
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/").removesuffix("/v1") + "/v1",
            headers={"accept-encoding": "identity"} | ({"authorization": f"Bearer {api_key}"} if api_key else {}),
            timeout=httpx.Timeout(timeout_s, connect=_CONNECT_S),
            limits=httpx.Limits(max_connections=None),
            trust_env=False,
        )

    async def stream(
        self, messages: Sequence[Message], params: SamplingParams, *, adapter: AdapterRef | None = None
    ) -> AsyncGenerator[Delta, None]:
        """Yield deltas; the last one carries `finish_reason`. Closing the generator cancels the work.

        Raises:
            BackendUnavailable: the server cannot be reached, or its answer broke off.
            BackendTimeout: the answer took longer than `timeout_s`.
            RequestRefused: the server finds fault with the messages or the parameters.
            Overloaded: the server is still busy after the waits that it asked for.
            BackendError: the server refuses otherwise.
        """
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        model = adapter.name if adapter else self.model
        body = chat_request(messages, params) | {"model": model, "top_p": params.top_p}
        async with aclosing(self._deltas(body, adapter, deadline)) as deltas:
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        delta = await anext(deltas)
                except StopAsyncIteration:
                    return
                except (TimeoutError, httpx.TimeoutException) as error:
                    raise BackendTimeout(f"{self.model} did not answer within {self._timeout_s:g} s") from error
                except httpx.TransportError as error:
                    raise BackendUnavailable(
                        f"{self.model} cannot be reached: {error or type(error).__name__}"
                    ) from error
                yield delta

    async def complete(
        self, messages: Sequence[Message], params: SamplingParams, *, adapter: AdapterRef | None = None
    ) -> Completion:
        """Return the whole completion. Raises as `stream`."""
        return await gather(self.stream(messages, params, adapter=adapter), adapter.name if adapter else self.model)

    async def aclose(self) -> None:
        """Close connections."""
        await self._client.aclose()

    async def _deltas(
        self, body: dict[str, Any], adapter: AdapterRef | None, deadline: float
    ) -> AsyncGenerator[Delta, None]:
        async with self._answer(body, adapter, deadline) as response:
            usage: Usage | None = None
            finish: FinishReason | None = None
            async for event in _events(response):
                if "error" in event:
                    raise BackendUnavailable(f"{self.model} broke off: {_message(event)}")
                deltas, ended, counted = _read(event)
                finish, usage = ended or finish, counted or usage
                for delta in deltas:
                    yield delta
            if finish is None:
                raise BackendUnavailable(f"{self.model} broke off its answer")
            yield Delta(finish_reason=finish, usage=usage)

    @asynccontextmanager
    async def _answer(
        self, body: dict[str, Any], adapter: AdapterRef | None, deadline: float
    ) -> AsyncIterator[httpx.Response]:
        """The server's open answer, after loading the adapter or waiting for a busy server where that was needed."""
        loaded = adapter is None
        while True:
            async with self._client.stream("POST", "/chat/completions", json=body) as response:
                if response.status_code == httpx.codes.OK:
                    yield response
                    return
                refusal = await _refusal(self.model, response)
            if response.status_code == httpx.codes.NOT_FOUND and adapter is not None and not loaded:
                await self._load(adapter)
                loaded = True
            elif (wait := _retry_after(response)) and asyncio.get_running_loop().time() + wait < deadline:
                await asyncio.sleep(wait)
            else:
                raise refusal

    async def _load(self, adapter: AdapterRef) -> None:
        body = {"lora_name": adapter.name, "lora_path": str(adapter.path)}
        async with self._client.stream("POST", "/load_lora_adapter", json=body) as response:
            refusal = await _refusal(self.model, response)
        if response.is_error and "already been loaded" not in str(refusal):
            raise BackendError(str(refusal), status=response.status_code)  # no fault of the request that waits for it


async def gather(deltas: AsyncGenerator[Delta, None], model: str) -> Completion:
    """Fold a stream of deltas into one completion."""
    parts: list[str] = []
    logprobs: list[TokenLogprob] = []
    async with aclosing(deltas):
        async for delta in deltas:
            parts.append(delta.text)
            logprobs += delta.logprobs
            if delta.finish_reason is not None:
                return Completion("".join(parts), delta.finish_reason, delta.usage, model, tuple(logprobs))
    raise BackendUnavailable(f"{model} broke off its answer")


async def _events(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """The JSON of each server-sent event up to [DONE]. A stream without [DONE] has broken off."""
    async for line in _lines(response):
        field, _, value = line.partition(b":")
        if field != b"data":
            continue
        if value.strip() == b"[DONE]":
            return
        try:
            event = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise BackendUnavailable("the server sent an event that is not JSON") from error
        if not isinstance(event, dict):
            raise BackendUnavailable("the server sent an event that is not an object")
        yield event
    raise BackendUnavailable("the server's answer broke off")


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    """The lines of an answer, undecoded, within bounds: a server may be hostile."""
    held, total = b"", 0
    async for block in response.aiter_raw():
        *lines, held = (held + block).split(b"\n")
        total += len(block)
        if len(held) > _MAX_EVENT_BYTES or total > _MAX_ANSWER_BYTES:
            raise BackendUnavailable("the server's answer has no end")
        for line in lines:
            yield line


def _read(event: dict[str, Any]) -> tuple[list[Delta], FinishReason | None, Usage | None]:
    """What an event says: new text, why the answer ended, what it cost."""
    try:
        choices = event.get("choices") or ()
        deltas = [delta for choice in choices if (delta := _delta(choice))]
        finish = next((reason for choice in choices if (reason := _finish(choice))), None)
        return deltas, finish, _usage(event)
    except (KeyError, TypeError, AttributeError) as error:
        raise BackendUnavailable("the server sent an event of another shape") from error


def _delta(choice: dict[str, Any]) -> Delta | None:
    text = well_formed((choice.get("delta") or {}).get("content") or "")
    logprobs = tuple(_logprob(entry) for entry in (choice.get("logprobs") or {}).get("content") or ())
    return Delta(text, logprobs) if text or logprobs else None


def _logprob(entry: dict[str, Any]) -> TokenLogprob:
    top = tuple((well_formed(other["token"]), other["logprob"]) for other in entry.get("top_logprobs") or ())
    return TokenLogprob(well_formed(entry["token"]), entry["logprob"], top)


def _finish(choice: dict[str, Any]) -> FinishReason | None:
    match choice.get("finish_reason"):
        case None:
            return None
        case "length":
            return "length"
        case _:
            return "stop"


def _usage(event: dict[str, Any]) -> Usage | None:
    usage = event.get("usage")
    return Usage(usage["prompt_tokens"], usage["completion_tokens"]) if usage else None


async def _refusal(model: str, response: httpx.Response) -> FolkmootError:
    """The error that a response stands for, with the server's own words."""
    raw = b""
    async for block in response.aiter_raw():
        raw += block
        if len(raw) > _MAX_REFUSAL_BYTES:
            break
    status = response.status_code
    try:
        text, code = _message(body := json.loads(raw)), _code(body)
    except (ValueError, RecursionError):
        text, code = _message(raw.decode("utf-8", "replace")), None
    told = f"{model} answered {status}: {text}"
    if status in (httpx.codes.BAD_REQUEST, httpx.codes.UNPROCESSABLE_ENTITY):
        return RequestRefused(told, status=status, code=code)
    if (wait := _retry_after(response)) is not None:
        return Overloaded(told, retry_after=wait)
    return {503: BackendUnavailable, 504: BackendTimeout}.get(status, BackendError)(told, status=status)


def _message(body: Any) -> str:
    """The message of an error body, on one line: OpenAI's shape, vLLM's older flat one, or plain text."""
    error = body.get("error", body) if isinstance(body, dict) else body
    text = str(error.get("message", error) if isinstance(error, dict) else error)
    return well_formed(" ".join(text.split())[:500])


def _code(body: Any) -> str | None:
    """The code of an error body, where it has one; that a prompt is too long, many servers say in words only."""
    if _TOO_LONG.search(_message(body)):
        return TOO_LONG
    error = body.get("error") if isinstance(body, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return well_formed(code[:100]) if isinstance(code, str) else None


def _retry_after(response: httpx.Response) -> float | None:
    if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
        return None
    try:
        return min(max(float(response.headers.get("retry-after", "1")), 0.05), _MAX_RETRY_S)
    except ValueError:
        return 1.0

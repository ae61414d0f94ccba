"""The engine's HTTP surface: vLLM's endpoints over one scheduler, its adapters and the embedder.

Door: `create_app`. An adapter is a model name. Errors have OpenAI's shape; a refusal that comes before the first token
is an HTTP status, one that comes later is an error event after which the stream ends without [DONE].
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from agents.engine.base import Base
from agents.engine.embedder import DIMENSIONS, NAME, Embedder
from agents.engine.exchange import Model, answer, read_body
from agents.engine.generation import Prompt
from agents.engine.protocol import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    LoadAdapterRequest,
    UnloadAdapterRequest,
    parse,
)
from agents.engine.replies import ChatReply, ContextOverflow, TextReply, error_body, refusal
from agents.engine.residents import Registered
from agents.engine.scheduler import Job
from personal_data.errors import (
    Conflict,
    FolkmootError,
    InvalidInput,
    NotFound,
    Overloaded,
    Unauthorized,
    UnsupportedParameter,
)

_MAX_CHARS_PER_TOKEN = 256
_CLIENT_CLOSED_REQUEST = 499


def create_app(model: Model | None, embedder: Embedder | None, *, token: str) -> ASGIApp:
    """The application of a model, an embedder or both; it starts the scheduler with itself and closes it at its end."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None, None]:
        if model is not None:
            model.scheduler.start()
        yield
        if model is not None:
            await asyncio.to_thread(model.scheduler.close)

    handlers: dict[Any, Any] = {
        FolkmootError: _on_refusal,
        HTTPException: _on_http_error,
        ClientDisconnect: _on_disconnect,
        Exception: _on_fault,
    }
    app = Starlette(routes=_Surface(model, embedder).routes(), exception_handlers=handlers, lifespan=lifespan)
    return _Guard(app, token)


class _Guard:
    """Lets nobody in without the token, except to /health and /metrics."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in ("/health", "/metrics"):
            given = Headers(scope=scope).getlist("authorization")
            if len(given) != 1 or not hmac.compare_digest(given[0].encode(), self._expected):
                status, body = refusal(Unauthorized("the engine's token is missing or wrong"))
                await JSONResponse(body, status)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _Surface:
    """The endpoints."""

    def __init__(self, model: Model | None, embedder: Embedder | None) -> None:
        self._model = model
        self._embedder = embedder
        self._created = int(time.time())

    def routes(self) -> list[Route]:
        return [
            Route("/health", self.health),
            Route("/metrics", self.metrics),
            Route("/v1/models", self.list_models),
            Route("/v1/models/{name:path}", self.show_model),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/completions", self.complete, methods=["POST"]),
            Route("/v1/embeddings", self.embed, methods=["POST"]),
            Route("/v1/load_lora_adapter", self.load_adapter, methods=["POST"]),
            Route("/v1/unload_lora_adapter", self.unload_adapter, methods=["POST"]),
        ]

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def metrics(self, _: Request) -> Response:
        lines = () if self._model is None else _metrics(self._model)
        return PlainTextResponse("".join(f"{line}\n" for line in lines), media_type="text/plain; version=0.0.4")

    async def list_models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": self._cards()})

    async def show_model(self, request: Request) -> Response:
        name = request.path_params["name"]
        for card in self._cards():
            if card["id"] == name:
                return JSONResponse(card)
        raise NotFound(f"the model {name!r} does not exist")

    def _cards(self) -> list[dict[str, Any]]:
        cards = []
        if (model := self._model) is not None:
            cards.append(self._card(model.name) | {"root": model.base.name, "max_model_len": model.base.max_positions})
            cards += [self._card(name) | {"parent": model.name} for name in model.residents.names]
        if self._embedder is not None:
            cards.append(self._card(NAME))
        return cards

    def _card(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "folkmoot"}

    async def chat(self, request: Request) -> Response:
        spec = parse(ChatRequest, await read_body(request))
        model, adapter = self._find(spec)
        messages = [message.plain() for message in spec.messages]
        _check_size(model.base, sum(len(message.content) for message in messages))
        prompts = [_prompt(model.base, spec, model.base.encode(messages))]
        reply = ChatReply(spec.model, model.base, prompts, usage=spec.stream_options.include_usage)
        return await answer(request, model, _job(spec, adapter, prompts), reply)

    async def complete(self, request: Request) -> Response:
        spec = parse(CompletionRequest, await read_body(request))
        model, adapter = self._find(spec, len(spec.prompts))
        encoded = [_raw(model.base, prompt) for prompt in spec.prompts]
        prompts = [_prompt(model.base, spec, ids, place) for place, ids in enumerate(encoded)]
        reply = TextReply(spec.model, model.base, prompts, usage=spec.stream_options.include_usage)
        return await answer(request, model, _job(spec, adapter, prompts), reply)

    def _find(self, spec: ChatRequest | CompletionRequest, prompts: int = 1) -> tuple[Model, Registered | None]:
        """Who answers a request, which may ask for no more than the scheduler ever holds."""
        model, name = self._served(spec.model), spec.model
        scheduler = model.scheduler
        if spec.n > scheduler.max_rows:
            raise InvalidInput(f"n: this engine samples at most {scheduler.max_rows} at a time", param="n")
        if prompts > scheduler.max_waiting:
            raise InvalidInput(f"prompt: this engine takes at most {scheduler.max_waiting} at a time", param="prompt")
        return model, None if name == model.name else model.residents.find(name)

    def _served(self, name: str) -> Model:
        if self._model is None:
            raise NotFound(f"the model {name!r} does not exist; this engine serves embeddings only")
        return self._model

    async def embed(self, request: Request) -> Response:
        spec = parse(EmbeddingRequest, await read_body(request))
        if self._embedder is None or spec.model != NAME:
            raise NotFound(f"the model {spec.model!r} does not exist")
        if spec.dimensions not in (None, DIMENSIONS):
            raise UnsupportedParameter(f"dimensions: {NAME} has {DIMENSIONS}", param="dimensions")
        vectors, tokens = await asyncio.to_thread(self._embedder.embed, spec.texts)
        if spec.encoding_format == "base64":
            values: Sequence[Any] = [base64.b64encode(vector.astype("<f4").tobytes()).decode() for vector in vectors]
        else:
            values = vectors.tolist()
        data = [{"object": "embedding", "index": at, "embedding": value} for at, value in enumerate(values)]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return JSONResponse({"object": "list", "data": data, "model": NAME, "usage": usage})

    async def load_adapter(self, request: Request) -> Response:
        spec = parse(LoadAdapterRequest, await read_body(request))
        model = self._served(spec.lora_name)
        if spec.lora_name in (model.name, NAME):
            raise Conflict(f"{spec.lora_name!r} is the name of a model")
        await asyncio.to_thread(model.residents.register, spec.lora_name, Path(spec.lora_path))
        return PlainTextResponse(f"Success: LoRA adapter '{spec.lora_name}' added successfully.")

    async def unload_adapter(self, request: Request) -> Response:
        spec = parse(UnloadAdapterRequest, await read_body(request))
        self._served(spec.lora_name).residents.unregister(spec.lora_name)
        return PlainTextResponse(f"Success: LoRA adapter '{spec.lora_name}' removed successfully.")


def _raw(base: Base, prompt: str | list[int]) -> list[int]:
    """Token ids of a raw prompt, which may be given as such."""
    if isinstance(prompt, str):
        _check_size(base, len(prompt))
        prompt = base.encode_text(prompt)
    if not prompt or min(prompt) < 0 or max(prompt) >= len(base.tokenizer):
        raise InvalidInput("prompt: a prompt needs at least one token, all of them this model's", param="prompt")
    return prompt


def _check_size(base: Base, characters: int) -> None:
    """Refuse a hopeless prompt before spending time on its tokens."""
    if characters > base.max_positions * _MAX_CHARS_PER_TOKEN:
        raise ContextOverflow(f"{characters} characters cannot fit into this model's {base.max_positions} tokens")


def _prompt(base: Base, spec: ChatRequest | CompletionRequest, ids: Sequence[int], place: int = 0) -> Prompt:
    room = base.max_positions - len(ids)
    if room < (spec.max_tokens or 1):
        raise ContextOverflow(
            f"this model's maximum context length is {base.max_positions} tokens; "
            f"the prompt has {len(ids)} and {spec.max_tokens or 1} more were asked for",
            param="messages" if isinstance(spec, ChatRequest) else "prompt",
        )
    stop_ids = frozenset(spec.stop_token_ids)
    params = spec.params(room)
    return Prompt(base, tuple(ids), params, n=spec.n, place=(place,), stop_ids=stop_ids, live=spec.stream)


def _job(spec: ChatRequest | CompletionRequest, adapter: Registered | None, prompts: list[Prompt]) -> Job:
    return Job(prompts, adapter, live=spec.stream, priority=spec.priority)


def _metrics(model: Model) -> Iterator[str]:
    """Prometheus' text format."""
    scheduler, counts = model.scheduler, model.scheduler.counts
    gauges = {
        "rows": scheduler.batch.rows,
        "prompts_waiting": scheduler.waiting,
        "adapters_registered": len(model.residents.names),
        "adapters_resident": model.residents.resident,
        "adapters_pinned": model.residents.pinned,
    }
    for name, value in gauges.items():
        yield f"# TYPE folkmoot_engine_{name} gauge"
        yield f"folkmoot_engine_{name} {value}"
    for name, value in vars(counts).items():
        yield f"# TYPE folkmoot_engine_{name}_total counter"
        yield f"folkmoot_engine_{name}_total {value}"


async def _on_refusal(_: Request, error: FolkmootError) -> Response:
    status, body = refusal(error)
    headers = {"retry-after": f"{error.retry_after:.0f}"} if isinstance(error, Overloaded) else None
    return JSONResponse(body, status, headers)


async def _on_http_error(_: Request, error: HTTPException) -> Response:
    return JSONResponse(error_body(error.detail, "invalid_request_error"), error.status_code)


async def _on_disconnect(_: Request, __: ClientDisconnect) -> Response:
    return Response(status_code=_CLIENT_CLOSED_REQUEST)


async def _on_fault(_: Request, __: Exception) -> Response:
    return JSONResponse(error_body("the engine failed", "server_error"), 500)

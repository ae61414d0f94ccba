"""The OpenAI-compatible door: a person's agent as `agent:<handle>`, a society as `society:<slug>`.

Beside what OpenAI's clients expect, an answer names what it rests on: headers X-Folkmoot-Conversation, -Memories and
-Adapter, and in the body (of a stream: in the last chunk) the object `folkmoot`, which also knows the ids of what was
stored.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from agents.messages import Delta
from agents.personal import PersonalAgent, Turn
from api import debates, events, streams
from api.auth import CurrentUser
from api.errors import ModelNotFound
from api.idempotency import RequestId
from api.keys import Caller
from api.openai_schemas import ChatRequest, model_body
from api.routes.agents import own_agent
from api.state import AppState, State
from api.streams import SSE_HEADERS, Envelope
from personal_data.errors import BackendUnavailable, InvalidInput, NotFound
from personal_data.records import Debate
from society.membership import for_asker, societies_of
from society.report import as_text

router = APIRouter(tags=["openai"])


@router.get("/models")
def models(caller: CurrentUser, state: AppState) -> dict[str, Any]:
    """What the caller can talk to: their own agent, and the societies they may ask."""
    return {"object": "list", "data": _models(state, caller)}


@router.get("/models/{model_id:path}")
def model(model_id: str, caller: CurrentUser, state: AppState) -> dict[str, Any]:
    """One of them."""
    for found in _models(state, caller):
        if found["id"] == model_id:
            return found
    raise _no_model(model_id)


@router.post("/chat/completions", response_model=None)
async def chat(
    body: ChatRequest,
    caller: CurrentUser,
    state: AppState,
    request_id: RequestId,
    x_folkmoot_conversation: Annotated[str | None, Header(max_length=40)] = None,
) -> Response:
    """Answer, all at once or as it is thought of."""
    kind, _, name = body.model.partition(":")
    history = body.history(state.settings.max_message_chars)
    if kind == "society" and name:
        debate = await run_in_threadpool(_open_debate, state, caller, name, history[-1].content, body, request_id)
        state.debates.ring()
        return await _answer_of_society(state, caller, debate, body)
    agent = await run_in_threadpool(_own_personal_agent, state, caller, body.model)
    conversation_id = body.conversation_id() or x_folkmoot_conversation
    turn = await agent.reply(history, body.params(), conversation_id=conversation_id, request_id=request_id)
    return await _answer_of_agent(turn, body)


async def _answer_of_agent(turn: Turn, body: ChatRequest) -> Response:
    envelope = Envelope.new(body.model, with_logprobs=body.logprobs)
    first = await streams.first_delta(turn.deltas)
    if not body.stream:
        answer = await streams.collect(envelope, first, turn.deltas)
        return JSONResponse({**answer, "folkmoot": _provenance(turn)}, headers=_headers(turn))
    chunks = streams.chunks(
        envelope, first, turn.deltas, include_usage=body.wants_usage, more=lambda: _provenance(turn)
    )
    return _sse(chunks, _headers(turn))


async def _answer_of_society(state: State, caller: Caller, debate: Debate, body: ChatRequest) -> Response:
    envelope = Envelope.new(body.model)
    deltas = _report_deltas(state, caller, debate.id)
    provenance = {"debate_id": debate.id}
    headers = {"X-Folkmoot-Debate": debate.id}
    if not body.stream:
        answer = await streams.collect(envelope, Delta(), deltas)
        return JSONResponse({**answer, "folkmoot": provenance}, headers=headers)
    chunks = streams.chunks(envelope, Delta(), deltas, include_usage=body.wants_usage, more=lambda: provenance)
    return _sse(chunks, headers)


async def _report_deltas(state: State, caller: Caller, debate_id: str) -> AsyncGenerator[Delta, None]:
    told = await events.ended(state, caller, debate_id)
    if told["state"] == "failed":
        raise BackendUnavailable(f"the debate failed: {told['error']}")
    yield Delta(as_text(told))
    yield Delta(finish_reason="stop")


def _sse(chunks: AsyncGenerator[str, None], headers: dict[str, str]) -> StreamingResponse:
    body = streams.with_pings(chunks)
    return StreamingResponse(body, media_type="text/event-stream", headers={**SSE_HEADERS, **headers})


def _models(state: State, caller: Caller) -> list[dict[str, Any]]:
    with state.database.reading() as session:
        try:
            agent = own_agent(session, caller.user_id)
        except NotFound:
            return []
        found = [model_body(f"agent:{agent.handle}", agent.created_at)]
        for society, seat in societies_of(session, caller.user_id):
            if seat.state == "accepted" or society.owner_id == caller.user_id:
                found.append(model_body(f"society:{society.slug}", society.created_at))
        return found


def _own_personal_agent(state: State, caller: Caller, model_id: str) -> PersonalAgent:
    if model_id != f"agent:{caller.handle}":
        raise _no_model(model_id)
    try:
        return state.directory.of_user(caller.user_id)
    except NotFound:
        raise _no_model(model_id) from None


def _open_debate(
    state: State, caller: Caller, slug: str, question: str, body: ChatRequest, request_id: str | None
) -> Debate:
    if body.logprobs:
        raise InvalidInput("a society has no log-probabilities", param="logprobs")
    with state.database.session() as session:
        try:
            for_asker(session, user_id=caller.user_id, slug=slug)
        except NotFound:
            raise _no_model(body.model) from None
        return debates.submit(
            session,
            user_id=caller.user_id,
            slug=slug,
            question=question,
            deadline_s=state.settings.debate_deadline_s,
            seed=None if body.seed is None else body.seed % 2**31,
            request_id=request_id,
        )


def _no_model(model_id: str) -> ModelNotFound:
    return ModelNotFound(f"there is no model {model_id!r} for this key; GET /v1/models lists those there are")


def _provenance(turn: Turn) -> dict[str, Any]:
    return {
        "conversation_id": turn.conversation_id,
        "message_id": turn.message_id,
        "memory_ids": [hit.id for hit in turn.hits],
        "adapter": turn.adapter_version_id,
    }


def _headers(turn: Turn) -> dict[str, str]:
    headers = {"X-Folkmoot-Memories": ",".join(hit.id for hit in turn.hits)}
    if turn.conversation_id is not None:
        headers["X-Folkmoot-Conversation"] = turn.conversation_id
    if turn.adapter_version_id is not None:
        headers["X-Folkmoot-Adapter"] = turn.adapter_version_id
    return headers

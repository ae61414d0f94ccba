"""The OpenAI-compatible door: a person's agent as `agent:<handle>`, a society as `society:<slug>`.

Beside what OpenAI's clients expect, an answer names what it rests on: headers X-Folkmoot-Conversation, -Memories and
-Adapter, and in the body (of a stream: in the last chunk) the object `folkmoot`, which also knows the ids of what was
stored. What a society does before it reports is streamed as `reasoning_content`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from agents.messages import Delta, Message, Usage
from agents.personal import PersonalAgent, Turn
from api import debates, events, streams
from api.auth import CurrentUser
from api.errors import DebateFailed, ModelNotFound
from api.idempotency import RequestId, answered_before
from api.keys import Caller
from api.openai_schemas import ChatRequest, model_body
from api.routes.agents import own_agent
from api.state import AppState, State
from api.streams import SSE_HEADERS, Envelope
from personal_data.errors import NotFound, Unauthorized, UnsupportedParameter
from personal_data.records import ChatMessage, Debate
from society.membership import societies_of
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
    """Answer, all at once or as it is thought of.

    A retry with the same `Idempotency-Key` gets the stored answer again (without log-probabilities or usage, which are
    not stored) and asks no model.
    """
    kind, _, slug = body.model.partition(":")
    history = body.history(state.settings.max_message_chars)
    if kind == "society" and slug:
        return await _ask_society(body, caller, state, slug, history[-1].content, request_id)
    conversation_id = body.conversation_id() or x_folkmoot_conversation
    return await _ask_agent(body, caller, state, history, conversation_id, request_id)


async def _ask_society(
    body: ChatRequest, caller: Caller, state: State, slug: str, question: str, request_id: str | None
) -> Response:
    debate = await run_in_threadpool(_open_debate, state, caller, slug, question, body, request_id)
    state.debates.ring()
    deltas = _report_deltas(state, caller, debate.id)
    return await _answer(body, Delta(), deltas, lambda: {"debate_id": debate.id})


async def _ask_agent(
    body: ChatRequest,
    caller: Caller,
    state: State,
    history: Sequence[Message],
    conversation_id: str | None,
    request_id: str | None,
) -> Response:
    agent = await run_in_threadpool(_own_personal_agent, state, caller, body.model)
    params = body.params()
    if request_id is not None:
        look = partial(answered_before, state.database, caller.user_id, request_id)
        stored = await run_in_threadpool(look, question=history[-1].content, conversation_id=conversation_id)
        if stored is not None:
            return await _answer(body, Delta(), _stored_deltas(stored), partial(_provenance_of, stored))
    turn = await agent.reply(history, params, conversation_id=conversation_id, request_id=request_id)
    first = await streams.first_delta(turn.deltas)
    return await _answer(body, first, turn.deltas, partial(_provenance, turn))


async def _answer(
    body: ChatRequest, first: Delta, deltas: AsyncGenerator[Delta, None], told: Callable[[], dict[str, Any]]
) -> Response:
    """The response; `told()` is what the answer rests on as far as that is known by now."""
    envelope = Envelope.new(body.model, with_logprobs=body.logprobs)
    if not body.stream:
        answer = await streams.collect(envelope, first, deltas)
        return JSONResponse({**answer, "folkmoot": told()}, headers=_headers(told()))
    chunks = streams.with_pings(streams.chunks(envelope, first, deltas, include_usage=body.wants_usage, more=told))
    headers = {**SSE_HEADERS, **_headers(told())}
    return StreamingResponse(chunks, media_type="text/event-stream", headers=headers)


async def _report_deltas(state: State, caller: Caller, debate_id: str) -> AsyncGenerator[Delta, None]:
    """What happens as progress, then the report."""
    told: dict[str, Any] | None = None
    async with aclosing(events.steps(state, caller, debate_id)) as happened:
        async for step in happened:
            told = step.data if step.name in ("done", "failed") else None
            if told is None:
                yield Delta(progress=f"{_progress(step)}\n")
    if told is None:
        raise Unauthorized("this API key was revoked")
    if told["state"] == "failed":
        raise DebateFailed(f"the debate {debate_id} failed: {told['error']}")
    yield Delta(as_text(told))
    yield Delta(finish_reason="stop", usage=_usage([*told["positions"], *told["reviews"]]))


def _progress(step: events.DebateEvent) -> str:
    data = step.data
    if step.name == "opened":
        return f"asking {', '.join(data['panel'])}"
    if step.name == "review":
        return f"{data['agent']} checks {data['hypothesis']!r}: {data['verdict']}"
    said = {"answered": "has an answer", "abstained": "does not know"}.get(data["status"], data["cause"])
    return f"{data['agent']} {said if data['round'] == 0 else 'has solved it again'}"


def _usage(positions: Sequence[dict[str, Any]]) -> Usage | None:
    """What the members wrote, as far as their models counted it. What they read is on no record: clients want a number,
    and 0 is the one that adds nothing to a bill."""
    counted = [position["completion_tokens"] for position in positions if position["completion_tokens"] is not None]
    return Usage(0, sum(counted)) if counted else None


async def _stored_deltas(stored: ChatMessage) -> AsyncGenerator[Delta, None]:
    yield Delta(stored.content)
    yield Delta(finish_reason="length" if stored.finish_reason == "length" else "stop")


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
    for name in ("logprobs", "stop"):
        if getattr(body, name):
            raise UnsupportedParameter(f"unsupported parameter: a society takes no {name}", param=name)
    try:
        bearing = debates.prepare(state, caller, slug, question)
    except NotFound:
        raise _no_model(body.model) from None
    with state.database.session() as session:
        return debates.submit(
            session,
            user_id=caller.user_id,
            slug=slug,
            question=question,
            deadline_s=state.settings.debate_deadline_s,
            seed=None if body.seed is None else body.seed % 2**31,
            learning=state.learning,
            bearing=bearing,
            request_id=request_id,
        )


def _no_model(model_id: str) -> ModelNotFound:
    return ModelNotFound(f"there is no model {model_id!r} for this key; GET /v1/models lists those there are")


def _provenance(turn: Turn) -> dict[str, Any]:
    return {
        "conversation_id": turn.conversation_id,
        "message_id": turn.message_id,
        "memory_ids": list(turn.memory_ids),
        "adapter": turn.adapter_version_id,
    }


def _provenance_of(stored: ChatMessage) -> dict[str, Any]:
    return {
        "conversation_id": stored.conversation_id,
        "message_id": stored.id,
        "memory_ids": stored.memory_ids,
        "adapter": stored.adapter_version_id,
    }


def _headers(told: dict[str, Any]) -> dict[str, str]:
    """What the body's `folkmoot` object says, for clients that show headers only."""
    named = {name: told.get(key) for name, key in _HEADERS.items()}
    memories = {"X-Folkmoot-Memories": ",".join(told["memory_ids"])} if "memory_ids" in told else {}
    return {**memories, **{name: value for name, value in named.items() if value is not None}}


_HEADERS = {
    "X-Folkmoot-Conversation": "conversation_id",
    "X-Folkmoot-Adapter": "adapter",
    "X-Folkmoot-Debate": "debate_id",
}

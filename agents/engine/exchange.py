"""One HTTP request and its answer: prompts in, a whole reply or a stream of events out.

Door: `answer`. A client that goes away frees its rows, whether it waited for a stream or for a whole reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from agents.engine.base import Base
from agents.engine.generation import Step
from agents.engine.replies import Reply, refusal, sse
from agents.engine.residents import Residents
from agents.engine.scheduler import Job, Scheduler, Told
from personal_data.errors import FolkmootError, InvalidInput

MAX_BODY_BYTES = 16 << 20
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Model:
    """A served base model with its adapters."""

    name: str
    base: Base
    residents: Residents
    scheduler: Scheduler


async def read_body(request: Request) -> bytes:
    """The request's body.

    Raises:
        InvalidInput: it is too large.
    """
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > MAX_BODY_BYTES:
            raise InvalidInput(f"the body is larger than {MAX_BODY_BYTES} bytes")
    return bytes(body)


async def answer(request: Request, model: Model, job: Job, reply: Reply) -> Response:
    """Run the job and answer the request: with a stream if the job is live.

    Raises:
        FolkmootError: refused, or failed before the first token of a stream.
        ClientDisconnect: nobody waits for the answer any more.
    """
    steps = _steps(model.scheduler, job)
    if not job.live:
        return JSONResponse(reply.body(await _unless_gone(request, _all(steps))))
    first = await _unless_gone(request, anext(steps))
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(_events(reply, first, steps), media_type="text/event-stream", headers=headers)


async def _steps(scheduler: Scheduler, job: Job) -> AsyncGenerator[Sequence[Step], None]:
    """What a job is told, until all of its samples are done; closing the generator cancels the job."""
    loop = asyncio.get_running_loop()
    told: asyncio.Queue[Told] = asyncio.Queue()
    job.tell = lambda item: loop.call_soon_threadsafe(told.put_nowait, item)
    scheduler.submit(job)
    growing = sum(prompt.n for prompt in job.prompts)
    try:
        while growing:
            item = await told.get()
            if isinstance(item, FolkmootError):
                growing = 0
                raise item
            growing -= sum(step.finish_reason is not None for step in item)
            yield item
    finally:
        if growing:
            scheduler.cancel(job)


async def _all(steps: AsyncGenerator[Sequence[Step], None]) -> list[Step]:
    async with aclosing(steps):
        return [step async for part in steps for step in part]


async def _events(
    reply: Reply, first: Sequence[Step], steps: AsyncGenerator[Sequence[Step], None]
) -> AsyncGenerator[bytes, None]:
    """The server-sent events of a stream. After an error event it ends without [DONE]."""
    async with aclosing(steps):
        yield b"".join([*reply.opening(), *(chunk for step in first for chunk in reply.chunks(step))])
        try:
            async for part in steps:
                if chunks := b"".join(chunk for step in part for chunk in reply.chunks(step)):
                    yield chunks
        except FolkmootError as error:
            yield sse(refusal(error)[1])
            return
        yield b"".join(reply.closing())


async def _unless_gone(request: Request, work: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of `work`, which is cancelled when the client disconnects first."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

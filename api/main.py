"""The application. Door: `create_app`. It starts without a model library: those live in the engine's process.

Around the routes stand the guards (Host, body size), CORS for browser clients (keys only, never cookies), one error
shape, and three background tasks: the debate runner, the eraser, and the postman who tells the memory index what it has
missed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from sqlalchemy.exc import SQLAlchemyError

from api import errors
from api.guards import BodyGuard, HostGuard
from api.preflight import LOOPBACK_HOSTS, check_host
from api.routes import (
    accounts,
    agents,
    conversations,
    debates,
    health,
    imports,
    improvements,
    memories,
    openai,
    portability,
    reflections,
    sharing,
    societies,
)
from api.running import read_running
from api.state import State, open_state
from personal_data.errors import FolkmootError
from personal_data.settings import Settings, load

log = logging.getLogger(__name__)

_NATIVE = (
    accounts,
    agents,
    conversations,
    memories,
    reflections,
    sharing,
    imports,
    societies,
    debates,
    improvements,
    portability,
    health,
)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application; nothing is opened before it starts.

    Raises:
        ConfigurationError: it would listen beyond loopback without `allow_remote`.
    """
    settings = settings or load()
    check_host(settings)
    app = FastAPI(
        title="Folkmoot",
        description="Personal agents that remember, meet in a society, and improve themselves.",
        lifespan=_lifespan(settings),
        redirect_slashes=False,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        telemetry={"auto_configure": False},
    )
    for module in _NATIVE:
        app.include_router(module.router)
    app.include_router(openai.router, prefix="/v1")
    app.include_router(openai.router, include_in_schema=False)
    errors.install(app)
    app.add_middleware(BodyGuard, streamed=frozenset({imports.STREAMED, portability.STREAMED}))
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["X-Folkmoot-Conversation", "X-Folkmoot-Memories", "X-Folkmoot-Adapter", "X-Folkmoot-Debate"],
    )
    if settings.host in LOOPBACK_HOSTS:
        app.add_middleware(HostGuard, allowed=LOOPBACK_HOSTS)
    return app


def _lifespan(settings: Settings) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        state = open_state(settings)
        app.state.folkmoot = state
        works = (state.debates.run, state.eraser.run, partial(_deliver_memories, state))
        tasks = [asyncio.create_task(keep(work, settings.sweep_s)) for work in works]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await state.directory.aclose()
        state.database.dispose()

    return lifespan


async def keep(work: Callable[[], Coroutine[Any, Any, None]], pause_s: float) -> None:
    """Run endless work until cancelled; when it ends for a reason it did not foresee, say so and start it again."""
    while True:
        task = asyncio.create_task(work())
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            await asyncio.wait({task})
        log.error("%s ended; it starts again in %g s", task.get_coro(), pause_s, exc_info=task.exception())
        await asyncio.sleep(pause_s)


async def _deliver_memories(state: State) -> None:
    """Tell the index what it missed, again and again; and look for what it has lost when it begins, and whenever the
    index has failed or was started again, as an index that is killed may forget what it was told before."""
    compared: object = None
    while True:
        try:
            started = _starts_of_the_index(state.settings)
            if compared != started or state.memory.suspicious:
                await asyncio.to_thread(state.memory.reconcile)
                compared = started
            while await asyncio.to_thread(state.memory.drain_outbox):
                pass
        except (FolkmootError, SQLAlchemyError) as error:
            log.warning("memories wait for the index: %s", error)
        await asyncio.sleep(state.settings.sweep_s)


def _starts_of_the_index(settings: Settings) -> int:
    """How often our supervisor has started it again; 0 where it is somebody else's."""
    running = read_running(settings.data_dir)
    return int((running or {}).get("restarts", {}).get("index", 0))

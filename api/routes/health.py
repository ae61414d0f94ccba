"""Is it up, is it ready, what is it doing: for supervisors, load balancers and Prometheus."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import httpx
from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from api.state import AppState, State
from personal_data.records import Job, MemoryOutbox, now
from personal_data.settings import Settings

log = logging.getLogger(__name__)
router = APIRouter(tags=["health"])

_STATES = ("queued", "leased", "done", "failed", "dead", "cancelled")
_WITHIN_S = 2.0


@router.get("/health")
async def health() -> dict[str, str]:
    """This process answers."""
    return {"status": "ok"}


@router.get("/ready")
async def ready(state: AppState, response: Response) -> dict[str, bool]:
    """Whether each part that requests need answers; 503 while one does not."""
    parts = {"database": await run_in_threadpool(_database_answers, state)}
    addresses = _addresses(state.settings)
    certificates = any(url.startswith("https:") for url in addresses.values())
    async with httpx.AsyncClient(timeout=_WITHIN_S, trust_env=False, verify=certificates) as client:
        answers = await asyncio.gather(*(_answers(client, url) for url in addresses.values()))
    parts |= dict(zip(addresses, answers, strict=True))
    response.status_code = 200 if all(parts.values()) else 503
    return parts


@router.get("/metrics")
def metrics(state: AppState) -> PlainTextResponse:
    """Queue depth, jobs by state, the oldest waiting job's age and the outbox, in Prometheus' text format."""
    with state.database.reading() as session:
        jobs = session.execute(select(Job.kind, Job.state, func.count()).group_by(Job.kind, Job.state)).tuples().all()
        oldest = session.scalar(select(func.min(Job.created_at)).where(Job.state == "queued"))
        outbox = session.scalar(select(func.count()).select_from(MemoryOutbox)) or 0
    lines = _exposition({(kind, job_state): count for kind, job_state, count in jobs}, oldest, outbox)
    return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


def _exposition(jobs: dict[tuple[str, str], int], oldest: float | None, outbox: int) -> Iterator[str]:
    yield "# HELP folkmoot_jobs Jobs in the ledger."
    yield "# TYPE folkmoot_jobs gauge"
    for kind in sorted({kind for kind, _ in jobs} | {"debate", "improve"}):
        for state in _STATES:
            yield f'folkmoot_jobs{{kind="{kind}",state="{state}"}} {jobs.get((kind, state), 0)}'
    yield "# HELP folkmoot_queue_depth Jobs that wait for a worker."
    yield "# TYPE folkmoot_queue_depth gauge"
    yield f"folkmoot_queue_depth {sum(count for (_, state), count in jobs.items() if state == 'queued')}"
    yield "# HELP folkmoot_oldest_queued_seconds Age of the job that has waited longest."
    yield "# TYPE folkmoot_oldest_queued_seconds gauge"
    yield f"folkmoot_oldest_queued_seconds {0.0 if oldest is None else max(0.0, now() - oldest):.3f}"
    yield "# HELP folkmoot_memory_outbox Memories that the index has not heard of yet."
    yield "# TYPE folkmoot_memory_outbox gauge"
    yield f"folkmoot_memory_outbox {outbox}"


def _addresses(settings: Settings) -> dict[str, str]:
    addresses = {f"engine:{name}": f"{url}/health" for name, url in settings.engines.items()}
    if settings.embedding_url is not None and settings.embedding_url not in settings.engines.values():
        addresses["embedder"] = f"{settings.embedding_url}/health"
    if settings.index_url is not None:
        addresses["index"] = f"{settings.index_url}/api/v2/heartbeat"
    return addresses


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code < 500
    except httpx.HTTPError:
        return False


def _database_answers(state: State) -> bool:
    try:
        with state.database.reading() as session:
            return bool(session.execute(text("SELECT 1")).scalar_one() == 1)
    except SQLAlchemyError as error:
        log.warning("the database does not answer: %s", error)
        return False

"""What the application does in the background: nothing it did not foresee ends it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from api.main import keep
from personal_data.index import ChromaIndex
from personal_data.records import Memory, MemoryOutbox
from tests.api.conftest import Person, Platform, serving


def until(holds: Callable[[], bool]) -> None:
    """Wait for what must come; fail when it does not."""
    give_up = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < give_up, "it never came"
        time.sleep(0.02)


def test_work_that_ends_by_a_fault_is_started_again_and_stops_when_told() -> None:
    calls: list[str] = []
    third = asyncio.Event()

    async def work() -> None:
        calls.append("started")
        if len(calls) < 3:
            raise KeyError("nobody foresaw this")
        third.set()
        try:
            await asyncio.Event().wait()
        finally:
            calls.append("stopped")

    async def run() -> None:
        kept = asyncio.create_task(keep(work, 0.0))
        await third.wait()
        kept.cancel()
        with pytest.raises(asyncio.CancelledError):
            await kept

    asyncio.run(run())
    assert calls == ["started"] * 3 + ["stopped"]


def test_memories_are_delivered_after_a_fault_that_nobody_foresaw(
    platform: Platform, ada: Person, caplog: pytest.LogCaptureFixture
) -> None:
    [memory_id] = ada.client.remember("My cat is called Miro.")

    def put(vector: bytes | None) -> None:
        with platform.database.session() as session:
            session.execute(sa.update(Memory).where(Memory.id == memory_id).values(embedding=vector))

    put(b"no vector of any length")
    with platform.database.session() as session:
        user_id = session.scalars(sa.select(Memory.user_id).where(Memory.id == memory_id)).one()
        session.add(MemoryOutbox(memory_id=memory_id, user_id=user_id, operation="sync"))
    until(lambda: "_deliver_memories" in caplog.text)
    put(None)
    until(lambda: _waiting(platform, memory_id) == 0)


def _waiting(platform: Platform, memory_id: str) -> int:
    with platform.database.reading() as session:
        return session.query(MemoryOutbox).filter_by(memory_id=memory_id).count()


def test_what_the_index_has_lost_is_queued_when_the_application_starts(platform: Platform, ada: Person) -> None:
    [memory_id] = ada.client.remember("My dog is called Lune.")
    with platform.database.reading() as session:
        owner, model = session.execute(
            sa.select(Memory.user_id, Memory.embedding_model).where(Memory.id == memory_id)
        ).one()
    index = ChromaIndex(str(platform.settings.index_url))
    assert index.known(owner, model, [memory_id])
    index.delete(owner, model, [memory_id])
    assert not index.known(owner, model, [memory_id])
    with serving(platform.settings):
        until(lambda: bool(index.known(owner, model, [memory_id])))

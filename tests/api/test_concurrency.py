"""Requests that run side by side, on PostgreSQL: SQLite lets one writer in at a time and so has no such moments."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from personal_data.database import Database
from personal_data.errors import Conflict
from personal_data.records import Agent, Member, Record, Society, User
from personal_data.settings import Settings
from tests.api.conftest import Person, Platform


@pytest.fixture(scope="module")
def api_settings(api_settings: Settings, postgresql_url: str) -> Settings:
    """The module's settings on PostgreSQL."""
    Database(postgresql_url).migrate()
    return api_settings.model_copy(update={"database_url": postgresql_url})


def wait_for_lock(platform: Platform, *requests: Future[Any]) -> None:
    """Until each request waits for a lock that the test holds; a request that has ended did not."""
    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    while True:
        with platform.database.reading() as session:
            if session.scalar(waiting) == len(requests):
                return
        assert not any(request.done() for request in requests), "it did not wait for its turn"
        time.sleep(0.02)


def _a_user(platform: Platform, ada: Person, ben: Person) -> tuple[Record, Callable[[], object]]:
    return User(handle="eve", name="Eve"), lambda: platform.admin.add_user("eve", "Eve")


def _a_society(platform: Platform, ada: Person, ben: Person) -> tuple[Record, Callable[[], object]]:
    with platform.database.reading() as session:
        owner = session.scalars(sa.select(User).where(User.handle == ben.handle)).one()
    return Society(slug="readers", name="Readers", owner_id=owner.id), lambda: ada.client.create_society("readers")


def _an_invitation(platform: Platform, ada: Person, ben: Person) -> tuple[Record, Callable[[], object]]:
    slug = platform.moot(ada)
    with platform.database.reading() as session:
        society = session.scalars(sa.select(Society).where(Society.slug == slug)).one()
        agent = session.scalars(sa.select(Agent).where(Agent.handle == ben.handle)).one()
    return Member(society_id=society.id, agent_id=agent.id), lambda: ada.client.invite(slug, ben.handle)


@pytest.mark.parametrize("make", [_a_user, _a_society, _an_invitation])
def test_the_second_to_want_a_name_at_the_same_moment_is_told_so(
    platform: Platform, ada: Person, ben: Person, make: Callable[..., tuple[Record, Callable[[], object]]]
) -> None:
    row, ask = make(platform, ada, ben)
    with ThreadPoolExecutor() as pool:
        with platform.database.session() as rival:
            rival.add(row)
            rival.flush()
            asked = pool.submit(ask)
            wait_for_lock(platform, asked)
        with pytest.raises(Conflict, match="exists now"):
            asked.result()


def test_two_requests_to_improve_one_agent_are_one_improvement(platform: Platform, ada: Person) -> None:
    with ThreadPoolExecutor() as pool:
        with platform.database.session() as holder:
            holder.scalars(sa.select(Agent).where(Agent.handle == ada.handle).with_for_update()).one()
            asked = [pool.submit(ada.client.improve) for _ in range(2)]
            wait_for_lock(platform, *asked)
        first, second = (request.result()["id"] for request in asked)
    assert first == second
    assert [job["id"] for job in ada.client.improvements()] == [first]

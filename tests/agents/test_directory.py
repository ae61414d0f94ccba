"""Finding agents whose models are not set up: who they are is known all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from agents.directory import AgentDirectory, create_user
from agents.messages import Message, SamplingParams
from agents.models import sync_models
from personal_data.errors import AdapterError, ConfigurationError
from personal_data.records import AdapterVersion, Agent, Job, Position, User
from personal_data.settings import ModelSettings, Settings
from society.debate import run_debate
from society.intake import open_debate
from tests.village import Village

MODELS = {
    "cloud": ModelSettings(kind="provider", model="openai/x", api_key_env="NO_SUCH_KEY"),
    "local": ModelSettings(kind="engine", base="builtin:nursery"),
}


@pytest.fixture
def people(village: Village) -> list[User]:
    """One on a provider whose key is missing, one on an engine that is not running."""
    with village.database.session() as session:
        sync_models(session, Settings(models=MODELS, default_model="local"))
        return [create_user(session, handle=name, name=name.title(), model=name) for name in MODELS]


@pytest.fixture
def directory(village: Village, settings: Settings) -> Iterator[AgentDirectory]:
    directory = AgentDirectory(settings.model_copy(update={"models": MODELS}), village.database, village.memory)
    yield directory
    asyncio.run(directory.aclose())


def test_an_agent_is_known_by_its_records_and_its_model_is_missed_when_asked(
    people: list[User], directory: AgentDirectory
) -> None:
    async def chat(user: User) -> None:
        turn = await directory.of_user(user.id).reply([Message("user", "Hello.")], SamplingParams())
        await anext(turn.deltas)

    async def think(user: User) -> None:
        await directory.of_user(user.id).propose("2 + 2?", audience="society:moot", params=[SamplingParams()])

    assert [directory.of_user(user.id).identity.lineage for user in people] == ["openai/x", "builtin:nursery"]
    for ask in (chat, think):
        for user, told in zip(people, ("NO_SUCH_KEY", "folkmoot serve"), strict=True):
            with pytest.raises(ConfigurationError, match=told):
                asyncio.run(ask(user))


def test_a_debate_outlives_members_whose_models_are_not_set_up(
    village: Village, people: list[User], directory: AgentDirectory
) -> None:
    village.found(*people)
    with village.database.session() as session:
        debate_id = open_debate(session, user=people[0], slug="moot", question="2 + 2?", deadline_s=30, seed=1).id
    asyncio.run(run_debate(village.database, directory, debate_id, fence=lambda _: None, finish=lambda _: None))
    with village.database.reading() as session:
        positions = session.scalars(sa.select(Position)).all()
    assert {(position.status, position.cause, position.lineage) for position in positions} == {
        ("absent", "error", "openai/x"),
        ("absent", "error", "builtin:nursery"),
    }


@pytest.mark.parametrize(("path", "sound"), [("agt_1/3-7", True), ("../agt_1/3-7", False), ("/agt_1", False)])
def test_an_adapter_lies_below_the_adapters_folder(
    village: Village, people: list[User], directory: AgentDirectory, settings: Settings, path: str, sound: bool
) -> None:
    owner = people[1].id
    with village.database.session() as session:
        agent = session.query(Agent).filter_by(user_id=owner).one()
        session.add(Job(id="job_1", kind="improve", user_id=owner, subject_id=agent.id, idempotency_key="1"))
        session.flush()
        version = AdapterVersion(
            agent_id=agent.id, number=3, job_id="job_1", token=7, path=path, sha256="a", base_sha256="b"
        )
        session.add(version)
        session.flush()
        agent.live_version_id = version.id
    if sound:
        adapter = directory.of_user(owner).identity.adapter
        assert adapter is not None
        assert adapter.path == settings.adapters_dir / "agt_1" / "3-7"
    else:
        with pytest.raises(AdapterError):
            directory.of_user(owner)

"""Agents on every kind of model, through the whole API: a provider's server that is not ours, and our engine with a
published adapter, which is really used until it is taken back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from agents.adapters import Adapter, AdapterStore, activate
from personal_data.records import AdapterVersion, Agent, Job
from personal_data.settings import ModelSettings, Settings
from tests.agents import conftest as agents_conftest
from tests.agents import running, test_provider
from tests.api.conftest import Person, Platform, user

llama_folder = agents_conftest.llama_folder
stranger = test_provider.stranger


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen3 with room for a debate's prompt."""
    from tests.agents import tiny

    return tiny.save_qwen3(tmp_path_factory.mktemp("base"), max_position_embeddings=1024)


@pytest.fixture(scope="module")
def adapter(base: Path) -> Adapter:
    """A random adapter of that base."""
    from agents.engine.base import load_base
    from agents.engine.lora import AdapterStack
    from tests.agents.test_lora import random_adapter

    return random_adapter(AdapterStack(load_base(str(base)), slots=1, rank=8), rank=8, seed=3)


@pytest.fixture(scope="module")
def server(base: Path) -> Iterator[running.Running]:
    """Our engine on that base."""
    with running.engine("--model", "tiny", "--base", str(base)) as started:
        yield started


@pytest.fixture(scope="module")
def api_settings(api_settings: Settings, server: running.Running, stranger: tuple[str, str]) -> Settings:
    """The module's settings with a provider's model served by `transformers serve`, one by the scripted server, and a
    tiny base on our engine."""
    url, name = stranger
    scripted = api_settings.models["scripted"]
    models = {
        **api_settings.models,
        "foreign": ModelSettings(kind="provider", model=name, url=url),
        "hired": ModelSettings(kind="provider", model="openai/scripted", url=scripted.url),
        "tiny": ModelSettings(kind="engine", base="tests/tiny"),
    }
    engine = {"engines": {"tiny": server.url}, "engine_token": running.TOKEN}
    return api_settings.model_copy(update={"models": models, **engine})


@pytest.fixture
def sdk(platform: Platform) -> Iterator[Any]:
    """Makes the SDK's client for a person."""
    made: list[openai.OpenAI] = []

    def client_of(person: Person) -> openai.OpenAI:
        made.append(openai.OpenAI(base_url=f"{platform.url}/v1", api_key=person.key, max_retries=0))
        return made[-1]

    yield client_of
    for client in made:
        client.close()


def test_an_agent_on_a_provider_chats_in_both_modes(platform: Platform, sdk: Any) -> None:
    eve = platform.add("eve", model="foreign")
    ask: dict[str, Any] = {"model": f"agent:{eve.handle}", "messages": user("What is the time?"), "max_tokens": 8}
    whole = sdk(eve).chat.completions.create(**ask)
    with sdk(eve).chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}) as stream:
        *chunks, counted = list(stream)
    assert whole.choices[0].message.content
    assert whole.choices[0].message.content == "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert whole.choices[0].finish_reason == chunks[-1].choices[0].finish_reason == "length"
    assert whole.usage == counted.usage and whole.usage.completion_tokens == 8


def test_agents_on_providers_debate_with_others(platform: Platform, ada: Person) -> None:
    hired, foreign = platform.add("hired", model="hired"), platform.add("foreign", model="foreign")
    told = ada.client.debate_end(ada.client.ask(platform.moot(ada, hired, foreign), "solve 6 x 7")["id"])
    positions = {position["agent"]: position for position in told["positions"]}
    for member in (ada, hired):
        assert (positions[member.handle]["status"], positions[member.handle]["answer"]) == ("answered", "42")
    assert positions[hired.handle]["lineage"] == "openai/scripted"
    random_weights = positions[foreign.handle]
    assert random_weights["argument"] and random_weights["cause"] not in ("error", "timeout", "refused")
    assert told["verdict"]["answer"] == "42"


def publish(platform: Platform, person: Person, adapter: Adapter) -> str:
    """Make an adapter the person's first and live version, as an improvement would; its id."""
    with platform.database.session() as session:
        agent = session.query(Agent).filter_by(handle=person.handle).one()
        job = Job(kind="improve", user_id=agent.user_id, subject_id=agent.id, idempotency_key=person.handle, token=1)
        session.add(job)
        session.flush()
        store = AdapterStore(platform.settings.adapters_dir)
        path, sha256 = store.publish(agent.id, 1, adapter, job_id=job.id, token=1)
        version = AdapterVersion(
            agent_id=agent.id,
            number=1,
            job_id=job.id,
            token=1,
            model=agent.model,
            path=path,
            sha256=sha256,
            base_sha256=adapter.base_sha256,
        )
        activate(session, version)
        return version.id


def test_a_published_adapter_answers_until_it_is_rolled_back(platform: Platform, sdk: Any, adapter: Adapter) -> None:
    tess, theo = platform.add("tess", model="tiny"), platform.add("theo", model="tiny")

    def say(person: Person) -> tuple[str, str | None]:
        raw = sdk(person).chat.completions.with_raw_response.create(
            model=f"agent:{person.handle}", messages=user("What is the time?"), max_tokens=12, temperature=0
        )
        return raw.parse().choices[0].message.content, raw.headers.get("x-folkmoot-adapter")

    bare, nothing = say(tess)
    assert bare and nothing is None
    version_id = publish(platform, tess, adapter)
    adapted, name = say(tess)
    assert (name, adapted != bare) == (version_id, True)
    assert tess.client.adapters()[0]["live"] is True
    assert say(theo)[1] is None, "another person's agent on the same base"
    told = tess.client.debate_end(tess.client.ask(platform.moot(tess, theo), "What is the time?", seed=1)["id"])
    used = {position["agent"]: position["adapter"] for position in told["positions"]}
    assert used == {tess.handle: version_id, theo.handle: None}
    tess.client.roll_back(0)
    assert say(tess) == (bare, None)

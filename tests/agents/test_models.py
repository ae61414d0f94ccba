"""From settings to backends, lineages and rows."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from agents.endpoint import EndpointBackend
from agents.messages import Message, SamplingParams
from agents.models import build_backend, lineage, sync_models
from agents.provider import ProviderBackend
from personal_data.database import Database
from personal_data.errors import ConfigurationError
from personal_data.records import Model
from personal_data.settings import ModelSettings, Settings
from tests.agents.running import TOKEN, Running

MODELS = {
    "small": ModelSettings(kind="engine", base="builtin:nursery"),
    "served": ModelSettings(kind="endpoint", url="http://127.0.0.1:8000/v1", model="big", base="org/big"),
    "bare": ModelSettings(kind="endpoint", url="http://127.0.0.1:8000"),
    "cloud": ModelSettings(kind="provider", model="openai/x", api_key_env="CLOUD_KEY"),
}


def settings(**more: object) -> Settings:
    return Settings(models=MODELS, default_model="small", **more)  # type: ignore[arg-type]


def test_each_kind_has_its_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_KEY", "k")
    configured = settings(engines={"small": "http://127.0.0.1:1"}, engine_token="t")
    engine, served, bare, cloud = (build_backend(configured, name) for name in ("small", "served", "bare", "cloud"))
    assert isinstance(engine, EndpointBackend)
    assert engine.model == "small"
    assert isinstance(served, EndpointBackend)
    assert served.model == "big"
    assert isinstance(bare, EndpointBackend)
    assert bare.model == "bare", "what its server calls it, where nothing else is said"
    assert isinstance(cloud, ProviderBackend)
    assert cloud.model == "openai/x"


def test_what_is_not_configured_is_told() -> None:
    with pytest.raises(ConfigurationError, match="bare, cloud, nursery, served, small"):
        build_backend(settings(), "huge")
    with pytest.raises(ConfigurationError, match="folkmoot serve"):
        build_backend(settings(), "small")
    with pytest.raises(ConfigurationError, match="CLOUD_KEY"):
        build_backend(settings(), "cloud")


def test_an_engine_answers_through_its_settings(server: Running) -> None:
    async def main() -> str:
        backend = build_backend(
            Settings(
                models={"tiny": ModelSettings(base="x")},
                default_model="tiny",
                engines={"tiny": server.url},
                engine_token=TOKEN,
            ),
            "tiny",
        )
        try:
            return (await backend.complete([Message("user", "hello")], SamplingParams(max_tokens=4))).finish_reason
        finally:
            await backend.aclose()

    assert asyncio.run(main()) in ("stop", "length")


def test_lineages() -> None:
    assert [lineage(model) for model in MODELS.values()] == [
        "builtin:nursery",
        "org/big",
        "http://127.0.0.1:8000",
        "openai/x",
    ]


def test_rows_follow_the_settings(any_database: Database) -> None:
    for configured in (settings(), settings()):
        with any_database.session() as session:
            sync_models(session, configured)
    changed = Settings(models={"small": ModelSettings(base="org/other")}, default_model="small")
    with any_database.session() as session:
        sync_models(session, changed)
        rows = {row.name: (row.kind, row.base, row.lineage) for row in session.scalars(sa.select(Model))}
    assert rows["small"] == ("engine", "org/other", "org/other")
    assert rows["cloud"] == ("provider", None, "openai/x")
    assert set(rows) == {*MODELS, "nursery"}

"""What is ready and what is not: the parts, the processes, and who is told which token."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api import doctor, profile, supervisor
from api.main import create_app
from api.processes import Child
from api.running import forget_running, read_running, write_running
from api.state import open_state
from api.supervisor import Supervisor
from personal_data.database import Database
from personal_data.errors import ConfigurationError
from personal_data.memory import NewMemory
from personal_data.records import User
from personal_data.settings import BUILTIN_BASE, ModelSettings, Settings
from tests.answers import Answers, answering
from tests.api.conftest import NOBODY

PATH = {"PATH": "/usr/bin:/bin"}


@contextmanager
def supervising(settings: Settings, server: Answers, *commands: tuple[str, list[str]]) -> Iterator[Supervisor]:
    """A supervisor of these processes, whose API is `server`."""
    made = Supervisor(settings.model_copy(update={"port": server.server_port}))
    made.children = [Child(name, command, PATH, settings.logs_dir / f"{name}.log") for name, command in commands]
    for child in made.children:
        child.start()
    try:
        yield made
    finally:
        made.stop()


def test_a_database_that_is_down_is_a_part_that_does_not_answer(settings: Settings, chroma_url: str) -> None:
    app = create_app(settings.model_copy(update={"embedding_url": NOBODY, "index_url": chroma_url}))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        state = app.state.folkmoot
        app.state.folkmoot = dataclasses.replace(state, database=Database("postgresql://ada@127.0.0.1:1/none"))
        answer = client.get("/ready")
        app.state.folkmoot = state
    assert (answer.status_code, answer.json()) == (503, {"database": False, "embedder": False, "index": True})


@pytest.mark.parametrize(
    ("answer", "bad"),
    [
        ((200, {"database": True, "index": True}), {"process worker"}),
        ((503, {"database": True, "index": False}), {"index", "process worker"}),
        ((500, {"error": {"message": "something went wrong here"}}), {"api", "process worker"}),
        ((200, ["x"]), {"api", "process worker"}),
    ],
)
def test_doctor_judges_by_what_was_answered(settings: Settings, answer: tuple[int, Any], bad: set[str]) -> None:
    with answering(answer) as server:
        processes = {"api": 1, "worker": None}
        write_running(settings.data_dir, server.url, processes)
        found = {finding.what for finding in doctor.examine(settings) if not finding.ok}
        forget_running(settings.data_dir)
    assert found == bad


def test_a_worker_that_keeps_ending_is_said_and_is_not_ready(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    dies = ("worker", ["sh", "-c", "echo no broker; exit 1"])
    with answering((200, {"database": True})) as server, supervising(settings, server, dies) as made:
        with pytest.raises(ConfigurationError, match="worker does not start: no broker"):
            made.wait_ready()
        running = read_running(settings.data_dir)
        assert running is not None
        assert (running["processes"], running["restarts"]["worker"]) == ({"worker": None}, 2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all("worker ended (no broker) and was started again" in line for line in lines)


def test_an_engine_may_take_its_time_and_nothing_else_may(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(supervisor, "_READY_WITHIN_S", 0.0)
    monkeypatch.setattr(supervisor, "_NEWS_EVERY_S", 0.0)
    monkeypatch.setattr(supervisor, "_TICK_S", 0.01)
    lives = ("engine-big", ["sleep", "600"])
    loads = [(503, {"index": True, "engine:big": False})] * 3
    with (
        answering(*loads, (200, {"index": True, "engine:big": True})) as server,
        supervising(settings, server, lives) as made,
    ):
        made.wait_ready()
    assert "still waiting for engine:big; see " in capsys.readouterr().out
    for silent in ("index", "engine:elsewhere"):
        with (
            answering((503, {silent: False, "engine:big": False})) as server,
            supervising(settings, server, lives) as made,
            pytest.raises(ConfigurationError, match=f"no answer from {silent} in"),
        ):
            made.wait_ready()
    dies = ("engine-big", ["sh", "-c", "echo no such model; exit 1"])
    with (
        answering(loads[0]) as server,
        supervising(settings, server, dies) as made,
        pytest.raises(ConfigurationError, match="engine-big does not start: no such model"),
    ):
        made.wait_ready()


def commands(given: Settings) -> tuple[Settings, dict[str, list[str]]]:
    settings = profile.with_addresses(given)
    return settings, {child.name: child._command for child in profile.children(given, settings)}


def test_the_embedder_is_where_the_embedding_url_says(settings: Settings) -> None:
    models = {"big": ModelSettings(base="a/b"), "nursery": ModelSettings(base=BUILTIN_BASE)}
    far = settings.model_copy(update={"models": models, "engines": {"big": "http://gpu:8000"}})
    made, started = commands(far)
    assert made.embedding_url == made.engines["nursery"] != made.engines["big"] == "http://gpu:8000"
    assert "--embedder" in started["engine-nursery"] and "engine-big" not in started

    alone = far.model_copy(update={"engines": {"big": "http://gpu:8000", "nursery": "http://gpu:8001"}})
    made, started = commands(alone)
    assert made.embedding_url not in made.engines.values() and "--embedder" in started["embedder"]

    made, started = commands(far.model_copy(update={"embedding_url": "http://elsewhere"}))
    assert made.embedding_url == "http://elsewhere" and made.embedding_api_key_env is None
    assert not any("--embedder" in command for command in started.values())


@pytest.mark.parametrize("variable", [None, "EMBEDDING_KEY"])
def test_an_embedder_elsewhere_gets_its_own_key_and_never_ours(
    data_dir: Path, database: Database, monkeypatch: pytest.MonkeyPatch, variable: str | None
) -> None:
    monkeypatch.setenv("EMBEDDING_KEY", "theirs")
    with answering((200, {"data": [{"index": 0, "embedding": [1.0, 0.0]}]})) as server:
        state = open_state(
            Settings(
                data_dir=data_dir,
                embedding_url=f"{server.url}/v1",
                embedding_api_key_env=variable,
                engine_token="ours",
                index_url=NOBODY,
            )
        )
        with state.database.session() as session:
            session.add(User(id="usr_1", handle="ada", name="Ada"))
        state.memory.remember("usr_1", [NewMemory("My cat is called Miro.", speaker="Ada")])
        state.database.dispose()
    assert server.asked[0] == ("/v1/embeddings", "Bearer theirs" if variable else None)


def test_an_embedder_of_ours_gets_our_token(settings: Settings) -> None:
    made = profile.with_addresses(settings)
    environment = profile._environment(made)
    assert made.embedding_api_key_env is not None
    assert environment[made.embedding_api_key_env] == made.engine_token
    assert environment["FOLKMOOT_EMBEDDING_API_KEY_ENV"] == made.embedding_api_key_env

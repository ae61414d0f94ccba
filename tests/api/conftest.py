"""A running API for each test module: uvicorn on a free loopback port, SQLite, a real index, a scripted model."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from api import keys
from api.client import Client
from api.main import create_app
from personal_data.database import Database
from personal_data.settings import ModelSettings, Settings, prepare_data_dir
from tests.api.scripted_server import ScriptedServer

NOBODY = "http://127.0.0.1:1"
"""Where nothing listens."""


@dataclass(frozen=True)
class Person:
    """Somebody with an agent, an open client and the key it uses."""

    handle: str
    key: str
    client: Client


@dataclass
class Platform:
    """A running API and what stands behind it."""

    url: str
    settings: Settings
    database: Database
    model: ScriptedServer
    admin: Client
    http: httpx.Client
    """For requests as no client of ours would make them; knows no key."""
    clients: list[Client] = field(default_factory=list)

    def add(self, name: str, *, model: str | None = None) -> Person:
        """A person whose handle starts with `name`."""
        handle = f"{name}-{len(self.clients)}"
        key = self.admin.add_user(handle, name.title(), model=model)["key"]
        self.clients.append(Client(self.url, key, timeout_s=30))
        return Person(handle, key, self.clients[-1])

    def moot(self, founder: Person, *others: Person) -> str:
        """The slug of a society of these people."""
        slug = f"moot-{founder.handle}"
        founder.client.create_society(slug, "The moot")
        for other in others:
            founder.client.invite(slug, other.handle)
            other.client.accept(slug)
        return slug


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """The API of these settings over a real socket, in a thread."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(settings), loop="asyncio", log_level="warning", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        thread.join(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedServer]:
    """The scripted model."""
    server = ScriptedServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def api_settings(tmp_path_factory: pytest.TempPathFactory, model: ScriptedServer, chroma_url: str) -> Settings:
    """A data folder for the tests of a module, agents on the scripted model, short leases so that faults pass soon."""
    models = {
        "scripted": ModelSettings(
            kind="endpoint", url=f"{model.url}/v1", model="scripted", base="scripted/base", timeout_s=20
        ),
        "gone": ModelSettings(kind="endpoint", url=f"{NOBODY}/v1", model="gone"),
    }
    return Settings(
        data_dir=tmp_path_factory.mktemp("data"),
        models=models,
        default_model="scripted",
        embedding_url=model.url,
        index_url=chroma_url,
        max_message_chars=2000,
        debate_deadline_s=20.0,
        lease_s=3.0,
        sweep_s=0.5,
    )


@pytest.fixture(scope="module")
def platform(api_settings: Settings, model: ScriptedServer, _migrated_sqlite: Path) -> Iterator[Platform]:
    """A running API with an administrator; tests add people, each under a name of their own."""
    prepare_data_dir(api_settings)
    shutil.copy(_migrated_sqlite, api_settings.data_dir / "folkmoot.db")
    database = Database(api_settings.database)
    keys.bootstrap(database, api_settings.data_dir)
    admin_key = keys.read_bootstrap_key(api_settings.data_dir)
    with (
        serving(api_settings) as url,
        Client(url, admin_key) as admin,
        httpx.Client(base_url=url, timeout=30, verify=False) as http,
    ):
        made = Platform(url, api_settings, database, model, admin, http)
        yield made
        for client in made.clients:
            client.close()
    database.dispose()


@pytest.fixture
def ada(platform: Platform) -> Person:
    """Somebody new on the platform."""
    return platform.add("ada")


@pytest.fixture
def ben(platform: Platform) -> Person:
    """Somebody else."""
    return platform.add("ben")


def user(text: str) -> list[dict[str, Any]]:
    """A history of one message."""
    return [{"role": "user", "content": text}]

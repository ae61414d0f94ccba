"""kill -9 of the api in the middle of debates: the same verdict, byte for byte, and no stored call is paid twice.

Three kills in `make test`, twenty in `make drills`. The api is a real process on a real port, its members answer from
a model server that notes every call. A debate that nobody disturbs says what the verdict is; every other one asks the
same with the same seed, loses its api at a random moment, and is finished by the next one.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any, cast

import httpx
import pytest

from api import keys
from api.client import Client
from api.profile import _api, _environment
from personal_data.database import Database
from personal_data.settings import ModelSettings, Settings, prepare_data_dir
from tests.chroma import free_port

Json = dict[str, Any]
MEMBERS, PATIENCE_S, STORED_AFTER_S = 5, 120.0, 1.5
QUESTION, PLAN = "What is the code of the hut?", {"rounds": 2}
pytestmark = pytest.mark.timeout(3600)


class Model(ThreadingHTTPServer):
    """Each member has an answer of its own, which takes a while; `calls` holds when which prompt was answered."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.calls: dict[str, list[float]] = defaultdict(list)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = json.dumps(body["messages"])
        number = hashlib.sha256(body["messages"][0]["content"].encode()).digest()[0]
        time.sleep(0.2 + (number % 7) / 20)
        delta = {"role": "assistant", "content": f"It says so on the door.\nanswer: {number % 3}"}
        told = {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "delta": delta, "finish_reason": "stop"}],
        }
        payload = f"data: {json.dumps(told)}\n\ndata: [DONE]\n\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)
        cast(Model, self.server).calls[prompt].append(time.monotonic())

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Api:
    """The api's process, as the supervisor starts it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.url = f"http://127.0.0.1:{settings.port}"
        self.start()

    def start(self) -> None:
        with (self._settings.logs_dir / "api.log").open("ab") as log:
            self._process = subprocess.Popen(
                _api(self._settings), stdout=log, stderr=log, env=_environment(self._settings)
            )
        give_up = time.monotonic() + PATIENCE_S
        while True:
            try:
                if httpx.get(f"{self.url}/health", timeout=2).is_success:
                    return
            except httpx.HTTPError:
                assert time.monotonic() < give_up and self._process.poll() is None, "the api does not start"
                time.sleep(0.05)

    def kill(self) -> None:
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def platform(folder: Path, model: Model) -> Iterator[tuple[Api, str]]:
    """An api and its administrator's key."""
    nowhere = "http://127.0.0.1:1"
    settings = Settings(
        data_dir=folder,
        port=free_port(),
        models={"slow": ModelSettings(kind="endpoint", url=model.url, model="slow")},
        default_model="slow",
        embedding_url=nowhere,
        index_url=nowhere,
        lease_s=1.0,
        sweep_s=0.2,
        debate_deadline_s=60.0,
    )
    prepare_data_dir(settings)
    database = Database(settings.database)
    database.migrate()
    keys.bootstrap(database, settings.data_dir)
    database.dispose()
    admin_key = keys.read_bootstrap_key(settings.data_dir)
    assert admin_key is not None
    api = Api(settings)
    try:
        yield api, admin_key
    finally:
        api.kill()


def found(api: Api, admin_key: str) -> str:
    """A society of five; its owner's key."""
    with Client(api.url, admin_key) as admin:
        people = [str(admin.add_user(f"p{number}", f"Person {number}")["key"]) for number in range(MEMBERS)]
    with Client(api.url, people[0]) as owner:
        owner.create_society("moot")
        for number, key in enumerate(people[1:], 1):
            owner.invite("moot", f"p{number}")
            with Client(api.url, key) as member:
                member.accept("moot")
    return people[0]


def ended(api: Api, key: str, debate_id: str) -> Json:
    give_up = time.monotonic() + PATIENCE_S
    with Client(api.url, key, timeout_s=10) as client:
        while (told := client.debate(debate_id))["state"] == "queued":
            assert time.monotonic() < give_up, "the debate does not end"
            time.sleep(0.1)
    return told


def test_a_killed_api_changes_no_verdict_and_pays_no_stored_call_twice(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kills = 20 if request.config.getoption("--long") else 3
    rng, model = Random(1), Model()
    with platform(tmp_path / "data", model) as (api, admin_key):
        key = found(api, admin_key)
        with Client(api.url, key) as client:
            begun = time.monotonic()
            whole = ended(api, key, client.ask("moot", QUESTION, seed=1, plan=PLAN)["id"])
            lasted = time.monotonic() - begun
        assert len(whole["reviews"]) > 4 and {row["round"] for row in whole["positions"]} == {0, 1}
        told = json.dumps(whole["verdict"], sort_keys=True)
        for kill in range(kills):
            model.calls.clear()
            with Client(api.url, key) as client:
                debate_id = client.ask("moot", QUESTION, seed=1, plan=PLAN)["id"]
            time.sleep(rng.uniform(0, lasted))
            killed = time.monotonic()
            api.kill()
            api.start()
            assert json.dumps(ended(api, key, debate_id)["verdict"], sort_keys=True) == told, f"kill {kill}"
            for times in model.calls.values():
                stored = [at for at in times if at < killed - STORED_AFTER_S]
                assert len(times) == 1 or not stored, "a call that was stored was made once more"
    model.shutdown()

"""kill -9 of the api, the index and the worker while memories come in: nothing acknowledged is lost or doubled.

Three kills in `make test`, 24 in `make drills`. Memories are written one by one over HTTP by two people at once, each
repeating what was not acknowledged, and an import of one of them runs beside; whoever is killed is started again by the
supervisor. At the end every acknowledged memory is found by its own text, no text is there twice, and the index holds
and finds what SQL holds.
"""

from __future__ import annotations

import io
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from random import Random

import pytest

from api.client import Client
from personal_data.errors import FolkmootError
from tests.api.served import Running, served

VICTIMS = ("api", "index", "worker")
PATIENCE_S = 180.0
pytestmark = pytest.mark.timeout(3600)
"""Each wait has its own patience; on a slow machine they add up."""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with served(tmp_path / "tiny", tmp_path / "platform", FOLKMOOT_SWEEP_S="0.5", FOLKMOOT_LEASE_S="5") as started:
        yield started


class Writer:
    """Remembers one text after another, each until it is acknowledged."""

    def __init__(self, running: Running, key: str, name: str) -> None:
        self.client = Client(running.url, key, timeout_s=20)
        self.acknowledged: dict[str, str] = {}
        """Text → id."""
        self._name = name

    def write(self, stop: threading.Event) -> None:
        number = 0
        while not stop.is_set():
            text = f"{self._name} counted {number} boats behind pier {number * number}."
            try:
                self.acknowledged[text] = self.client.remember(text)[0]
            except FolkmootError:
                time.sleep(0.1)  # the same again
            else:
                number += 1


def alive(running: Running, victim: str, besides: int | None = None) -> int:
    """The victim's process, another one than it was."""
    give_up = time.monotonic() + PATIENCE_S
    while (pid := running.pid(victim)) in (None, besides):
        assert time.monotonic() < give_up, f"{victim} was not started again"
        time.sleep(0.05)
    assert pid is not None
    return pid


def settled(client: Client) -> None:
    """Nothing waits for the index any more."""
    give_up = time.monotonic() + PATIENCE_S
    while True:
        try:
            if client.verify_memory()["waiting"] == 0:
                return
        except FolkmootError:
            pass
        assert time.monotonic() < give_up, "memories still wait for the index"
        time.sleep(0.5)


def listed(client: Client) -> list[tuple[str, str]]:
    """(id, text) of all memories."""
    found: list[tuple[str, str]] = []
    before = None
    while page := client.memories(limit=500, before=before):
        found += [(memory["id"], memory["text"]) for memory in page]
        before = page[-1]["id"]
    return found


def test_nothing_acknowledged_is_lost_or_doubled(running: Running, request: pytest.FixtureRequest) -> None:
    kills, lines = (24, 1500) if request.config.getoption("--long") else (3, 200)
    imported = [f"Ana measured {number} birds at the lake on day {number * 3}." for number in range(lines)]
    rng, stop = Random(1), threading.Event()
    writers = [Writer(running, running.json("user", "add", name)["key"], name) for name in ("ada", "ben")]
    ada = writers[0].client
    with ThreadPoolExecutor(2) as threads:
        writing = [threads.submit(writer.write, stop) for writer in writers]
        chat = "".join(f"13/05/2023, 18:{n % 60:02} - Ana: {text}\n" for n, text in enumerate(imported))
        import_id = ada.upload("chat.txt", io.BytesIO(chat.encode()), timezone="UTC", date_order="dmy")["id"]
        *_, looked = ada.watch_import(import_id)
        ada.run_import(import_id, me=["Ana"], timezone="UTC", date_order="dmy")
        try:
            for victim in islice(cycle(VICTIMS), kills):
                time.sleep(rng.uniform(0.3, 2.0))
                pid = alive(running, victim)
                os.kill(pid, signal.SIGKILL)
                alive(running, victim, besides=pid)
        finally:
            stop.set()
        for one in writing:
            one.result(PATIENCE_S)
    assert looked["state"] == "ready"
    give_up = time.monotonic() + PATIENCE_S
    while ada.import_(import_id)["state"] == "running":
        assert time.monotonic() < give_up, "the import does not end"
        time.sleep(0.5)
    assert ada.import_(import_id)["state"] == "done"
    for writer in writers:
        check(writer, imported if writer.client is ada else [])
        writer.client.close()


def check(writer: Writer, imported: list[str]) -> None:
    settled(writer.client)
    found = listed(writer.client)
    there = {text: memory_id for memory_id, text in found}
    assert len(writer.acknowledged) > 20, "next to nothing was written; the drill shows nothing"
    assert writer.acknowledged.items() <= there.items()
    assert set(imported) <= there.keys()
    assert [text for text, count in Counter(text for _, text in found).items() if count > 1] == []
    for text, memory_id in writer.acknowledged.items():
        assert memory_id in {hit["id"] for hit in writer.client.recall(text, k=5)}, text
    give_up = time.monotonic() + PATIENCE_S
    while not (health := writer.client.verify_memory())["healthy"]:  # it is filled again
        assert time.monotonic() < give_up, json.dumps(health)
        time.sleep(0.5)

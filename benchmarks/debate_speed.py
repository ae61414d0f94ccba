"""Claim: a debate costs what its members cost: their calls overlap, and what lies between them is next to nothing.

`python -m benchmarks.debate_speed` runs the API over real sockets on a model server that answers after random delays.
Thirty-two members debate a contested question through all rounds: measured are the wall time beside the sum of each
round's slowest member, and the share of the time in which no call was under way. Then eight debates of eight members
run at once while somebody chats: their replies' times stand beside those of a quiet moment.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory

import uvicorn
from fastapi import FastAPI, Request, Response

from api import keys
from api.client import Client
from api.main import create_app
from benchmarks.figures import Figure, finish, machine
from personal_data.database import Database
from personal_data.settings import ModelSettings, Settings, prepare_data_dir

MEMBERS, DEBATES, PANEL, RUNS, CHATS = 32, 8, 8, 5, 60
_SLOWEST_S = 3.0
_ROUNDS = ("Because:", "Solve it again")


@dataclass
class Slow:
    """A model server: what it answers depends on who asks and in which round, and so does how long it takes."""

    calls: list[tuple[int, float, float]] = field(default_factory=list)
    """(round, from, to) of each, on the monotonic clock."""

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/v1/chat/completions")
        async def complete(request: Request) -> Response:
            body = await request.json()
            asked, who = body["messages"][-1]["content"], body["messages"][0]["content"]
            begun = time.monotonic()
            if body["model"] == "slow":
                await asyncio.sleep(Random(f"{who}{asked}{body.get('seed')}").uniform(0.3, 1) * _SLOWEST_S)
                stage = next((number for number, sign in enumerate(_ROUNDS, 1) if sign in asked), 0)
                self.calls.append((stage, begun, time.monotonic()))
            answer = hashlib.sha256(who.encode()).digest()[0] % 3
            delta = {"role": "assistant", "content": f"I think so.\nanswer: {answer}"}
            choice = {"index": 0, "delta": delta, "finish_reason": "stop"}
            head = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": body["model"]}
            chunk = json.dumps({**head, "choices": [choice]})
            return Response(f"data: {chunk}\n\ndata: [DONE]\n\n", media_type="text/event-stream")

        return app


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """An application on a loopback port, in a thread of its own."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@contextmanager
def platform(model_url: str) -> Iterator[tuple[str, str]]:
    """A Folkmoot on that model: its URL and the administrator's key."""
    with TemporaryDirectory() as scratch:
        models = {
            name: ModelSettings(kind="endpoint", url=model_url, model=name, base=name) for name in ("slow", "quick")
        }
        nowhere = "http://127.0.0.1:1"
        settings = Settings(
            data_dir=Path(scratch) / "data",
            models=models,
            default_model="slow",
            embedding_url=nowhere,
            index_url=nowhere,
            debate_deadline_s=120.0,
        )
        prepare_data_dir(settings)
        database = Database(settings.database)
        database.migrate()
        keys.bootstrap(database, settings.data_dir)
        admin_key = keys.read_bootstrap_key(settings.data_dir)
        assert admin_key is not None
        with serving(create_app(settings)) as url:
            yield url, admin_key
        database.dispose()


def found(url: str, admin_key: str, slug: str, members: int) -> str:
    """A society of so many; its owner's key."""
    with Client(url, admin_key) as admin:
        people = [str(admin.add_user(f"{slug}-{number}", f"{slug} {number}")["key"]) for number in range(members)]
    with Client(url, people[0]) as owner:
        owner.create_society(slug)
        owner.change_society(slug, panel_size=members, rounds=2, max_calls=4 * members, sure=1.0)
        for number, key in enumerate(people[1:], 1):
            owner.invite(slug, f"{slug}-{number}")
            with Client(url, key) as member:
                member.accept(slug)
    return people[0]


def overlap(slow: Slow, url: str, key: str, slug: str) -> tuple[float, float]:
    """One debate of the whole society: wall time by the sum of each round's slowest call, and the idle share."""
    slow.calls.clear()
    with Client(url, key) as client:
        told = client.debate_end(client.ask(slug, f"What is it, at {time.monotonic()}?")["id"])
    assert told["state"] == "done" and {stage for stage, _, _ in slow.calls} == {0, 1, 2}, told["text"]
    begun, ended = min(start for _, start, _ in slow.calls), max(end for _, _, end in slow.calls)
    ideal = sum(max(end - start for one, start, end in slow.calls if one == stage) for stage in range(3))
    busy, until = 0.0, begun
    for _, start, end in sorted(slow.calls, key=lambda call: call[1]):
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return (ended - begun) / ideal, 1 - busy / (ended - begun)


def chats(url: str, key: str, handle: str) -> list[float]:
    """Seconds of each of some short replies, one after another."""
    times = []
    with Client(url, key) as client:
        for number in range(CHATS):
            begun = time.monotonic()
            client.chat([{"role": "user", "content": f"Is it {number}?"}], model=f"agent:{handle}")
            times.append(time.monotonic() - begun)
    return times


def main() -> int:
    logging.getLogger("personal_data").setLevel(logging.ERROR)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    slow = Slow()
    with serving(slow.app()) as model_url, platform(model_url) as (url, admin_key):
        print(f"debates on a model of random delays up to {_SLOWEST_S:g} s, {machine()}")
        owner = found(url, admin_key, "crowd", MEMBERS)
        measured = [overlap(slow, url, owner, "crowd") for _ in range(RUNS)]
        wall, idle = (sorted(values) for values in zip(*measured, strict=True))
        print(f"{MEMBERS} members, 3 rounds, n = {RUNS}: wall {_spread(wall)} of the slowest, idle {_spread(idle)}")
        owners = [found(url, admin_key, f"moot{number}", PANEL) for number in range(DEBATES)]
        with Client(url, admin_key) as admin:
            chatter = admin.add_user("chatter", "Chatter", model="quick")["key"]
        quiet = chats(url, chatter, "chatter")
        with ThreadPoolExecutor(DEBATES) as pool:
            running = [pool.submit(overlap_free, url, key, f"moot{n}") for n, key in enumerate(owners)]
            time.sleep(0.5)
            beside = chats(url, chatter, "chatter")
            for one in running:
                one.result()
    ratio = median(beside) / median(quiet)
    print(f"a chat beside {DEBATES} debates: median {ratio:.2f} times that of a quiet moment, n = {CHATS} each")
    return finish(
        [
            Figure("debate.wall_to_slowest", median(wall), "<=", 1.15),
            Figure("debate.idle_share", median(idle), "<=", 0.05),
            Figure("debate.chat_beside_debates", ratio, "<=", 3.0),
        ]
    )


def overlap_free(url: str, key: str, slug: str) -> None:
    """Debate until the end, and once more."""
    with Client(url, key) as client:
        for number in range(2):
            assert client.debate_end(client.ask(slug, f"What is it, the {number}th time?")["id"])["state"] == "done"


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.3f} ({values[0]:.3f}-{values[-1]:.3f})"


if __name__ == "__main__":
    sys.exit(main())

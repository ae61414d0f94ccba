"""Claim: recall stays fast for a person with 100,000 memories and among 10,000 people with 100 each.

`python -m benchmarks.memory_scale` fills SQLite with random unit vectors of MiniLM's size and texts of random words
(drawn as words are: a few often, most seldom), then asks as the API's memory layer is asked. The question's vector is
made beforehand: what the embedder takes is printed apart. The first recall of a person reads their memories from SQL.
Last, Chroma's own server takes 1,000 people's 20 memories through the outbox: its resident size.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sqlalchemy import insert

from agents.engine.embedder import DIMENSIONS
from agents.engine.embedder import Embedder as MiniLM
from benchmarks.figures import Figure, finish, machine
from benchmarks.serving import resident_bytes
from personal_data.database import Database
from personal_data.embedding import Vectors, to_bytes
from personal_data.errors import IndexUnavailable
from personal_data.index import ChromaIndex
from personal_data.memory import Memory, NewMemory
from personal_data.records import Memory as MemoryRow
from personal_data.records import User, new_id, now

ALONE, PEOPLE, EACH = 100_000, 10_000, 100
INDEXED, INDEXED_EACH = 1_000, 20
VOCABULARY, WORDS = 20_000, 15
_BATCH = 2_000


class Drawn:
    """An embedder that takes no time: a random unit vector for each text."""

    model = "random-384"

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def embed(self, texts: Sequence[str]) -> Vectors:
        drawn = self._random.standard_normal((len(texts), DIMENSIONS), np.float32)
        unit: Vectors = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
        return unit


def sentence(rng: Random) -> str:
    """Words by Zipf's law."""
    return " ".join(f"w{int(VOCABULARY ** rng.random())}" for _ in range(WORDS))


def fill(database: Database, owners: Sequence[str], each: int) -> None:
    """Give every owner `each` memories, in bulk: what is measured is asking, not remembering."""
    rng, embedder = Random(1), Drawn(1)
    with database.session() as session:
        for number, owner in enumerate(owners):
            session.add(User(id=owner, handle=f"p{number}-{owner[-6:]}", name=f"Person {number}", memory_revision=1))
    wanted = ((owner, place) for owner in owners for place in range(each))
    while batch := [pair for pair, _ in zip(wanted, range(_BATCH), strict=False)]:
        vectors = embedder.embed([""] * len(batch))
        rows: list[dict[str, Any]] = [
            {
                "id": new_id("mem"),
                "user_id": owner,
                "text": sentence(rng),
                "kind": "turn",
                "speaker": "Ada" if place % 2 else "Ben",
                "scope": "private",
                "thread": f"t{place // 20}",
                "own": True,
                "sensitive": [],
                "sources": [],
                "event_at": 1.6e9 + 3600 * place,
                "embedding": to_bytes(vector[None]),
                "embedding_model": embedder.model,
                "content_sha256": f"{place:064d}",
                "revision": 1,
                "created_at": now(),
            }
            for (owner, place), vector in zip(batch, vectors, strict=True)
        ]
        with database.session() as session:
            session.execute(insert(MemoryRow), rows)


def ask(memory: Memory, owners: Sequence[str]) -> list[float]:
    """Seconds of one recall for each of these owners, in turn."""
    rng, seconds = Random(2), []
    for owner in owners:
        question = f"What did Ada say about {sentence(rng)} last May?"
        started = time.perf_counter()
        hits = memory.recall(owner, question, 10)
        seconds.append(time.perf_counter() - started)
        assert len(hits) == 10
    return seconds


@contextmanager
def chroma(folder: Path, port: int) -> Iterator[tuple[str, int]]:
    """Chroma's own server, as the supervisor starts it; its address and process id."""
    command = [Path(sys.executable).with_name("chroma"), "run", "--path", folder, "--host", "127.0.0.1"]
    process = subprocess.Popen([*map(str, command), "--port", str(port)], stdout=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(20)


def indexed(folder: Path, port: int) -> int:
    """Resident bytes of the index that holds 1,000 people's memories."""
    rng = Random(3)
    database = Database(f"sqlite:///{folder}/indexed.db")
    database.migrate()
    with chroma(folder / "index", port) as (url, process):
        index = ChromaIndex(url)
        for _ in range(300):
            try:
                index.ping()
                break
            except IndexUnavailable:
                time.sleep(0.1)
        memory = Memory(database, Drawn(3), index)
        for number in range(INDEXED):
            with database.session() as session:
                user = User(handle=f"indexed-{number}", name="Ada")
                session.add(user)
                session.flush()
                owner = user.id
            memory.remember(owner, [NewMemory(sentence(rng), "Ada") for _ in range(INDEXED_EACH)])
        while memory.drain_outbox():
            pass
        assert memory.reconcile() == 0
        return resident_bytes(process)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alone", type=int, default=ALONE, help="memories of the one person")
    parser.add_argument("--people", type=int, default=PEOPLE, help=f"people with {EACH} memories each")
    parser.add_argument("--asked", type=int, default=300, help="recalls of each kind")
    parser.add_argument("--port", type=int, default=8765, help="of the index while it is measured")
    options = parser.parse_args()
    print(f"memory at scale, {machine()}; SQLite, vectors of {DIMENSIONS}, texts of {WORDS} words")
    with TemporaryDirectory() as scratch:
        database = Database(f"sqlite:///{scratch}/folkmoot.db")
        database.migrate()
        return finish(_measure(database, Path(scratch), options))


def _measure(database: Database, scratch: Path, options: argparse.Namespace) -> list[Figure]:
    one, many = new_id("usr"), [new_id("usr") for _ in range(options.people)]
    started = time.perf_counter()
    fill(database, [one], options.alone)
    fill(database, many, EACH)
    print(f"  filled with {options.alone + options.people * EACH:,} memories in {time.perf_counter() - started:.0f} s")
    memory = Memory(database, Drawn(4), ChromaIndex("http://127.0.0.1:1"))
    first = ask(memory, [one])[0]
    alone = ask(memory, [one] * options.asked)
    rng = Random(5)
    cold = ask(memory, rng.sample(many, min(options.asked, len(many))))
    warm = ask(memory, [rng.choice(many[:50]) for _ in range(2 * options.asked)])[options.asked :]
    embedder = MiniLM()
    embedded = []
    for number in range(50):
        before = time.perf_counter()
        embedder.embed([f"Where did I leave my umbrella number {number}?"])
        embedded.append(time.perf_counter() - before)
    _row(f"one person, {options.alone:,} memories, after a first recall of {first * 1e3:.0f} ms", alone)
    _row(f"somebody of {options.people:,} for the first time, {EACH} memories", cold)
    _row("somebody again", warm)
    _row("embedding the question, apart", embedded)
    size = indexed(scratch, options.port)
    print(f"  the index with {INDEXED:,} people's {INDEXED_EACH} memories: {size / 2**20:.0f} MiB resident")
    return [
        Figure("memory.alone_p95_ms", _p95(alone) * 1e3, "<=", 30),
        Figure("memory.people_p95_ms", _p95(cold) * 1e3, "<=", 30),
        Figure("memory.index_mib", size / 2**20, "<=", 400),
    ]


def _row(what: str, seconds: Sequence[float]) -> None:
    print(f"  {what}: p50 {median(seconds) * 1e3:.1f} ms, p95 {_p95(seconds) * 1e3:.1f} ms, n = {len(seconds)}")


def _p95(seconds: Sequence[float]) -> float:
    return quantiles(seconds, n=20)[18]


if __name__ == "__main__":
    sys.exit(main())

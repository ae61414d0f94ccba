"""An index that lies about what it holds is found out by its ids and by probes, and filled anew from SQL."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest

from personal_data.database import Database
from personal_data.embedding import HashingEmbedder
from personal_data.errors import IndexBroken, IndexUnavailable
from personal_data.index import ChromaIndex, IndexRow, collection_name
from personal_data.memory import Memory, NewMemory
from personal_data.outbox import batches
from personal_data.upkeep import Findings
from tests.chroma import free_port, start_chroma
from tests.personal_data.test_memory import AWAY, FACTS, drained, facts, person

MODEL = HashingEmbedder.model


@pytest.fixture
def chroma_url(tmp_path: Path) -> Iterator[str]:
    """A server for one test: among the same few facts of other tests' people, told again and again, a graph may really
    lose one."""
    port = free_port()
    process = start_chroma(tmp_path / "own-index", port)
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


def forget_one(index: ChromaIndex, owner: str, ids: list[str]) -> None:
    index.delete(owner, MODEL, ids[:1])


def swap_vectors(index: ChromaIndex, owner: str, ids: list[str]) -> None:
    """Every id is there, with a vector of nothing that was said."""
    elsewhere = -np.ones(256, np.float32) / 16
    index.upsert(owner, MODEL, [IndexRow(memory_id, "private", elsewhere) for memory_id in ids[1:]])


def drop_all(index: ChromaIndex, owner: str, ids: list[str]) -> None:
    index.drop(owner, MODEL)


@pytest.mark.parametrize(
    ("damage", "astray", "lost"), [(forget_one, 1, 1), (swap_vectors, 0, 3), (drop_all, 4, 4)], ids=lambda it: str(it)
)
def test_what_the_index_lost_is_seen_and_rebuilt(
    database: Database, chroma_url: str, damage: Callable[[ChromaIndex, str, list[str]], None], astray: int, lost: int
) -> None:
    assert len(FACTS) == 4
    ada, index = person(database, "ada"), ChromaIndex(chroma_url)
    memory = Memory(database, HashingEmbedder(), index)
    ids = memory.remember(ada, facts(*FACTS))
    assert memory.verify(ada) == Findings(4, waiting=0, astray=0, probes=4, lost=0)
    assert not memory.suspicious
    damage(index, ada, ids)
    found = memory.verify(ada)
    assert (found.healthy, found.astray, found.lost) == (False, astray, lost)
    assert memory.suspicious  # whoever keeps the index repairs it
    assert memory.rebuild(ada) == 4
    assert memory.verify(ada).waiting == 4
    assert drained(memory) == 4
    assert memory.verify(ada).healthy


def test_what_is_written_while_a_shard_is_dropped_is_written_again(database: Database, chroma_url: str) -> None:
    """The writer has told the index that was dropped, and takes its entry away afterwards."""
    ada, index = person(database, "ada"), ChromaIndex(chroma_url)

    class Late(ChromaIndex):
        def upsert(self, owner: str, model: str, rows: Sequence[IndexRow]) -> None:
            super().upsert(owner, model, rows)
            assert memory.rebuild(owner) == 4

    memory = Memory(database, HashingEmbedder(), index)
    Memory(database, HashingEmbedder(), Late(chroma_url)).remember(ada, facts(*FACTS))
    drained(memory)
    assert memory.verify(ada).healthy


def test_same_texts_are_not_taken_for_lost_ones(database: Database, chroma_url: str) -> None:
    ada = person(database, "ada")
    memory = Memory(database, HashingEmbedder(), ChromaIndex(chroma_url))
    said = [NewMemory("Yes.", "Ada", thread="a", event_at=float(minute)) for minute in range(40)]
    memory.remember(ada, said)
    assert memory.verify(ada).healthy


def test_whoever_shares_a_shard_is_filled_in_with_it(database: Database, chroma_url: str) -> None:
    ada = person(database, "ada")
    neighbour = next(
        other
        for other in (person(database, f"p{number}") for number in range(2000))
        if collection_name(other, MODEL) == collection_name(ada, MODEL)
    )
    memory = Memory(database, HashingEmbedder(), ChromaIndex(chroma_url))
    for owner in (ada, neighbour):
        memory.remember(owner, facts(*FACTS))
    assert memory.rebuild(ada) == 8
    assert drained(memory) == 8
    assert memory.verify(neighbour).healthy


def test_a_shard_that_cannot_be_read_any_more_is_filled_anew_at_start(database: Database, tmp_path: Path) -> None:
    """As after a kill in the wrong moment: the server is there, one collection answers with errors only."""
    ada, ben = person(database, "ada"), person(database, "ben")
    port = free_port()
    chroma = start_chroma(tmp_path / "index", port)
    memory = Memory(database, HashingEmbedder(), ChromaIndex(f"http://127.0.0.1:{port}"))
    rng = Random(1)  # more than Chroma writes down at once
    texts = [" ".join(f"w{rng.randrange(5000)}" for _ in range(12)) for _ in range(1100)]
    for batch in batches(texts):
        memory.remember(ada, facts(*batch))
    memory.remember(ben, facts(*FACTS))
    assert memory.reconcile() == 0
    together = collection_name(ada, MODEL) == collection_name(ben, MODEL)
    in_shard = len(texts) + (len(FACTS) if together else 0)
    chroma.send_signal(signal.SIGKILL)
    chroma.wait()
    damaged = list((tmp_path / "index").rglob("header.bin")) + list((tmp_path / "index").rglob("data_level0.bin"))
    assert damaged
    for path in damaged:
        path.write_bytes(b"\xff" * path.stat().st_size)
    chroma = start_chroma(tmp_path / "index", port)
    try:
        with pytest.raises(IndexBroken):
            ChromaIndex(f"http://127.0.0.1:{port}").query(ada, MODEL, HashingEmbedder().embed(["x"])[0], 5, None)
        assert memory.verify(ada).broken is not None
        assert memory.reconcile() == in_shard
        assert drained(memory) == in_shard
        assert memory.verify(ada).healthy and memory.verify(ben).healthy
        assert memory.reconcile() == 0
    finally:
        chroma.kill()
        chroma.wait()


def test_an_index_that_is_away_is_neither_verified_nor_touched(database: Database) -> None:
    ada = person(database, "ada")
    memory = Memory(database, HashingEmbedder(), ChromaIndex(AWAY))
    memory.remember(ada, facts(*FACTS))
    for act in (memory.verify, memory.rebuild):
        with pytest.raises(IndexUnavailable):
            act(ada)
    assert len(memory.recall(ada, "door code", 4)) > 0

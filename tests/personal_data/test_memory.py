"""Memory against a real Chroma server, and with that server away: nothing acknowledged is ever lost, nothing leaks."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import func, select, update

from personal_data import shelf
from personal_data.database import Database
from personal_data.embedding import HashingEmbedder, Vectors
from personal_data.errors import BackendUnavailable, IndexUnavailable, InvalidInput, NotFound
from personal_data.index import ChromaIndex, IndexRow, collection_name
from personal_data.memory import MAX_CHARS, Memory, NewMemory, pieces
from personal_data.ranking import DEPTH
from personal_data.records import Agent, Debate, MemoryOutbox, Model, Society, User, new_id
from personal_data.records import Memory as MemoryRow
from personal_data.sharing import disclose, disclosures
from tests.answers import answering
from tests.chroma import free_port

AWAY = "http://127.0.0.1:1"
FACTS = ["My cat is called Miro.", "My sister lives in Oslo.", "The code of my door is 4711.", "My boat is green."]


class AwayEmbedder(HashingEmbedder):
    """An embedder whose server is down."""

    def embed(self, texts: object) -> Vectors:
        raise BackendUnavailable("down")


class BreaksOff(HashingEmbedder):
    """An embedder whose process is killed when it is asked for the second time."""

    asked = 0

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.asked += 1
        if self.asked == 2:
            raise KeyboardInterrupt
        return super().embed(texts)


class OtherEmbedder(HashingEmbedder):
    """Another model."""

    model = "hashing-other"


class InterruptedIndex(ChromaIndex):
    """A real index; once, just before it is written to, something else happens."""

    meanwhile: Callable[[], object] | None = None

    def upsert(self, owner: str, model: str, rows: Sequence[IndexRow]) -> None:
        happens, self.meanwhile = self.meanwhile, None
        if happens is not None:
            happens()
        super().upsert(owner, model, rows)


def person(database: Database, handle: str) -> str:
    with database.session() as session:
        user = User(handle=f"{handle}-{new_id('x')[-8:]}", name=handle.title())
        session.add(user)
        session.flush()
        return user.id


def facts(*texts: str, scope: str | None = None) -> list[NewMemory]:
    return [NewMemory(text, speaker="Ada", scope=scope) for text in texts]


def outbox_size(database: Database) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(MemoryOutbox)) or 0


@pytest.fixture
def memory(any_database: Database, chroma_url: str) -> Memory:
    return Memory(any_database, HashingEmbedder(), ChromaIndex(chroma_url))


def test_recall_finds_what_bears_on_the_question(memory: Memory, any_database: Database) -> None:
    ada = person(any_database, "ada")
    ids = memory.remember(ada, facts(*FACTS))
    hits = memory.recall(ada, "What is my cat called?", 2)
    assert hits[0].id == ids[0]
    assert hits[0].why == {"meaning": 1, "words": 1}
    assert memory.reconcile() == 0
    assert outbox_size(any_database) == 0


def test_nobody_recalls_what_belongs_to_somebody_else(memory: Memory, any_database: Database) -> None:
    owners = [person(any_database, f"p{number}") for number in range(6)]
    for number, owner in enumerate(owners):
        memory.remember(owner, facts(f"The canary of this person is canary-{number}.", "My cat is called Miro."))
    for number, owner in enumerate(owners):
        texts = [hit.text for hit in memory.recall(owner, "What is the canary of this person?", 50)]
        assert len(texts) == 2
        assert f"canary-{number}" in "".join(texts)


def test_another_owner_can_not_forget_or_share_it(memory: Memory, any_database: Database) -> None:
    ada, ben = person(any_database, "ada"), person(any_database, "ben")
    [memory_id] = memory.remember(ada, facts("My cat is called Miro."))
    for attempt in (lambda: memory.forget(ben, memory_id), lambda: memory.set_scope(ben, memory_id, "public")):
        with pytest.raises(NotFound):
            attempt()
    assert memory.recall(ada, "cat", 5)[0].id == memory_id


def test_an_audience_sees_its_own_scope_and_public_only(memory: Memory, any_database: Database) -> None:
    ada = person(any_database, "ada")
    private, shared, other, public = memory.remember(
        ada,
        [
            *facts("My cat is called Miro."),
            *facts("My dog is called Rex.", scope="society:moot"),
            *facts("My owl is called Uhu.", scope="society:others"),
            *facts("My boat is called Ada.", scope="public"),
        ],
    )
    seen = {hit.id for hit in memory.recall(ada, "What is my pet called?", 10, audience="society:moot")}
    assert seen == {shared, public}
    memory.set_scope(ada, shared, "private")  # withdrawing acts on the next recall
    assert {hit.id for hit in memory.recall(ada, "dog called", 10, audience="society:moot")} == {public}
    memory.set_scope(ada, private, "society:moot")
    assert private in {hit.id for hit in memory.recall(ada, "cat called", 10, audience="society:moot")}
    assert {hit.id for hit in memory.recall(ada, "called", 10)} == {private, shared, other, public}


def test_forgotten_is_gone_from_sql_index_and_recall_and_stays_gone(memory: Memory, any_database: Database) -> None:
    ada = person(any_database, "ada")
    kept, gone = memory.remember(ada, facts("My cat is called Miro.", "My secret is a canary-secret."))
    memory.forget(ada, gone)
    assert [hit.id for hit in memory.recall(ada, "What is my secret canary?", 10)] == [kept]
    with any_database.reading() as session:
        row = session.get_one(MemoryRow, gone)
    assert (row.text, row.embedding, row.deleted_at is None) == ("", None, False)
    assert memory.reconcile() == 0
    assert [hit.id for hit in memory.recall(ada, "secret canary", 10)] == [kept]
    with pytest.raises(NotFound):
        memory.forget(ada, gone)


def test_the_same_text_is_remembered_once(memory: Memory, any_database: Database) -> None:
    ada = person(any_database, "ada")
    first = memory.remember(ada, facts("My cat is called Miro.", "My cat  is called Miro. "))
    assert first[0] == first[1] == memory.remember(ada, facts("My cat is called Miro."))[0]
    assert len(memory.entries(ada)) == 1


def test_a_known_text_is_shared_and_taken_back_by_remembering_it_so(memory: Memory, any_database: Database) -> None:
    ada = person(any_database, "ada")
    [cat, boat] = memory.remember(ada, facts("My cat is called Miro.", "My boat is green."))
    again = [*facts("My cat is called Miro.", scope="society:moot"), *facts("My boat is green.")]
    assert memory.remember(ada, again) == [cat, boat]
    assert memory.scopes(ada, [cat, boat, cat]) == ["society:moot", "private", "society:moot"]
    assert [hit.id for hit in memory.recall(ada, "cat", 5, audience="society:moot")] == [cat]
    assert "meaning" in memory.recall(ada, "cat", 5, audience="society:moot")[0].why
    memory.remember(ada, facts("My cat is called Miro."))
    assert memory.scopes(ada, [cat]) == ["society:moot"], "nobody asked for another one"
    memory.remember(ada, facts("My cat is called Miro.", scope="private"))
    assert memory.scopes(ada, [cat]) == ["private"]
    assert memory.recall(ada, "cat", 5, audience="society:moot") == []


def test_the_last_wish_of_a_batch_counts(memory: Memory, any_database: Database) -> None:
    ada = person(any_database, "ada")
    ids = memory.remember(ada, [*facts("My cat is called Miro."), *facts("My cat is called Miro.", scope="public")])
    assert memory.scopes(ada, ids) == ["public", "public"]


def test_much_is_stored_bit_by_bit_and_what_broke_off_can_be_repeated(database: Database) -> None:
    ada = person(database, "ada")
    texts = facts(*(f"My number {number} is {number * 7}." for number in range(1201)))
    embedder = BreaksOff()
    memory = Memory(database, embedder, ChromaIndex(AWAY))
    with pytest.raises(KeyboardInterrupt):
        memory.remember(ada, texts)
    with database.reading() as session:
        stored = session.scalars(select(MemoryRow.id).order_by(MemoryRow.id)).all()
    assert 0 < len(stored) < len(texts)
    ids = memory.remember(ada, texts)
    assert len(set(ids)) == len(texts) and set(stored) <= set(ids)
    assert len(memory.scopes(ada, ids)) == len(texts)
    asked = embedder.asked
    assert memory.remember(ada, texts) == ids
    assert embedder.asked == asked, "what is known is not embedded again"


def test_a_long_text_is_cut_into_pieces_that_fit() -> None:
    text = "\n".join("A sentence about my garden. " * 20 for _ in range(60))
    cut = pieces(text)
    assert len(cut) == -(-len(text) // MAX_CHARS) and all(0 < len(piece) <= MAX_CHARS for piece in cut)
    assert " ".join(" ".join(cut).split()) == " ".join(text.split())
    assert pieces("x" * (MAX_CHARS + 1)) == ["x" * MAX_CHARS, "x"]


@pytest.mark.parametrize("text", ["", "   \n", "x" * 9000])
def test_bad_text_is_refused_and_nothing_is_stored(memory: Memory, any_database: Database, text: str) -> None:
    ada = person(any_database, "ada")
    with pytest.raises(InvalidInput):
        memory.remember(ada, facts("My cat is called Miro.", text))
    assert memory.entries(ada) == []


def test_an_unknown_scope_is_refused(memory: Memory, any_database: Database) -> None:
    ada = person(any_database, "ada")
    for scope in ("friends", "society:", "society:A B", "private "):
        with pytest.raises(InvalidInput):
            memory.remember(ada, facts("My cat is called Miro.", scope=scope))


def test_with_the_index_away_recall_is_exact_and_the_outbox_catches_up(database: Database, chroma_url: str) -> None:
    ada = person(database, "ada")
    away = Memory(database, HashingEmbedder(), ChromaIndex(AWAY))
    ids = away.remember(ada, facts(*FACTS))
    assert away.recall(ada, "Where does my sister live?", 1)[0].id == ids[1]
    assert outbox_size(database) == len(FACTS)
    back = Memory(database, HashingEmbedder(), ChromaIndex(chroma_url))
    with database.session() as session:  # as if the wait before the next attempt were over
        session.execute(update(MemoryOutbox).values(not_before=0.0))
    assert back.drain_outbox() == len(FACTS)
    assert back.reconcile() == 0
    assert outbox_size(database) == 0


def test_with_the_embedder_away_words_still_recall_and_vectors_come_later(database: Database, chroma_url: str) -> None:
    ada = person(database, "ada")
    index = ChromaIndex(chroma_url)
    away = Memory(database, AwayEmbedder(), index)
    ids = away.remember(ada, facts(*FACTS))
    assert away.recall(ada, "What is the code of my door?", 1)[0].id == ids[2]
    with database.session() as session:
        session.execute(update(MemoryOutbox).values(not_before=0.0))
    back = Memory(database, HashingEmbedder(), index)
    back.drain_outbox()
    assert back.reconcile() == 0
    assert "meaning" in back.recall(ada, "door code", 1)[0].why


def drained(memory: Memory) -> int:
    """How many entries the index took until there were none."""
    return sum(iter(memory.drain_outbox, 0))


def test_how_near_texts_are_or_that_nobody_knows(database: Database) -> None:
    index = ChromaIndex("http://127.0.0.1:1")
    memory = Memory(database, HashingEmbedder(), index)
    long = "The ladder stands behind the garage. " * 60
    cosines = memory.likeness(["The boat is green.", "the boat is green", long, "Nobody plays the harp."])
    assert cosines is not None and cosines.shape == (4, 4)
    assert cosines.diagonal() == pytest.approx([1.0] * 4)
    assert cosines[0, 1] == pytest.approx(1.0) and cosines[0, 3] < 0.5
    assert (cosines == cosines.T).all()
    alone = memory.likeness([])
    assert alone is not None and alone.shape == (0, 0)
    assert Memory(database, AwayEmbedder(), index).likeness(["The boat is green."]) is None


def test_an_index_that_lost_everything_is_filled_again_for_everybody(database: Database, chroma_url: str) -> None:
    people = [person(database, "ada"), person(database, "ben")]
    index = ChromaIndex(chroma_url)
    memory = Memory(database, HashingEmbedder(), index)
    ids = {owner: memory.remember(owner, facts(*FACTS)) for owner in people}
    for owner in people:
        index.delete(owner, HashingEmbedder.model, ids[owner])
    assert memory.reconcile() == 2 * len(FACTS)
    assert memory.reconcile() == 0, "what waits already is not queued again"
    assert drained(memory) == 2 * len(FACTS)
    assert memory.reconcile() == 0
    assert "meaning" in memory.recall(people[1], "door code", 1)[0].why


def test_another_embedding_model_gets_vectors_of_its_own(database: Database, chroma_url: str) -> None:
    ada = person(database, "ada")
    Memory(database, HashingEmbedder(), ChromaIndex(chroma_url)).remember(ada, facts(*FACTS))
    memory = Memory(database, OtherEmbedder(), ChromaIndex(chroma_url))
    assert "dense" not in memory.recall(ada, "door code", 1)[0].why
    assert memory.reconcile() == drained(memory) == len(FACTS)
    assert "meaning" in memory.recall(ada, "door code", 1)[0].why


def test_a_vector_that_outlived_its_memory_is_found_and_removed(database: Database, chroma_url: str) -> None:
    ada = person(database, "ada")
    index = ChromaIndex(chroma_url)
    memory = Memory(database, HashingEmbedder(), index)
    [gone] = memory.remember(ada, facts("My secret is a canary."))
    memory.forget(ada, gone)
    index.upsert(ada, HashingEmbedder.model, [IndexRow(gone, "private", HashingEmbedder().embed(["canary"])[0])])
    assert memory.reconcile() == drained(memory) == 1
    assert index.known(ada, HashingEmbedder.model, [gone]) == set()


@pytest.fixture
def interrupted(database: Database, chroma_url: str) -> tuple[Memory, InterruptedIndex, str, str]:
    """A memory with its interruptible index, an owner, and the id of a fact that the index has still to be told."""
    ada = person(database, "ada")
    [memory_id] = Memory(database, HashingEmbedder(), ChromaIndex(AWAY)).remember(ada, facts(FACTS[0]))
    with database.session() as session:
        session.execute(update(MemoryOutbox).values(not_before=0.0))
    index = InterruptedIndex(chroma_url)
    return Memory(database, HashingEmbedder(), index), index, ada, memory_id


def test_what_is_forgotten_while_it_is_delivered_does_not_come_back(
    database: Database, chroma_url: str, interrupted: tuple[Memory, InterruptedIndex, str, str]
) -> None:
    memory, index, ada, memory_id = interrupted
    other = Memory(database, HashingEmbedder(), ChromaIndex(chroma_url))
    index.meanwhile = lambda: other.forget(ada, memory_id)
    memory.drain_outbox()
    assert index.known(ada, HashingEmbedder.model, [memory_id]) == set()
    assert outbox_size(database) == 0


def test_what_is_shared_while_it_is_delivered_is_shared_in_the_index(
    database: Database, chroma_url: str, interrupted: tuple[Memory, InterruptedIndex, str, str]
) -> None:
    memory, index, ada, memory_id = interrupted
    other = Memory(database, HashingEmbedder(), ChromaIndex(chroma_url))
    index.meanwhile = lambda: other.set_scope(ada, memory_id, "public")
    memory.drain_outbox()
    vector = HashingEmbedder().embed(["cat"])[0]
    assert [found for found, _ in index.query(ada, HashingEmbedder.model, vector, 5, ["public"])] == [memory_id]


@pytest.mark.parametrize("exact", [0, 250_000])
def test_the_end_of_a_long_text_is_found_and_forgotten_whole(
    database: Database, chroma_url: str, exact: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the shelf and in the index alike."""
    monkeypatch.setattr(shelf, "EXACT_MEMORIES", exact)
    ada, index = person(database, "ada"), ChromaIndex(chroma_url)
    memory = Memory(database, HashingEmbedder(), index)
    filler = " ".join(f"On day {number} nothing happened at all." for number in range(100))
    [long, _] = memory.remember(ada, facts(f"{filler} Then the zeppelin landed.", *FACTS[:1]))
    hit = memory.recall(ada, "zeppelin landed", 1)[0]
    assert (hit.id, hit.why) == (long, {"words": 1, "meaning": 1})
    vector = HashingEmbedder().embed(["Then the zeppelin landed."])[0]
    assert index.query(ada, HashingEmbedder.model, vector, 1, None)[0][0] == long
    assert memory.reconcile() == 0
    memory.forget(ada, long)
    assert long not in dict(index.query(ada, HashingEmbedder.model, vector, 10, None))
    assert [hit.text for hit in memory.recall(ada, "zeppelin landed", 5)] == FACTS[:1]


@pytest.mark.parametrize("exact", [0, 2, 250_000])
def test_beyond_what_a_process_holds_the_index_is_asked(
    any_database: Database, chroma_url: str, exact: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same ranks, whoever compares the vectors."""
    monkeypatch.setattr(shelf, "EXACT_MEMORIES", exact)
    ada = person(any_database, "ada")
    memory = Memory(any_database, HashingEmbedder(), ChromaIndex(chroma_url))
    ids = memory.remember(ada, [*facts(*FACTS), *facts("My boat sails.", scope="public")])
    assert [hit.id for hit in memory.recall(ada, "boat green", 2)] == [ids[3], ids[4]]
    [hit] = memory.recall(ada, "boat green", 5, audience="society:moot")
    assert (hit.id, hit.why) == (ids[4], {"words": 1, "meaning": 1})
    assert memory.recall(ada, "boat green", 1)[0].why == {"words": 1, "meaning": 1}


def test_what_another_process_changes_is_seen_at_once(any_database: Database, chroma_url: str) -> None:
    ada = person(any_database, "ada")
    here, there = (Memory(any_database, HashingEmbedder(), ChromaIndex(chroma_url)) for _ in range(2))
    ids = here.remember(ada, facts(*FACTS))
    assert there.recall(ada, "cat called", 1)[0].id == ids[0]
    [rex] = here.remember(ada, facts("My cat is called Rex as well.", scope="public"))
    assert {hit.id for hit in there.recall(ada, "cat called", 2)} == {ids[0], rex}
    here.set_scope(ada, ids[0], "public")
    here.set_scope(ada, rex, "private")
    assert [hit.id for hit in there.recall(ada, "cat called", 2, audience="society:moot")] == [ids[0]]
    here.forget(ada, ids[0])
    assert there.recall(ada, "cat called", 1)[0].id == rex
    assert there.recall(ada, "cat called", 2, audience="society:moot") == []


@pytest.mark.parametrize("exact", [0, 250_000])
def test_a_stray_vector_in_the_index_never_becomes_a_memory(
    database: Database, chroma_url: str, exact: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "EXACT_MEMORIES", exact)
    ada = person(database, "ada")
    index = ChromaIndex(chroma_url)
    memory = Memory(database, HashingEmbedder(), index)
    [kept] = memory.remember(ada, facts("My cat is called Miro."))
    vector = HashingEmbedder().embed(["My cat is called Miro."])[0]
    index.upsert(ada, HashingEmbedder.model, [IndexRow("mem_stray", "private", vector)])
    assert [hit.id for hit in memory.recall(ada, "What is my cat called?", 10)] == [kept]


class ExactIndex(ChromaIndex):
    """An index that compares with everything: among so many alike a graph may miss the one that is far."""

    def __init__(self) -> None:
        self.rows: dict[str, IndexRow] = {}

    def upsert(self, owner: str, model: str, rows: Sequence[IndexRow]) -> None:
        self.rows |= {row.id: row for row in rows}

    def query(
        self, owner: str, model: str, vector: Vectors, k: int, scopes: Sequence[str] | None
    ) -> list[tuple[str, float]]:
        found = [
            (row.memory_id, float(row.vector @ vector))
            for row in self.rows.values()
            if scopes is None or row.scope in scopes
        ]
        return sorted(found, key=lambda one: -one[1])[:k]


def test_what_is_kept_back_takes_no_place_in_the_index(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory that is too large to be compared exactly: the nearest are all sensitive, and the answer is far."""
    monkeypatch.setattr(shelf, "EXACT_MEMORIES", 2)
    ada = person(database, "ada")
    memory = Memory(database, HashingEmbedder(), ExactIndex())
    private = [f"My doctor gave me pills against headache number {number}." for number in range(DEPTH + 50)]
    memory.remember(ada, [NewMemory(text, "Ada", scope="public") for text in private])
    [kept] = memory.remember(ada, [NewMemory("Pebbles against the window.", "Ada", scope="public")])
    hits = memory.recall(ada, "doctor pills headache against number", 5, audience="public")
    assert [(hit.id, sorted(hit.why)) for hit in hits] == [(kept, ["meaning", "words"])]


def test_disclosures_are_written_once_and_read_by_their_owner(any_database: Database) -> None:
    ada, ben = person(any_database, "ada"), person(any_database, "ben")
    with any_database.session() as session:
        if session.get(Model, "m") is None:
            session.add(Model(name="m", kind="engine", base="b", lineage="b"))
            session.flush()
        session.add(Agent(user_id=ada, handle=new_id("a"), model="m"))
        society = Society(slug=f"moot-{new_id('s')[-8:]}", name="Moot", owner_id=ada)
        session.add(society)
        session.flush()
        debate = Debate(society_id=society.id, user_id=ada, question="?", panel=[], seed=0, deadline_s=1.0)
        session.add(debate)
        session.flush()
        for _ in range(2):
            disclose(session, user_id=ada, debate_id=debate.id, audience="society:moot", memory_ids=["mem_1", "mem_1"])
            session.flush()
    with any_database.reading() as session:
        assert [row.memory_id for row in disclosures(session, ada)] == ["mem_1"]
        assert disclosures(session, ben) == []


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>hello</html>"),
        (200, b"[]"),
        (200, b"null"),
        (200, b'{"id": "x"}'),
        (200, b'{"id": "x", "ids": [["mem_1"]], "distances": null}'),
        (200, b'{"id": "x", "ids": [["mem_1"]], "distances": [[null]]}'),
        (302, b""),
        (404, b'{"error": "NotFoundError", "message": "gone"}'),
        (500, b"\xff\xfe"),
    ],
)
def test_whatever_an_index_answers_recall_goes_on_without_it(
    database: Database, status: int, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "EXACT_MEMORIES", 2)
    ada = person(database, "ada")
    with answering((status, body)) as server:
        memory = Memory(database, HashingEmbedder(), ChromaIndex(server.url))
        ids = memory.remember(ada, facts(*FACTS))
        hit = memory.recall(ada, "Where does my sister live?", 1)[0]
        assert (hit.id, hit.why) == (ids[1], {"words": 1})
        with pytest.raises(IndexUnavailable):
            ChromaIndex(server.url).query(ada, "m", HashingEmbedder().embed(["cat"])[0], 1, None)


def test_an_index_that_hangs_is_not_waited_for(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "EXACT_MEMORIES", 2)
    ada = person(database, "ada")
    with socket.create_server(("127.0.0.1", 0)) as hangs:  # takes connections and says nothing
        url = f"http://127.0.0.1:{hangs.getsockname()[1]}"
        memory = Memory(database, HashingEmbedder(), ChromaIndex(url, timeout_s=0.1))
        ids = memory.remember(ada, facts(*FACTS))
        assert memory.recall(ada, "Where does my sister live?", 1)[0].id == ids[1]


def test_no_proxy_sees_a_vector(chroma_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, AWAY)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    index = ChromaIndex(chroma_url)
    vector = HashingEmbedder().embed(["cat"])[0]
    index.upsert("usr_proxy", HashingEmbedder.model, [IndexRow("mem_proxy", "private", vector)])
    assert index.known("usr_proxy", HashingEmbedder.model, ["mem_proxy"]) == {"mem_proxy"}


def test_a_collection_that_is_gone_is_made_again(chroma_url: str) -> None:
    index, vector = ChromaIndex(chroma_url), HashingEmbedder().embed(["cat"])[0]
    index.upsert("usr_gone", "gone", [IndexRow("mem_1", "private", vector)])
    collections = f"{chroma_url}/api/v2/tenants/default_tenant/databases/default_database/collections"
    httpx.delete(f"{collections}/{collection_name('usr_gone', 'gone')}", trust_env=False).raise_for_status()
    assert index.known("usr_gone", "gone", ["mem_1"]) == set()
    index.upsert("usr_gone", "gone", [IndexRow("mem_1", "private", vector)])
    assert index.known("usr_gone", "gone", ["mem_1"]) == {"mem_1"}


def test_no_server_is_named_in_one_line(database: Database) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(IndexUnavailable, match=r"127\.0\.0\.1"):
        ChromaIndex(url).ping()


def test_an_owners_writers_wait_for_each_other_and_never_for_ever(any_database: Database, chroma_url: str) -> None:
    """Remembering, sharing, embedding again and forgetting the same at once; what is left is what recall has."""
    ada = person(any_database, "ada")
    memory = Memory(any_database, HashingEmbedder(), ChromaIndex(chroma_url))
    texts = [f"Boat number {number} is green." for number in range(40)]
    ids = memory.remember(ada, facts(*texts))

    def share(scope: str) -> None:
        for _ in range(6):
            memory.remember(ada, facts(*texts, scope=scope))

    def embed_again(model: str) -> None:
        other = Memory(any_database, OtherEmbedder() if model else HashingEmbedder(), ChromaIndex(chroma_url))
        for _ in range(6):
            other.reconcile()
            other.drain_outbox()

    def forget(some: Sequence[str]) -> None:
        for memory_id in some:
            memory.forget(ada, memory_id)

    with ThreadPoolExecutor(5) as threads:
        work = [threads.submit(share, "public"), threads.submit(share, "private")]
        work += [threads.submit(embed_again, model) for model in ("", "other")]
        work += [threads.submit(forget, ids[:10])]
        for one in work:
            one.result(timeout=120)
    hits = memory.recall(ada, "green boat number", 100)
    assert {hit.id for hit in hits} == {row.id for row in memory.entries(ada)}
    assert {hit.text for hit in hits} >= set(texts[10:])

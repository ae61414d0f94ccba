"""Memory against a real Chroma server, and with that server away: nothing acknowledged is ever lost, nothing leaks."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, update

from personal_data.database import Database
from personal_data.embedding import HashingEmbedder, Vectors
from personal_data.errors import BackendUnavailable, IndexUnavailable, InvalidInput, NotFound
from personal_data.index import ChromaIndex, IndexRow
from personal_data.memory import Memory, NewMemory
from personal_data.records import Agent, Debate, MemoryOutbox, Model, Society, User, new_id
from personal_data.records import Memory as MemoryRow
from personal_data.sharing import disclose, disclosures
from tests.chroma import free_port

AWAY = "http://127.0.0.1:1"
FACTS = ["My cat is called Miro.", "My sister lives in Oslo.", "The code of my door is 4711.", "My boat is green."]


class AwayEmbedder(HashingEmbedder):
    """An embedder whose server is down."""

    def embed(self, texts: object) -> Vectors:
        raise BackendUnavailable("down")


def person(database: Database, handle: str) -> str:
    with database.session() as session:
        user = User(handle=f"{handle}-{new_id('x')[-8:]}", name=handle.title())
        session.add(user)
        session.flush()
        return user.id


def facts(*texts: str, scope: str = "private") -> list[NewMemory]:
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
    assert hits[0].why == {"dense": 1, "words": 1}
    assert memory.missing(ada) == []
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
    memory.rebuild(ada)
    assert [hit.id for hit in memory.recall(ada, "secret canary", 10)] == [kept]
    with pytest.raises(NotFound):
        memory.forget(ada, gone)


def test_the_same_text_is_remembered_once(memory: Memory, any_database: Database) -> None:
    ada = person(any_database, "ada")
    first = memory.remember(ada, facts("My cat is called Miro.", "My cat  is called Miro. "))
    assert first[0] == first[1] == memory.remember(ada, facts("My cat is called Miro."))[0]
    assert len(memory.entries(ada)) == 1


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
    assert back.missing(ada) == sorted(ids)
    with database.session() as session:  # as if the wait before the next attempt were over
        session.execute(update(MemoryOutbox).values(not_before=0.0))
    assert back.drain_outbox() == len(FACTS)
    assert back.missing(ada) == []
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
    assert back.missing(ada) == []
    assert "dense" in back.recall(ada, "door code", 1)[0].why


def test_an_index_that_lost_everything_is_rebuilt_from_sql(database: Database, chroma_url: str) -> None:
    ada = person(database, "ada")
    index = ChromaIndex(chroma_url)
    memory = Memory(database, HashingEmbedder(), index)
    ids = memory.remember(ada, facts(*FACTS))
    index.delete(ada, HashingEmbedder.model, ids)
    assert memory.missing(ada) == sorted(ids)
    assert memory.rebuild(ada) == len(ids)
    assert memory.missing(ada) == []


def test_a_stray_vector_in_the_index_never_becomes_a_memory(database: Database, chroma_url: str) -> None:
    ada = person(database, "ada")
    index = ChromaIndex(chroma_url)
    memory = Memory(database, HashingEmbedder(), index)
    [kept] = memory.remember(ada, facts("My cat is called Miro."))
    vector = HashingEmbedder().embed(["My cat is called Miro."])[0]
    index.upsert(ada, HashingEmbedder.model, [IndexRow("mem_stray", "private", vector)])
    assert [hit.id for hit in memory.recall(ada, "What is my cat called?", 10)] == [kept]


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


def test_no_server_is_named_in_one_line(database: Database) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(IndexUnavailable, match=r"127\.0\.0\.1"):
        ChromaIndex(url).ping()

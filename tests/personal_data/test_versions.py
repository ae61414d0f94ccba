"""Corrections: recalled at once, kept and taken back, forgotten with the memory, and not undone by an import."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from personal_data.database import Database
from personal_data.embedding import HashingEmbedder
from personal_data.errors import Conflict, InvalidInput, NotFound
from personal_data.index import ChromaIndex
from personal_data.memory import Memory, NewMemory, Origin
from personal_data.records import Import, MemoryVersion
from personal_data.sharing import PUBLIC
from tests.personal_data.test_memory import drained, person

LONG = " ".join(f"On day {number} nothing happened at all." for number in range(100))


@pytest.fixture
def memory(any_database: Database, chroma_url: str) -> Memory:
    return Memory(any_database, HashingEmbedder(), ChromaIndex(chroma_url))


def texts(memory: Memory, owner: str, query: str) -> list[str]:
    return [hit.text for hit in memory.recall(owner, query, 10)]


def test_a_correction_is_recalled_and_taken_back(memory: Memory, any_database: Database) -> None:
    ada = person(any_database, "ada")
    before, kept, after = memory.remember(
        ada, [NewMemory(text, "Ada", thread="t") for text in ("Tell me.", "My boat is green.", "I see.")]
    )
    assert texts(memory, ada, "boat")[0] == "My boat is green."
    memory.correct(ada, kept, "My ship is red.")
    assert texts(memory, ada, "ship")[0] == "My ship is red."
    assert "My boat is green." not in texts(memory, ada, "boat green")
    memory.correct(ada, kept, "My ship is blue.")
    assert [version.text for version in memory.history(ada, kept)] == ["My boat is green.", "My ship is red."]
    memory.take_back_correction(ada, kept)
    assert texts(memory, ada, "ship")[0] == "My ship is red."
    memory.take_back_correction(ada, kept)
    assert [row.text for row in memory.entries(ada)] == ["I see.", "My boat is green.", "Tell me."]
    assert [row.id for row in memory.entries(ada)] == [after, kept, before]
    with pytest.raises(Conflict, match="never corrected"):
        memory.take_back_correction(ada, kept)
    assert memory.verify(ada).healthy


def test_a_shorter_text_leaves_no_part_of_the_longer_one_in_the_index(
    memory: Memory, any_database: Database, chroma_url: str
) -> None:
    ada = person(any_database, "ada")
    [kept] = memory.remember(ada, [NewMemory(f"{LONG} Then the zeppelin landed.", "Ada")])
    memory.correct(ada, kept, "Nothing.")
    drained(memory)
    vector = HashingEmbedder().embed(["Then the zeppelin landed."])[0]
    near = ChromaIndex(chroma_url).query(ada, HashingEmbedder.model, vector, 10, None)
    assert [memory_id for memory_id, _ in near] == [kept], "one part, and no more"
    assert memory.verify(ada).healthy


def test_the_last_word_counts_and_an_import_brings_no_error_back(memory: Memory, any_database: Database) -> None:
    ada = person(any_database, "ada")
    wrong = NewMemory("My boat is green.", "Ada")
    [kept] = memory.remember(ada, [wrong])
    memory.correct(ada, kept, "My boat is red.")
    with any_database.session() as session:
        begun = Import(user_id=ada, name="x", choice={})
        session.add(begun)
        session.flush()
        import_id = begun.id
    assert memory.remember(ada, [wrong], origin=Origin(import_id, 0)) == [kept]
    assert texts(memory, ada, "boat") == ["My boat is red."]
    assert memory.remember(ada, [wrong]) == [kept]
    assert texts(memory, ada, "boat") == ["My boat is green."]
    assert len(memory.history(ada, kept)) == 2


def test_what_was_said_before_is_forgotten_with_it(memory: Memory, any_database: Database) -> None:
    ada = person(any_database, "ada")
    [kept] = memory.remember(ada, [NewMemory("My boat is green.", "Ada")])
    memory.correct(ada, kept, "My boat is red.")
    memory.forget(ada, kept)
    with any_database.reading() as session:
        assert session.scalars(select(MemoryVersion)).all() == []
    for act in (memory.history, memory.take_back_correction):
        with pytest.raises(NotFound):
            act(ada, kept)


def test_corrections_are_their_owners_and_say_something(memory: Memory, any_database: Database) -> None:
    ada, ben = person(any_database, "ada"), person(any_database, "ben")
    [kept] = memory.remember(ada, [NewMemory("My boat is green.", "Ada", scope=PUBLIC, named=True)])
    with pytest.raises(NotFound):
        memory.correct(ben, kept, "Mine.")
    with pytest.raises(NotFound):
        memory.history(ben, kept)
    with pytest.raises(InvalidInput):
        memory.correct(ada, kept, "  ")
    memory.correct(ada, kept, "My debts are paid from my salary.")
    assert memory.recall(ada, "salary", 5, audience="society:moot") == [], "a correction may make it sensitive"


def test_memories_are_listed_by_kind_speaker_and_text(memory: Memory, any_database: Database) -> None:
    ada = person(any_database, "ada")
    memory.remember(ada, [NewMemory("100% wool", "Ada"), NewMemory("Wolle", "Ben", kind="turn"), NewMemory("x", "Ada")])
    assert [row.text for row in memory.entries(ada, holds="WOOL")] == ["100% wool"]
    assert [row.text for row in memory.entries(ada, holds="0%")] == ["100% wool"]
    assert [row.text for row in memory.entries(ada, holds="%")] == ["100% wool"]
    assert [row.text for row in memory.entries(ada, speaker="Ben")] == ["Wolle"]
    assert [row.text for row in memory.entries(ada, kind="fact", speaker="Ada")] == ["x", "100% wool"]

"""Whose words may be learned: the owner's own, true still, not private, and no conversation on both sides."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from personal_data.database import Database
from personal_data.records import Memory, User, now
from training.tasks.texts import Talk, Texts, read_texts

PLACES = count()


@pytest.fixture
def ada(any_database: Database) -> Database:
    with any_database.session() as session:
        session.add_all([User(id=one, handle=one, name=one) for one in ("ada", "ben")])
    return any_database


def say(database: Database, text: str, **columns: Any) -> str:
    given = {"user_id": "ada", "speaker": "Ada", "kind": "turn", "content_sha256": f"{next(PLACES)}"}
    with database.session() as session:
        row = Memory(**(given | {"text": text} | columns))
        session.add(row)
        session.flush()
        return row.id


def read(database: Database) -> Texts:
    with database.reading() as session:
        return read_texts(session, "ada")


def every(found: Texts) -> set[str]:
    return {text for talk in found.train + found.gate for text in talk.texts}


def test_only_the_owners_own_words_are_read(ada: Database) -> None:
    mine = [say(ada, "I like tea."), say(ada, "Notes on gardens.", kind="document", speaker="")]
    mine.append(say(ada, "long " * 400, kind="document", speaker=""))
    say(ada, "Ben likes coffee.", own=False, speaker="Ben")
    say(ada, "I am Ben.", user_id="ben")
    say(ada, "Ada likes tea.", kind="fact", confidence=0.9)
    say(ada, "", deleted_at=now())
    say(ada, "I live in Rome.", valid_to=now() - 60)
    found = read(ada)
    assert every(found) == {"I like tea.", "Notes on gardens.", "long " * 400}
    assert found.made_from == {"feedback": [], "memories": mine}


def test_what_is_private_is_left_out_and_counted(ada: Database) -> None:
    say(ada, "I have diabetes.", sensitive=["health"])
    say(ada, "I was diagnosed with cancer last week.", sensitive=None)
    say(ada, "My key is sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH.", sensitive=[])
    say(ada, "I like tea.", sensitive=[])
    found = read(ada)
    assert every(found) == {"I like tea."}
    assert found.left_out == {"sensitive": 2, "secret": 1}


def test_a_conversation_keeps_its_order_and_lies_on_one_side(ada: Database) -> None:
    for turn in range(3):
        for talk in range(40):
            say(ada, f"turn {turn} of talk {talk}", thread=f"cnv_{talk}")
    found = read(ada)
    assert found.train and found.gate
    assert not {talk.id for talk in found.train} & {talk.id for talk in found.gate}
    assert len(found.train) + len(found.gate) == 40
    for talk in found.train + found.gate:
        assert talk.texts == tuple(f"turn {turn} of talk {talk.id[4:]}" for turn in range(3))
        assert talk == Talk(talk.id, talk.texts)
    assert read(ada).digest == found.digest
    say(ada, "one more", thread="cnv_1")
    assert read(ada).digest != found.digest


def test_what_was_said_twice_is_on_the_side_where_it_was_said_first(ada: Database) -> None:
    first = say(ada, "Good morning, all of you.", thread="cnv_1")
    for talk in range(2, 40):
        say(ada, "good  morning, ALL of you.", thread=f"cnv_{talk}")
    found = read(ada)
    assert every(found) == {"Good morning, all of you."}
    assert found.memory_ids == (first,)

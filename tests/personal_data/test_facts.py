"""Facts drawn from turns: until when they hold, what goes with them, and that nothing forgotten comes back."""

from __future__ import annotations

import pytest

from personal_data.database import Database
from personal_data.embedding import HashingEmbedder
from personal_data.facts import Found, Kept, Seen, keep, looked_in, unobserved
from personal_data.index import ChromaIndex
from personal_data.memory import Memory, NewMemory
from personal_data.records import Memory as MemoryRow
from tests.personal_data.test_memory import drained, person

MAY, JUNE, JULY = 1_684_000_000.0, 1_686_700_000.0, 1_689_300_000.0
OSLO, ROME = "Ada lives in Oslo.", "Ada lives in Rome."


class Life:
    """One person who says things, of which facts are drawn."""

    def __init__(self, database: Database, chroma_url: str) -> None:
        self.database = database
        self.memory = Memory(database, HashingEmbedder(), ChromaIndex(chroma_url))
        self.owner = person(database, "ada")

    def say(self, text: str, at: float | None = None, *, own: bool = True, kind: str = "turn") -> str:
        said = NewMemory(text, "Ada" if own else "Ben", kind=kind, event_at=at, thread="talk", own=own)
        return self.memory.remember(self.owner, [said])[0]

    def waiting(self, limit: int = 100) -> list[Seen]:
        with self.database.reading() as session:
            return unobserved(session, self.owner, limit)

    def draw(self, text: str, *sources: str, kind: str = "fact", **stands: str) -> Kept:
        shown = self.waiting()
        with self.database.session() as session:
            kept = keep(session, self.owner, shown, Found(text, kind, 0.8, sources, **stands))
        drained(self.memory)
        return kept

    def look(self) -> None:
        shown = self.waiting()
        with self.database.session() as session:
            looked_in(session, self.owner, shown)

    def row(self, memory_id: str) -> MemoryRow:
        with self.database.reading() as session:
            return session.get_one(MemoryRow, memory_id)

    def known(self, as_of: float | None = None) -> set[str]:
        hits = self.memory.recall(self.owner, "where does Ada live", 10, as_of=as_of, kinds=["fact"])
        return {hit.text for hit in hits}

    def moved(self) -> tuple[str, str, str, str]:
        """Turns and facts: in Oslo since May, in Rome since July."""
        first, second = self.say("I live in Oslo.", MAY), self.say("I live in Rome now.", JULY)
        oslo = self.draw(OSLO, first).added
        assert oslo is not None
        rome = self.draw(ROME, second, replaces=oslo)
        assert (rome.ended, rome.confirmed) == (oslo, None)
        assert rome.added is not None
        return first, second, oslo, rome.added


@pytest.fixture
def life(any_database: Database, chroma_url: str) -> Life:
    return Life(any_database, chroma_url)


def test_only_the_owners_own_turns_are_looked_in_once_the_newest_first(life: Life) -> None:
    life.say("My boat is green.", MAY)
    life.say("I have a boat.", MAY, own=False)
    life.say("A fact of mine.", MAY, kind="fact")
    late = life.say("My boat is red.", JULY)
    assert [one.text for one in life.waiting()] == ["My boat is green.", "My boat is red."]
    assert [one.id for one in life.waiting(1)] == [late]
    life.look()
    assert life.waiting() == []
    life.memory.set_scope(life.owner, late, "public")
    assert life.waiting() == [], "sharing says nothing new"


def test_a_newer_fact_ends_an_older_one_which_still_held_then(life: Life) -> None:
    *_, oslo, rome = life.moved()
    assert life.known() == {ROME}
    assert life.known(as_of=JUNE) == {OSLO}
    assert life.known(as_of=MAY - 1) == set()
    assert (life.row(oslo).valid_to, life.row(oslo).superseded_by) == (JULY, rome)
    assert (life.row(rome).valid_from, life.row(rome).confidence, life.row(rome).speaker) == (JULY, 0.8, "Ada")


def test_what_was_said_before_is_the_past_though_it_is_found_later(life: Life) -> None:
    rome = life.draw(ROME, life.say("I live in Rome now.", JULY)).added
    oslo = life.draw(OSLO, life.say("I live in Oslo.", MAY), replaces=str(rome))
    assert oslo.ended is None
    assert life.known() == {ROME}
    assert life.known(as_of=JUNE) == {OSLO}


def test_a_fact_given_by_hand_can_end_too(life: Life) -> None:
    by_hand = life.say(OSLO, MAY, kind="fact")
    assert life.draw(ROME, life.say("I live in Rome now.", JULY), replaces=by_hand).ended == by_hand
    assert life.known() == {ROME}


def test_forgetting_what_ended_a_fact_lets_it_hold_again(life: Life) -> None:
    *_, oslo, rome = life.moved()
    life.memory.forget(life.owner, rome)
    assert life.known() == {OSLO}
    assert life.row(oslo).valid_to is None
    assert {one.text for one in life.waiting()} == {"I live in Oslo.", "I live in Rome now."}
    life.look()
    life.memory.forget(life.owner, oslo)
    assert life.waiting() == [], "a fact that was forgotten is not drawn once more"


def test_a_fact_goes_with_its_turn(life: Life) -> None:
    first, second, oslo, rome = life.moved()
    life.look()
    life.memory.forget(life.owner, second)
    assert life.row(rome).deleted_at is not None and life.row(rome).text == ""
    assert life.known() == {OSLO}
    life.memory.correct(life.owner, first, "I live in Bergen.")
    assert life.row(oslo).deleted_at is not None
    assert [one.text for one in life.waiting()] == ["I live in Bergen."], "what says something else is looked in again"
    assert life.memory.verify(life.owner).astray == 0


def test_the_other_turns_of_a_fact_that_goes_are_looked_in_again(life: Life) -> None:
    first, second = life.say("I live in Oslo.", MAY), life.say("Oslo is where I live.", JUNE)
    oslo = life.draw(OSLO, first).added
    assert life.draw("Ada lives in Oslo", second, same_as=str(oslo)).confirmed == oslo
    assert life.row(str(oslo)).sources == [f"memory:{first}", f"memory:{second}"]
    life.look()
    life.memory.forget(life.owner, first)
    assert life.known() == set()
    assert [one.id for one in life.waiting()] == [second]


@pytest.mark.parametrize("meanwhile", ["forgotten", "corrected"])
def test_nothing_is_found_in_a_turn_that_changed_while_the_model_thought(life: Life, meanwhile: str) -> None:
    said = life.say("I live in Oslo.", MAY)
    shown = life.waiting()
    if meanwhile == "forgotten":
        life.memory.forget(life.owner, said)
    else:
        life.memory.correct(life.owner, said, "I live in Rome.")
    with life.database.session() as session:
        assert keep(session, life.owner, shown, Found(OSLO, "fact", 0.8, (said,))) == Kept()
        looked_in(session, life.owner, shown)
    assert life.known() == set()
    assert [one.text for one in life.waiting()] == ([] if meanwhile == "forgotten" else ["I live in Rome."])


def test_the_same_found_twice_is_one_fact(life: Life) -> None:
    said = life.say("I live in Oslo.", MAY)
    assert life.draw(OSLO, said).added is not None
    assert life.draw(OSLO, said) == Kept()
    again = life.say("I live in Oslo again.", JULY)
    assert life.draw(OSLO, again).added is not None, "it may begin to hold twice"


def test_nobody_else_s_memory_is_ended_or_confirmed(life: Life, any_database: Database, chroma_url: str) -> None:
    other = Life(any_database, chroma_url)
    theirs = other.say(OSLO, MAY, kind="fact")
    kept = life.draw(ROME, life.say("I live in Rome now.", JULY), replaces=theirs)
    assert kept.added is not None and kept.ended is None
    assert other.known() == {OSLO}
    assert life.draw(ROME, life.say("Rome is where I live.", JULY), same_as=theirs) == Kept()


def test_as_of_knows_nothing_that_was_said_later(life: Life) -> None:
    life.say("The boat is in the harbour.", MAY)
    life.say("The boat is in the shed.", JULY)
    then = [hit.text for hit in life.memory.recall(life.owner, "where is the boat", 5, as_of=JUNE)]
    assert then == ["The boat is in the harbour."]
    assert len(life.memory.recall(life.owner, "where is the boat", 5)) == 2

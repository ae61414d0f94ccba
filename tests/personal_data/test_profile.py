"""The block that every prompt shows: wishes that hold, the surest first, within its budget."""

from __future__ import annotations

from personal_data.database import Database
from personal_data.profile import Profile, profile_of
from personal_data.records import Memory, new_id
from tests.personal_data.test_memory import person


def wish(database: Database, owner: str, text: str, *, confidence: float | None = None, **how: object) -> None:
    with database.session() as session:
        said = {"kind": "preference", "speaker": "Ada", "content_sha256": new_id("sha"), **how}
        session.add(Memory(user_id=owner, text=text, confidence=confidence, **said))


def block(database: Database, owner: str, *instructions: str, budget: int = 100) -> Profile:
    with database.reading() as session:
        return profile_of(session, owner, instructions, budget)


def test_wishes_that_hold_the_surest_first(any_database: Database) -> None:
    ada, ben = person(any_database, "ada"), person(any_database, "ben")
    wish(any_database, ada, "Be brief.")
    wish(any_database, ada, "No jokes.", confidence=0.6)
    wish(any_database, ada, "Answer in French.", confidence=0.9)
    wish(any_database, ada, "Answer in German.", confidence=0.9, valid_to=1.0)
    wish(any_database, ada, "Gone.", deleted_at=1.0)
    wish(any_database, ada, "Somebody else's wish.", own=False)
    wish(any_database, ada, "A fact.", kind="fact")
    wish(any_database, ben, "Ben's own.")
    found = block(any_database, ada, "Say you.")
    assert found.lines == ("Say you.", "Be brief.", "Answer in French.", "No jokes.")
    assert found.left_out == ()


def test_a_budget_cuts_wishes_and_never_instructions(any_database: Database) -> None:
    ada = person(any_database, "ada")
    for number in range(3):
        wish(any_database, ada, "x" * 30, confidence=0.9 - number / 10, content_sha256=str(number))
    found = block(any_database, ada, "y" * 30, budget=33)
    assert (len(found.preferences), len(found.left_out), found.tokens) == (2, 1, 33)
    none = block(any_database, ada, "y" * 300, budget=33)
    assert (none.lines, len(none.left_out)) == (("y" * 300,), 3)

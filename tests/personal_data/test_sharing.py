"""Who sees what: scopes, grants and sensitive kinds, against a plain restatement of the rule; withdrawal at once."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from personal_data.database import Database
from personal_data.embedding import HashingEmbedder
from personal_data.errors import InvalidInput, NotFound
from personal_data.index import ChromaIndex
from personal_data.memory import Memory, NewMemory
from personal_data.records import now
from personal_data.sensitive import HEALTH, MONEY, PEOPLE
from personal_data.sharing import grant, grants, withdraw
from tests.personal_data.test_memory import AWAY, person

MOOT = "society:moot"


@pytest.fixture
def memory(any_database: Database) -> Memory:
    """On both databases, with the index away."""
    return Memory(any_database, HashingEmbedder(), ChromaIndex(AWAY))


def seen(memory: Memory, owner: str, audience: str | None = MOOT) -> set[str]:
    """The texts that recall can ever return for an audience; all hold the word `boat`."""
    return {hit.text for hit in memory.recall(owner, "boat", 1000, audience=audience)}


SAID = [
    ("My boat is green.", "private"),
    ("My boat is fast.", MOOT),
    ("I was diagnosed with boat rash: an allergy.", MOOT),
    ("My boat cost my whole salary.", MOOT),
    ("The boat race is on Sunday.", "public"),
    ("My doctor owns a boat.", "private"),
]


def tell(memory: Memory, owner: str) -> None:
    memory.remember(owner, [NewMemory(text, "Ada", scope=scope) for text, scope in SAID])


def test_sensitive_kinds_stay_unless_they_are_granted_by_name(memory: Memory, any_database: Database) -> None:
    ada = person(any_database, "ada")
    tell(memory, ada)
    open_ = {"My boat is fast.", "The boat race is on Sunday."}
    assert seen(memory, ada) == open_
    assert seen(memory, ada, "public") == {"The boat race is on Sunday."}
    assert len(seen(memory, ada, None)) == len(SAID)
    with any_database.session() as session:
        health = grant(session, ada, MOOT, kinds=[HEALTH]).id
    assert seen(memory, ada) == open_ | {"I was diagnosed with boat rash: an allergy."}
    with any_database.session() as session:
        words = grant(session, ada, MOOT, about=["green boat", "doctor"]).id
    assert seen(memory, ada) == open_ | {"I was diagnosed with boat rash: an allergy.", "My boat is green."}
    with any_database.session() as session:
        grant(session, ada, MOOT, about=["doctor"], kinds=[HEALTH])
    assert "My doctor owns a boat." in seen(memory, ada)
    assert seen(memory, ada, "society:other") == {"The boat race is on Sunday."}
    with any_database.session() as session:
        withdraw(session, ada, words)
        withdraw(session, ada, health)
    assert seen(memory, ada) == open_ | {"My doctor owns a boat."}


def test_what_its_owner_shares_by_hand_is_named(memory: Memory, any_database: Database) -> None:
    ada = person(any_database, "ada")
    [kept] = memory.remember(ada, [NewMemory("My boat debt is nine thousand.", "Ada", scope=MOOT)])
    assert seen(memory, ada) == set()
    memory.set_scope(ada, kept, MOOT)
    assert seen(memory, ada) == {"My boat debt is nine thousand."}
    memory.remember(ada, [NewMemory("My boat loan is small.", "Ada", scope=MOOT, named=True)])
    assert "My boat loan is small." in seen(memory, ada)
    memory.remember(ada, [NewMemory("My boat loan is small.", "Ada", scope="public")])
    assert seen(memory, ada, "public") == set()


def test_naming_counts_within_the_scope_and_is_taken_back_with_it(memory: Memory, any_database: Database) -> None:
    ada = person(any_database, "ada")
    [kept] = memory.remember(ada, [NewMemory("I have boat asthma.", "Ada", scope="society:club", named=True)])
    with any_database.session() as session:
        grant(session, ada, MOOT, about=["boat"])
    assert seen(memory, ada, "society:club") == {"I have boat asthma."}
    assert seen(memory, ada) == set(), "the grant names no kind"
    memory.set_scope(ada, kept, "private")
    assert seen(memory, ada) == seen(memory, ada, "society:club") == set()
    with pytest.raises(InvalidInput, match="audience"):
        memory.recall(ada, "boat", 5, audience="private")


def test_what_others_said_needs_a_grant_by_name(memory: Memory, any_database: Database) -> None:
    ada = person(any_database, "ada")
    memory.remember(ada, [NewMemory("The boat is mine.", "Ben", scope=MOOT, own=False)])
    assert seen(memory, ada) == set()
    with any_database.session() as session:
        grant(session, ada, MOOT, kinds=[PEOPLE])
    assert seen(memory, ada) == {"The boat is mine."}


def test_a_grant_ends_at_its_time(memory: Memory, any_database: Database) -> None:
    ada = person(any_database, "ada")
    tell(memory, ada)
    with any_database.session() as session:
        grant(session, ada, MOOT, about=["green"], until=now() + 3600)
        grant(session, ada, MOOT, kinds=[MONEY], until=now() - 1)
    assert "My boat is green." in seen(memory, ada)
    assert "My boat cost my whole salary." not in seen(memory, ada)


def test_grants_are_their_owners_and_say_something(any_database: Database) -> None:
    ada, ben = person(any_database, "ada"), person(any_database, "ben")
    with any_database.session() as session:
        made = grant(session, ada, MOOT, about=["boats"])
        with pytest.raises(NotFound):
            withdraw(session, ben, made.id)
        assert grants(session, ben) == [] and [one.id for one in grants(session, ada)] == [made.id]
        for audience, about, kinds, says in (
            ("private", ["x"], [], "to a society"),
            ("everybody", ["x"], [], "scope"),
            (MOOT, ["the"], [], "says nothing"),
            (MOOT, [], ["gossip"], "no sensitive kind"),
            (MOOT, [], [], "what the grant is about"),
        ):
            with pytest.raises(InvalidInput, match=says):
                grant(session, ada, audience, about=about, kinds=kinds)


TEXTS = ("my boat green", "my boat salary", "my boat allergy", "my boat salary allergy", "my boat green allergy")
KINDS = {"salary": MONEY, "allergy": HEALTH}
MEMORIES = st.lists(
    st.tuples(st.sampled_from(TEXTS), st.sampled_from(["private", MOOT, "society:other", "public"]), st.booleans()),
    max_size=8,
)
GRANTS = st.lists(
    st.tuples(
        st.sampled_from([MOOT, "society:other", "public"]),
        st.lists(st.sampled_from(["green", "salary", "boat allergy"]), max_size=2),
        st.lists(st.sampled_from([MONEY, HEALTH]), max_size=2),
        st.sampled_from(["live", "ended", "withdrawn"]),
    ),
    max_size=4,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MEMORIES, GRANTS, st.sampled_from([MOOT, "public"]))
def test_recall_and_preview_show_what_the_rule_allows(
    database: Database,
    memories: list[tuple[str, str, bool]],
    granted: list[tuple[str, list[str], list[str], str]],
    audience: str,
) -> None:
    memory = Memory(database, HashingEmbedder(), ChromaIndex(AWAY))
    owner = person(database, "ada")
    told = [f"{text} {number}." for number, (text, _, _) in enumerate(memories)]
    memory.remember(
        owner,
        [
            NewMemory(text, "Ada", scope=scope, named=named)
            for text, (_, scope, named) in zip(told, memories, strict=True)
        ],
    )
    with database.session() as session:
        for to, about, kinds, state in granted:
            if about or kinds:
                made = grant(
                    session, owner, to, about=about, kinds=kinds, until=now() - 1 if state == "ended" else None
                )
                if state == "withdrawn":
                    withdraw(session, owner, made.id)

    def allowed(text: str, scope: str, named: bool) -> bool:
        kinds = {kind for word, kind in KINDS.items() if word in text}
        live = [one for one in granted if one[0] in (audience, "public") and one[3] == "live"]
        general = {kind for _, about, named_kinds, _ in live if not about for kind in named_kinds}
        if scope in (audience, "public") and (named or kinds <= general):
            return True
        return any(
            kinds <= set(named_kinds) and any(all(word in text for word in phrase.split()) for phrase in about)
            for _, about, named_kinds, _ in live
        )

    expected = {text for text, (_, scope, named) in zip(told, memories, strict=True) if allowed(text, scope, named)}
    assert seen(memory, owner, audience) == expected
    shown = memory.shown_to(owner, audience, limit=500)
    assert {row.text for row in shown.page} == expected
    assert shown.count == len(expected)
    assert sum(shown.hidden.values()) == len(told) - len(expected)


def test_the_preview_says_why_the_rest_is_hidden_and_goes_page_by_page(memory: Memory, any_database: Database) -> None:
    ada = person(any_database, "ada")
    tell(memory, ada)
    first = memory.shown_to(ada, MOOT, limit=1)
    second = memory.shown_to(ada, MOOT, limit=1, before=first.page[-1].id)
    assert [row.text for row in (*first.page, *second.page)] == ["The boat race is on Sunday.", "My boat is fast."]
    assert first.hidden == {"private": 2, "sensitive: health": 1, "sensitive: money": 1}

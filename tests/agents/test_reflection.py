"""Reflection on a model that answers by rule, by script, or with whatever it likes: what gets in, and what does not."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.ability import TASKS, able_to_reflect
from agents.messages import Message
from agents.reflection import Observed, Reflection, Reflector
from personal_data.database import Database
from personal_data.embedding import HashingEmbedder
from personal_data.errors import BackendUnavailable, RequestRefused
from personal_data.facts import Found, Seen
from personal_data.index import ChromaIndex
from personal_data.memory import Memory, NewMemory
from personal_data.records import Model
from tests import reflecting
from tests.personal_data.test_memory import person

MAY, JULY = 1_684_000_000.0, 1_689_300_000.0
TURNS = [Seen("a", "My sister Nora moved to Ghent.", MAY), Seen("b", "What a day!", MAY)]
GOOD = {"kind": "fact", "text": "Ada's sister Nora moved to Ghent.", "lines": [1], "confidence": 0.9}


class Asked:
    """A model that gives these answers in order; what it was asked stays in `prompts`."""

    def __init__(self, *answers: str | Exception) -> None:
        self._answers = list(answers)
        self.prompts: list[str] = []

    async def __call__(self, message: Message) -> str:
        self.prompts.append(message.content)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def observed(*answers: str | Exception, turns: list[Seen] = TURNS) -> Observed:
    return asyncio.run(Reflector(Asked(*answers), "Ada").observe(turns))


def reconciled(known: list[tuple[str, str]], *answers: str | Exception) -> Found | None:
    return asyncio.run(
        Reflector(Asked(*answers), "Ada").reconcile(Found("Ada lives in Rome.", "fact", 1.0, ("a",)), known)
    )


def test_a_finding_names_its_turns() -> None:
    found = observed(f"Of course:\n```json\n{json.dumps([GOOD])}\n```")
    assert found == Observed((Found("Ada's sister Nora moved to Ghent.", "fact", 0.9, ("a",)),), Counter())


def test_the_model_is_shown_the_turns_as_quoted_lines_of_their_day() -> None:
    model = Asked("[]")
    asyncio.run(Reflector(model, "Ada").observe([Seen("a", "My boat\n1. is green.", MAY)]))
    assert model.prompts[0].endswith("\n1. (13 May 2023) My boat 1. is green.")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lines": [3]}, "malformed"),
        ({"lines": [0]}, "malformed"),
        ({"lines": []}, "malformed"),
        ({"lines": [True]}, "malformed"),
        ({"lines": "1"}, "malformed"),
        ({"kind": "secret"}, "malformed"),
        ({"text": " "}, "malformed"),
        ({"text": None}, "malformed"),
        ({"text": "x" * 301}, "malformed"),
        ({"confidence": 1.5}, "malformed"),
        ({"confidence": None}, "malformed"),
        ({"confidence": True}, "malformed"),
        ({"confidence": 0.2}, "unsure"),
        ({"lines": [2]}, "not in the owner's words"),
        ({"text": "Ada's sister Nora moved to Paris."}, "not in the owner's words"),
        ({"text": "Ada's sister Nora moved to Ghent in 1999."}, "not in the owner's words"),
        ({"text": "Nora is a rich doctor who hates Ghent."}, "not in the owner's words"),
    ],
)
def test_what_a_model_makes_up_is_kept_out(change: dict[str, Any], reason: str) -> None:
    assert observed(json.dumps([GOOD | change])) == Observed((), Counter({reason: 1}))


@pytest.mark.parametrize(
    "nonsense", ["", "I cannot do that.", "[", "]nothing[", "[" * 5000 + "]" * 5000, '[{"kind": }]']
)
def test_an_answer_that_cannot_be_read_is_asked_for_once_more(nonsense: str) -> None:
    assert observed(nonsense, json.dumps([GOOD])).found
    assert observed(nonsense, nonsense) == Observed((), Counter({"unreadable": 1}))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["kind", "text", "lines", "confidence"]), inner)
        ),
    )
)
def test_no_answer_breaks_it(told: Any) -> None:
    answer = json.dumps([told])
    assert observed(answer, answer).found == ()
    assert reconciled([("m", "Ada has a dog.")], answer, answer) is not None


def test_a_page_that_is_refused_is_asked_in_halves() -> None:
    refusal = RequestRefused("too long")
    found = observed(refusal, json.dumps([GOOD]), "[]")
    assert [one.sources for one in found.found] == [("a",)]
    assert observed(refusal, json.dumps([GOOD]), refusal).kept_out == Counter({"refused by the model": 1})


def test_a_model_that_is_away_is_no_answer() -> None:
    with pytest.raises(BackendUnavailable):
        observed(BackendUnavailable("gone"))


def test_how_a_finding_stands_is_read_from_the_answer() -> None:
    known = [("m", "Ada lives in Oslo."), ("n", "Ada has a dog.")]
    for decision, of, expected in (("replaces", 1, (None, "m")), ("same", 2, ("n", None)), ("new", None, (None, None))):
        settled = reconciled(known, json.dumps({"decision": decision, "of": of}))
        assert settled is not None and (settled.same_as, settled.replaces) == expected
    assert reconciled(known, '{"decision": "drop", "of": null}') is None
    assert reconciled([]) == Found("Ada lives in Rome.", "fact", 1.0, ("a",)), (
        "nothing to compare with, nobody is asked"
    )
    same = reconciled([("m", "ada lives  in Rome")])
    assert same is not None and same.same_as == "m", "the same words need no model"


@pytest.mark.parametrize(
    "told", ["what?", '{"decision": "replaces", "of": 9}', '{"decision": "same"}', '{"decision": "kill"}']
)
def test_nothing_is_ended_by_a_guess(told: str) -> None:
    settled = reconciled([("m", "Ada lives in Oslo.")], told, told)
    assert settled is not None and (settled.same_as, settled.replaces) == (None, None)


async def by_rule(message: Message) -> str:
    return reflecting.answer(message.content)


async def echo(message: Message) -> str:
    return message.content


def known_model(database: Database, name: str, lineage: str = "base") -> str:
    with database.session() as session:
        session.add(Model(name=name, kind="endpoint", base=None, lineage=lineage))
    return name


def test_a_model_is_tried_once_and_again_when_another_base_stands_behind_it(database: Database) -> None:
    name = known_model(database, "able")
    assert asyncio.run(able_to_reflect(database, name, by_rule)).able

    async def silent(message: Message) -> str:
        raise AssertionError("it was tried already")

    ability = asyncio.run(able_to_reflect(database, name, silent))
    assert (ability.passed, ability.of, ability.able) == (len(TASKS), len(TASKS), True)
    with database.session() as session:
        session.get_one(Model, name).lineage = "another base"
    assert not asyncio.run(able_to_reflect(database, name, echo)).able
    assert not asyncio.run(able_to_reflect(database, name, silent)).able, "not before a day has passed"


@pytest.mark.parametrize(
    "answer", ["[]", '{"decision": "new", "of": null}', json.dumps([GOOD]), "", '{"decision": "replaces", "of": 1}']
)
def test_a_model_that_always_says_the_same_is_not_able(database: Database, answer: str) -> None:
    async def parrot(message: Message) -> str:
        return answer

    assert not asyncio.run(able_to_reflect(database, known_model(database, "parrot"), parrot)).able


class Diary:
    """What somebody said over time, and reflections on it."""

    def __init__(self, database: Database, chroma_url: str) -> None:
        self.database = database
        self.memory = Memory(database, HashingEmbedder(), ChromaIndex(chroma_url))
        self.owner = person(database, "ada")
        self.prompts: list[str] = []
        self.fenced = 0

    def say(self, *texts: str, at: float = MAY, own: bool = True, kind: str = "turn") -> list[str]:
        said = [
            NewMemory(text, "Ada" if own else "Ben", kind=kind, event_at=at + n, thread="talk", own=own)
            for n, text in enumerate(texts)
        ]
        return self.memory.remember(self.owner, said)

    async def ask(self, message: Message) -> str:
        self.prompts.append(message.content)
        return reflecting.answer(message.content)

    def reflect(self, ask: Callable[[Message], Any] | None = None) -> dict[str, Any]:
        def fence(_session: object) -> None:
            self.fenced += 1

        job = Reflection(self.database, self.memory, self.owner, ask or self.ask, fence)
        return asyncio.run(job.run(lambda *_: None))

    def facts(self) -> dict[str, bool]:
        """Text → whether it still holds."""
        rows = [row for kind in ("fact", "preference") for row in self.memory.entries(self.owner, kind=kind)]
        return {row.text: row.valid_to is None for row in rows}


@pytest.fixture
def diary(any_database: Database, chroma_url: str) -> Diary:
    return Diary(any_database, chroma_url)


def test_a_life_is_drawn_with_its_changes(diary: Diary) -> None:
    diary.say("I live in Oslo.", "What a day!", "Please always answer in French.", "My dog Rex is old.")
    first = diary.reflect()
    assert (first["turns"], len(first["added"]), first["ended"], first["kept_out"]) == (4, 3, [], {})
    [oslo] = [row.id for row in diary.memory.entries(diary.owner, holds="Oslo", kind="fact")]
    diary.say("My dog Rex is old.", "I live in Rome now.", at=JULY)
    second = diary.reflect()
    assert (second["turns"], len(second["added"]), len(second["confirmed"]), second["ended"]) == (2, 1, 1, [oslo])
    assert diary.facts() == {
        "Ada lives in Oslo.": False,
        "Ada lives in Rome now.": True,
        "Ada's dog Rex is old.": True,
        "Ada wishes one to answer in French.": True,
    }
    assert diary.reflect()["turns"] == 0
    assert diary.fenced > 0, "every page is written by the holder of the lease"


def test_neither_others_words_nor_what_was_drawn_is_drawn_from(diary: Diary) -> None:
    diary.say("My boat is green.")
    diary.say("My canary is yellow.", own=False)
    diary.say("My canary is a document.", kind="document")
    diary.reflect()
    diary.say("My boat is in the harbour.", at=JULY)
    diary.reflect()
    first_stage = [prompt for prompt in diary.prompts if prompt.startswith("The numbered lines")]
    assert len(first_stage) == 2
    assert not any("canary" in prompt or "Ada's boat" in prompt for prompt in first_stage)


def test_many_turns_go_in_pages_that_stand_when_a_later_one_fails(diary: Diary) -> None:
    diary.say(*(f"My box number {number} is full." for number in range(30)))
    pages = 0

    async def breaks(message: Message) -> str:
        nonlocal pages
        pages += message.content.startswith("The numbered lines")
        if pages == 3:
            raise BackendUnavailable("the server fell over")
        return reflecting.answer(message.content)

    with pytest.raises(BackendUnavailable):
        diary.reflect(breaks)
    assert len(diary.facts()) == 24
    assert diary.reflect()["turns"] == 6
    assert len(diary.facts()) == 30


def test_long_turns_make_short_pages(diary: Diary) -> None:
    diary.say(*(f"My letter {number}: {'so it is and ' * 300}that is all." for number in range(4)))
    diary.reflect()
    assert max(map(len, diary.prompts)) < 9_000

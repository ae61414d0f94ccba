"""Questions about an owner's own words: what may be asked about, what is fair, where it lies, what is learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import update

from agents import prompts
from agents.backend import SampledTokens
from agents.engine.base import load_base
from agents.engine.lora import AdapterStack
from agents.engine.policy import EnginePolicy
from agents.messages import Message, SamplingParams
from personal_data.database import Database
from personal_data.embedding import HashingEmbedder
from personal_data.index import ChromaIndex
from personal_data.memory import Memory, NewMemory
from personal_data.records import Memory as MemoryRow
from personal_data.records import User
from personal_data.settings import BUILTIN_BASE
from training.nursery.reading import read_fact
from training.rewards.truth import Truth
from training.rollouts import sample_groups
from training.suite import measure_tasks
from training.tasks.interactions import is_for_gate
from training.tasks.memories import LEARNABLE, MEMORIES, MemoryTasks, OwnText, OwnTexts, memory_tasks, read_own_texts

ADA, BEN = "usr_ada", "usr_ben"
FROZEN, SOLVER = 1, 2
PARAMS = SamplingParams(max_tokens=16, temperature=1.0, seed=5)
WRITTEN = {
    "Nora": ("Where did my sister Nora move to?", "Ghent"),
    "canoe": ("What did I buy from Ida?", "a green canoe"),
    "choir": ("On which day does the choir meet?", "Thursday"),
    "pear": ("What did we plant behind the shed?", "pear trees"),
    "bike": ("Where does my bike stand?", "cellar"),
    "Otto": ("What did grandfather Otto repair?", "clocks"),
}
"""What a good challenger asks in its trial."""
EXAMPLES = Path(__file__).parents[2] / "examples" / "people"


@dataclass
class Scripted:
    """A `PolicyBackend` that asks well, reads well, and without a text knows what it is told to know."""

    able: bool = True
    known: dict[str, int] = field(default_factory=dict)
    """How many of eight answers to a question are right; 4 where nothing is said."""
    unreadable: frozenset[str] = frozenset()
    """Questions that it cannot answer with their text in view."""
    written: dict[str, tuple[str, str]] = field(default_factory=lambda: dict(WRITTEN))
    asked: list[tuple[int, tuple[Message, ...]]] = field(default_factory=list)

    def sample(
        self, prompts: Sequence[Sequence[Message]], n: int, params: SamplingParams, *, slot: int
    ) -> list[list[SampledTokens]]:
        self.asked += [(slot, tuple(messages)) for messages in prompts]
        return [[self._said(self._answer(messages, place), params) for place in range(n)] for messages in prompts]

    def score(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], *, slot: int) -> list[list[float]]:
        raise AssertionError("nothing here is scored")

    def _said(self, text: str, params: SamplingParams) -> SampledTokens:
        ids = tuple(range(len(text.split())))
        return SampledTokens((1,), ids, (-1.0,) * len(ids), text, "stop" if len(ids) < params.max_tokens else "length")

    def _answer(self, messages: Sequence[Message], place: int) -> str:
        asked = messages[-1].content
        if "said, quoted: " in asked:
            return self._challenge(asked.partition("said, quoted: ")[2].partition("\n")[0])
        question = asked.removesuffix(f"\n{prompts.AT_ONCE}")
        truth = next((answer for known, answer in self.answers.items() if known == question), "")
        if "Memories:" in messages[0].content:
            return "no idea" if question in self.unreadable else truth
        return truth if place < self.known.get(question, 4) else "no idea"

    def _challenge(self, text: str) -> str:
        if not self.able:
            return "I cannot do that."
        for word, (question, answer) in self.written.items():
            if word in text:
                return f"question: {question}\nanswer: {answer}"
        fact = read_fact(text, "Ada")
        return "" if fact is None else f"question: {fact.questions(by_owner=True)[0]}\nanswer: {fact.value}"

    @property
    def answers(self) -> dict[str, str]:
        """Every question that can be asked, in any wording, with its answer."""
        found = dict(self.written.values())
        for text in TEXTS:
            if (fact := read_fact(text, "Ada")) is not None:
                found |= dict.fromkeys(fact.questions(by_owner=True), fact.value)
        return found


COLOURS = ("red", "blue", "green", "yellow", "black", "white", "brown", "grey")
HELD = ("bike", "car", "boat", "coat", "tent", "desk", "lamp", "kettle", "ladder", "scarf", "hat", "clock")
TEXTS = [f"My {thing} is {COLOURS[place % len(COLOURS)]}." for place, thing in enumerate(HELD)]
TEXTS += [f"My {thing}'s case is in the hall {place}." for place, thing in enumerate(HELD)]
TEXTS += ["My cat is called Miro.", "My boat is called Salka.", "I was born in Quito.", "My dog is called Rex."]


def own(*texts: str, conversations: Sequence[str] | None = None) -> OwnTexts:
    places = conversations or [f"talk {place}" for place in range(len(texts))]
    named = enumerate(zip(texts, places, strict=True))
    return OwnTexts("Ada", tuple(OwnText(f"mem_{place}", text, talk) for place, (text, talk) in named), {})


def tasks_of(found: OwnTexts, policy: Scripted | EnginePolicy) -> MemoryTasks:
    return memory_tasks(found, policy, PARAMS, frozen=FROZEN, solver=SOLVER)


def side(wanted: bool, count: int = 1) -> list[str]:
    """Conversations of one side."""
    return [talk for talk in (f"talk {number}" for number in range(1000)) if is_for_gate(talk) is wanted][:count]


@pytest.fixture
def memory(any_database: Database) -> Memory:
    with any_database.session() as session:
        session.add_all([User(id=ADA, handle="ada", name="Ada"), User(id=BEN, handle="ben", name="Ben")])
    return Memory(any_database, HashingEmbedder(), ChromaIndex("http://127.0.0.1:1"))


def read(database: Database) -> OwnTexts:
    with database.reading() as session:
        return read_own_texts(session, ADA)


def change(database: Database, memory_id: str, **values: object) -> None:
    with database.session() as session:
        session.execute(update(MemoryRow).where(MemoryRow.id == memory_id).values(**values))


def test_only_the_owners_own_words_that_hold_are_asked_about(any_database: Database, memory: Memory) -> None:
    kept = memory.remember(ADA, [NewMemory("My cat is called Miro.", "Ada", kind="turn", thread="t")])
    gone, ended, drawn, *_ = memory.remember(
        ADA,
        [
            NewMemory("My dog is called Gone.", "Ada"),
            NewMemory("My boat is called Ended.", "Ada"),
            NewMemory("Ada's car is called Drawn.", "Ada"),
            NewMemory("My bird is called Theirs.", "Ben", kind="turn", own=False),
            NewMemory("Answer me in French.", "Ada", kind="preference"),
            NewMemory("I am allergic to Nuts.", "Ada"),
            NewMemory("My doctor prescribed me Pills.", "Ada", scope="society:moot", named=True),
            NewMemory("My password is Hunter2hunter2.", "Ada"),
            NewMemory("long " * 300, "Ada", kind="document"),
        ],
    )
    memory.remember(BEN, [NewMemory("My fish is called Bens.", "Ben", kind="turn")])
    memory.forget(ADA, gone)
    change(any_database, ended, valid_to=1.0)
    change(any_database, drawn, confidence=0.9)
    found = read(any_database)
    assert (found.owner, [one.text for one in found.texts]) == ("Ada", ["My cat is called Miro."])
    assert found.texts[0].id == kept[0]
    assert found.left_out == {"sensitive": 2, "secret": 1, "not true any more": 1, "text too long": 1}


def test_what_is_sensitive_by_now_is_left_out_whatever_its_row_says(any_database: Database, memory: Memory) -> None:
    """Rows may be older than the words by which kinds are told."""
    for stored in (None, []):
        (stale,) = memory.remember(ADA, [NewMemory(f"I am allergic to nuts and {stored}.", "Ada")])
        change(any_database, stale, sensitive=stored)
    (marked,) = memory.remember(ADA, [NewMemory("My cat is called Miro.", "Ada")])
    change(any_database, marked, sensitive=["health"])
    assert read(any_database).left_out == {"sensitive": 3}


def test_a_corrected_memory_is_asked_about_as_it_is_now(any_database: Database, memory: Memory) -> None:
    (known,) = memory.remember(ADA, [NewMemory("My cat is called Miro.", "Ada")])
    before = read(any_database).texts
    memory.correct(ADA, known, "My cat is called Mira.")
    after = read(any_database).texts
    assert [one.text for one in after] == ["My cat is called Mira."]
    assert after[0].conversation == before[0].conversation, "and on the side where it was"


def test_texts_of_one_conversation_share_it_and_come_in_order(any_database: Database, memory: Memory) -> None:
    said = [("My cat is called Miro.", "cnv_1"), ("My boat is red.", None), ("My dog is called Rex.", "cnv_1")]
    memory.remember(ADA, [NewMemory(text, "Ada", kind="turn", thread=thread) for text, thread in said])
    found = read(any_database).texts
    assert [one.text for one in found] == [text for text, _ in said]
    assert found[0].conversation == found[2].conversation == "cnv_1" != found[1].conversation
    with any_database.reading() as session:
        assert [one.text for one in read_own_texts(session, ADA, latest=2).texts] == [said[1][0], said[2][0]]


def test_the_solver_never_sees_what_tells_the_answer() -> None:
    policy = Scripted()
    found = tasks_of(own(*TEXTS), policy)
    assert len(found.train) + len(found.gate) >= 15
    for task in (*found.train, *found.gate):
        assert task.item is not None and task.item.family == MEMORIES.name
        assert task.reference == task.item.answer
        shown = " ".join(message.content for message in task.messages)
        assert task.item.answer not in shown and not any(text in shown for text in TEXTS)
        assert task.messages == (prompts.system("Ada"), prompts.at_once(task.question))
    sampled = [messages for slot, messages in policy.asked if slot == SOLVER]
    assert sampled and all("Memories:" not in message.content for messages in sampled for message in messages)
    assert {slot for slot, _ in policy.asked} == {FROZEN, SOLVER}


def test_texts_are_divided_by_conversation() -> None:
    talks = [f"talk {place % 9}" for place in range(len(TEXTS))]
    found = tasks_of(own(*TEXTS, conversations=talks), Scripted())
    said_in = dict(zip([*TEXTS], talks, strict=True))
    facts = {text: read_fact(text, "Ada") for text in TEXTS}
    for wanted, tasks in ((False, found.train), (True, found.gate)):
        assert tasks
        for task in tasks:
            text = next(text for text, fact in facts.items() if fact and task.question in fact.questions(by_owner=True))
            assert is_for_gate(said_in[text]) is wanted
    again = tasks_of(own(*TEXTS, conversations=talks), Scripted())
    assert (again.train, again.gate) == (found.train, found.gate)


@pytest.mark.parametrize("first", [True, False])
def test_what_comes_to_the_same_lies_on_the_side_where_it_was_said_first(first: bool) -> None:
    talks = [*side(first), *side(not first)]
    texts = ["My cat is called Miro.", "My Norwegian cat is called Miro."]
    found = tasks_of(own(*texts, conversations=talks), Scripted())
    assert (len(found.gate), len(found.train)) == (first, not first)
    assert found.rejected == {"asked already": 1}


def test_a_question_with_two_answers_is_not_asked() -> None:
    """Which of them is out of date nobody knows; a third one says nothing new."""
    found = tasks_of(own("My cat is called Miro.", "My cat is called Rex.", "My cat is called Tom."), Scripted())
    assert found.train == found.gate == ()
    assert found.rejected == {"answered in two ways": 3}


@pytest.mark.parametrize("right", range(9))
def test_what_is_hardly_known_or_known_already_is_not_practised(right: int) -> None:
    """Of eight answers two to six must be right: the pass rates within .2 and .8."""
    question = "Where was I born?"
    texts = own("I was born in Quito.", conversations=side(False))
    found = tasks_of(texts, Scripted(known={question: right}))
    kept = LEARNABLE[0] <= right / 8 <= LEARNABLE[1]
    assert kept is (2 <= right <= 6)
    assert [task.question for task in found.train] == [question] * kept
    assert found.rates == (right / 8,) * kept
    assert found.rejected == ({} if kept else {"too hard" if right < 2 else "known already": 1})
    assert found.memory_ids == ("mem_0",) * kept


@pytest.mark.parametrize("right", [0, 8])
def test_the_gate_asks_what_is_hard_or_known_all_the_same(right: int) -> None:
    texts = own("I was born in Quito.", conversations=side(True))
    found = tasks_of(texts, Scripted(known={"Where was I born?": right}))
    assert ([task.question for task in found.gate], found.rejected) == (["Where was I born?"], {})
    assert found.memory_ids == ("mem_0",)


def test_what_cannot_be_answered_from_its_text_is_not_asked() -> None:
    policy = Scripted(unreadable=frozenset({"Where was I born?"}))
    found = tasks_of(own("I was born in Quito.", "My boat is called Salka."), policy)
    assert [task.question for task in (*found.train, *found.gate)] == ["What is my boat called?"]
    assert found.rejected == {"not answered with the text in view": 1}


def test_a_challengers_tricks_are_counted_and_kept_out() -> None:
    tricks = {
        "alpha": ("Which word am I thinking of?", "banana"),
        "beta": ("Is my beta called Rex?", "Rex"),
        "gamma": ("My gamma is", "called Rex"),
        "delta": ("What is my delta called?", "is my is"),
    }
    texts = [f"My {word} is called Rex." for word in tricks]
    found = tasks_of(own(*texts, "So it goes."), Scripted(written=WRITTEN | tricks))
    assert found.train == found.gate == ()
    assert found.rejected == {
        "answer not in the text": 1,
        "answer in the question": 1,
        "copy of the text": 1,
        "answer says nothing or too much": 1,
        "no question": 1,
    }


def test_a_model_that_passes_its_trial_asks_itself() -> None:
    written = WRITTEN | {"harbour": ("Whom did I meet at the harbour?", "Old Piet")}
    text = "At the harbour I met Old Piet, who mends nets."
    found = tasks_of(own(text, conversations=side(True)), Scripted(written=written))
    assert found.trial is not None and (found.trial.passed, found.trial.of) == (6, 6)
    assert [task.question for task in found.gate] == ["Whom did I meet at the harbour?"]
    assert not any("relations" in lacking for lacking in found.missing)


def test_a_model_that_does_not_is_not_asked_and_what_was_done_is_said() -> None:
    found = tasks_of(own("At the harbour I met Old Piet.", *TEXTS), Scripted(able=False))
    assert found.trial is not None and not found.trial.able
    assert len(found.train) + len(found.gate) >= 15, "templates know these"
    assert found.missing[0].startswith("the model asked fairly about 0 of 6 texts in its trial: questions were made of")
    assert found.missing[0].endswith(f"{len(TEXTS) + 1 - found.rejected['no question']} of {len(TEXTS) + 1} texts tell")


@pytest.mark.parametrize(
    ("faults", "able"),
    [
        ({}, True),
        ({"bike": ("Who is king?", "Tom")}, True),
        ({"bike": ("Who is king?", "Tom"), "choir": ("Who meets on Thursday?", "The choir")}, True),
        ({"bike": ("Who is king?", "Tom"), "choir": ("Which choir?", "choir")}, False),
        ({"Otto": ("What did Otto repair in Paris?", "Paris"), "Nora": ("Who?", "Anna")}, False),
    ],
)
def test_a_trial_forgives_one_fault(faults: dict[str, tuple[str, str]], able: bool) -> None:
    """Among them the one of following an order that stands in the text."""
    found = tasks_of(own("I was born in Quito."), Scripted(written=WRITTEN | faults))
    assert found.trial is not None and found.trial.able is able


def test_too_little_is_a_result() -> None:
    nothing = tasks_of(own(), Scripted())
    assert (nothing.train, nothing.gate, nothing.trial, nothing.enough) == ((), (), None, False)
    assert nothing.missing == ("there is nothing of Ada's own to ask about",)
    hard = tasks_of(own("I was born in Quito.", conversations=side(False)), Scripted(known={"Where was I born?": 0}))
    assert hard.missing == (
        "0 questions to train on and 0 for the gate; 20 of each are needed",
        "questions that are hardly ever answered: 1; what is not known at all cannot be practised, so train on the "
        "texts themselves first",
    )


def test_enough_of_both_is_enough() -> None:
    names = [
        f"{first}{second}" for first in "BDFGK" for second in ("ana", "ena", "ino", "ola", "ura", "alo", "elo", "oli")
    ]
    texts = [f"My {name.lower()}n is called {name}." for name in names]
    talks = [*side(False, 20), *side(True, 20)]
    written = {text: (f"What is my {text.split()[1]} called?", text.split()[-1].rstrip(".")) for text in texts}
    found = tasks_of(own(*texts, conversations=talks), Scripted(written=WRITTEN | written))
    assert (len(found.train), len(found.gate), found.enough, found.missing) == (20, 20, True, ())


def test_its_tasks_are_rewarded_and_marked_as_any_other() -> None:
    policy = Scripted()
    found = tasks_of(own("I was born in Quito.", "My boat is called Salka."), policy)
    tasks = [*found.train, *found.gate]
    rollouts = sample_groups(policy, tasks, 8, PARAMS, slot=SOLVER)
    assert Truth(MEMORIES).score(rollouts).values == [1.0] * 4 + [0.0] * 4 + [1.0] * 4 + [0.0] * 4
    assert measure_tasks(policy, tasks, slot=SOLVER, max_tokens=16).right == (True, True)


def test_listing_everything_is_wrong() -> None:
    found = tasks_of(own("I was born in Quito.", conversations=side(True)), Scripted())
    (task,) = found.gate
    assert task.item is not None
    assert MEMORIES.is_right(task.item, " quito. ") is True
    assert MEMORIES.is_right(task.item, "Quito Oslo Paris Lima") is False
    assert MEMORIES.is_right(task.item, " ") is MEMORIES.is_right(task.item, None) is None


def test_the_built_in_model_asks_by_templates_and_knows_nothing_by_heart(
    any_database: Database, memory: Memory
) -> None:
    """Real rows, the real model: it cannot write questions, reads the texts of the example, and has not learnt them."""
    notes = (EXAMPLES / "ada" / "private.md").read_text().splitlines()
    said = [line.removeprefix("- ") for line in notes if line.startswith("- ")]
    memory.remember(ADA, [NewMemory(text, "Ada", kind="document") for text in said])
    base = load_base(BUILTIN_BASE)
    found = tasks_of(read(any_database), EnginePolicy(base, AdapterStack(base, slots=3, rank=2)))
    assert found.trial is not None and not found.trial.able
    assert len(found.train) <= 2 and not found.enough
    assert len(found.gate) >= 3
    assert found.rejected["sensitive"] >= 5 and found.rejected["too hard"] >= 10
    assert found.rejected.get("not answered with the text in view", 0) <= 6
    assert [lacking.split(";")[0].partition(" in its")[0] for lacking in found.missing] == [
        f"the model asked fairly about {found.trial.passed} of 6 texts",
        f"{len(found.train)} questions to train on and {len(found.gate)} for the gate",
        f"questions that are hardly ever answered: {found.rejected['too hard']}",
    ]
    assert found.missing[2].endswith("train on the texts themselves first")

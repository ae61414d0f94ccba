"""What becomes of feedback: no talk and no question on both sides of the split, nothing twice, nothing forgotten."""

from __future__ import annotations

import pytest

from agents.messages import Message
from agents.prompts import MemoryLine, system
from personal_data.database import Database
from personal_data.embedding import HashingEmbedder
from personal_data.index import ChromaIndex
from personal_data.memory import Memory, NewMemory
from personal_data.records import Agent, ChatMessage, Conversation, Feedback, Model, User
from training.tasks.interactions import Preference, Preferences, read_preferences, split

ADA = "usr_ada"


def said(
    *turns: str,
    chosen: str | None = "yes :)",
    rejected: str | None = "no",
    memory: str | None = None,
    talk: str | None = None,
) -> Preference:
    """The owner's turns, with one answer between two of them."""
    lines = [] if memory is None else [MemoryLine("Ada", memory)]
    messages = [system("Ada", lines)]
    for place, turn in enumerate(turns):
        messages += [Message("assistant", "go on")] * (place > 0) + [Message("user", turn)]
    return Preference(tuple(messages), chosen, rejected, talk)


def questions(pairs: tuple[Preference, ...]) -> set[str]:
    return {pair.question for pair in pairs}


def test_split_is_stable_and_holds_one_conversation_in_four() -> None:
    pairs = [said(f"question {n}") for n in range(400)]
    both = split(pairs)
    assert len(both.train) + len(both.gate) == 400
    assert 60 <= len(both.gate) <= 140
    assert split(pairs[:100]).gate == both.gate[: len(split(pairs[:100]).gate)]
    assert split(pairs).digest == both.digest != split(pairs[1:]).digest


def test_a_question_keeps_its_side_whatever_is_recalled_for_it() -> None:
    pairs = [said(f"question {n}", memory=memory, chosen=str(memory)) for memory in (None, "x", "y") for n in range(60)]
    both = split(pairs)
    assert len(both.train) + len(both.gate) == 180
    assert not questions(both.train) & questions(both.gate)


def test_the_turns_of_one_talk_lie_on_one_side() -> None:
    """With a conversation of their own or, posted without one, by how they begin."""
    for talk in (None, "cnv_{}"):
        turns = [[f"hello {n}", f"second {n}", f"third {n}"] for n in range(60)]
        pairs = [said(*turns[n][:upto], talk=talk and talk.format(n)) for n in range(60) for upto in (1, 2, 3)]
        both = split(pairs)
        assert len(both.train) + len(both.gate) == 180
        begun = [{pair.messages[1].content for pair in side} for side in (both.train, both.gate)]
        assert not begun[0] & begun[1]


def test_talks_that_all_begin_alike_are_divided_all_the_same() -> None:
    both = split([said("Good morning.", f"question {n}", talk=f"cnv_{n}") for n in range(60)])
    assert both.train and both.gate


def test_a_question_that_comes_up_in_another_talk_is_never_on_both_sides() -> None:
    pairs = [said("How are you?", chosen=f"fine {n}", talk=f"cnv_{n}") for n in range(40)]
    both = split(pairs)
    assert not questions(both.train) & questions(both.gate)
    assert both.train[:1] + both.gate[:1] == (pairs[0],), "the first one has decided"


def test_the_same_pair_twice_is_one_pair() -> None:
    both = split([said("Where is it?"), said("where  is it?"), said("Where is it?", chosen="there")])
    assert [pair.chosen for pair in both.train + both.gate] == ["yes :)", "there"]


def test_opposite_preferences_are_both_left_out_and_counted() -> None:
    pairs = [said("a"), said("b"), said("a", chosen="no", rejected="yes :)"), said("a", chosen="no", rejected="maybe")]
    both = split(pairs)
    assert both.contradicting == 2
    assert {(pair.question, pair.chosen, pair.rejected) for pair in both.train + both.gate} == {
        ("b", "yes :)", "no"),
        ("a", "no", "maybe"),
    }


def test_with_other_memories_in_view_an_opposite_is_none() -> None:
    both = split([said("a", memory="x"), said("a", memory="y", chosen="no", rejected="yes :)")])
    assert both.contradicting == 0
    assert len(both.train + both.gate) == 2


def test_a_pair_says_more_than_that_its_answer_was_liked() -> None:
    both = split([said("a", rejected=None), said("a"), said("b", rejected=None)])
    assert {(pair.question, pair.rejected) for pair in both.train + both.gate} == {("a", "no"), ("b", None)}


def test_a_dislike_of_what_a_pair_rejects_says_no_more_than_the_pair() -> None:
    bad = [said(question, chosen=None) for question in ("a", "b", "b")]
    both = split([*bad, said("a"), said("c", chosen="no", rejected=None)])
    assert {(pair.question, pair.chosen, pair.rejected) for pair in both.train + both.gate} == {
        ("a", "yes :)", "no"),
        ("b", None, "no"),
        ("c", "no", None),
    }
    opposed = split([said("d", chosen=None), said("d", chosen="no", rejected=None)])
    assert (opposed.contradicting, opposed.train, opposed.gate) == (2, (), ()), "liked and disliked alike"


@pytest.fixture
def memory(any_database: Database) -> Memory:
    with any_database.session() as session:
        session.add_all([User(id=ADA, handle="ada", name="Ada"), Model(name="m", kind="engine", lineage="l")])
        session.flush()
        session.add(Agent(id="agt_ada", user_id=ADA, handle="ada", model="m"))
    return Memory(any_database, HashingEmbedder(), ChromaIndex("http://127.0.0.1:1"))


def give(database: Database, pair: Preference, *, message_id: str | None = None, rejected: str | None = "no") -> None:
    prompt = [{"role": message.role, "content": message.content} for message in pair.messages]
    with database.session() as session:
        session.add(Feedback(user_id=ADA, message_id=message_id, prompt=prompt, chosen=pair.chosen, rejected=rejected))


def read(database: Database) -> Preferences:
    with database.reading() as session:
        return read_preferences(session, ADA)


def test_feedback_is_read_with_its_conversation(any_database: Database, memory: Memory) -> None:
    with any_database.session() as session:
        session.add(Conversation(id="cnv_1", user_id=ADA, agent_id="agt_ada"))
        session.flush()
        answer = ChatMessage(conversation_id="cnv_1", user_id=ADA, seq=1, role="assistant", content="no")
        session.add(answer)
        session.flush()
        message_id = answer.id
    give(any_database, said("Is it?"), message_id=message_id)
    give(any_database, said("Was it?"))
    give(any_database, said("Will it?"), rejected=None)
    found = read(any_database)
    assert {pair.question: pair.conversation_id for pair in found.train + found.gate} == {
        "is it?": "cnv_1",
        "was it?": None,
    }
    assert (found.unpaired, found.forgotten) == (1, 0)
    with any_database.reading() as session:
        with_liked = read_preferences(session, ADA, unpaired=True)
    assert with_liked.unpaired == 0
    assert questions(with_liked.train + with_liked.gate) == {"is it?", "was it?", "will it?"}
    assert with_liked.digest != found.digest
    assert len(with_liked.made_from["feedback"]) == 3


def test_what_was_forgotten_is_not_trained_on(any_database: Database, memory: Memory) -> None:
    kept, gone = memory.remember(ADA, [NewMemory("My cat\nis  Miro", "Ada"), NewMemory("My cat is ill", "Ada")])
    give(any_database, said("What is my cat called?", memory="My cat\nis  Miro"))
    give(any_database, said("How is my cat?", memory="My cat is ill"))
    give(any_database, said("How are you?"))
    before = read(any_database)
    assert before.forgotten == 0
    memory.forget(ADA, gone)
    after = read(any_database)
    assert questions(after.train + after.gate) == {"what is my cat called?", "how are you?"}
    assert after.forgotten == 1
    assert after.digest != before.digest
    memory.forget(ADA, kept)
    assert questions(read(any_database).train + read(any_database).gate) == {"how are you?"}

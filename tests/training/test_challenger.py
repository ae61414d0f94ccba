"""What makes a question fair, when two are one, and sentences read back into facts."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.prompts import challenge, final_answer, posed_question
from society.canonical import answer_key
from training.nursery.language import Speech
from training.nursery.reading import read_fact
from training.tasks.challenger import Challenge, Templates, alike, fault

TEXT = "Last May we sailed from Ghent to Porto with Aunt Ida, for 450 euros."


@pytest.mark.parametrize(
    ("question", "answer", "found"),
    [
        ("Where did we sail last May?", "Porto", None),
        ("Where did we sail last May?", "  the porto. ", None),
        ("What did sailing cost?", "450 euros", None),
        ("Where did we sail?", "Paris", "answer not in the text"),
        ("Where did we sail?", "Port", "answer not in the text"),
        ("Did we sail to Porto?", "Porto", "answer in the question"),
        ("Did we sail to PORTO or back?", "porto", "answer in the question"),
        ("we sailed from Ghent", "Porto", "copy of the text"),
        ("Who sailed?", "we", "answer says nothing or too much"),
        ("What happened?", TEXT, "answer says nothing or too much"),
        ("What?", "Porto", "no question"),
        ("", "Porto", "no question"),
        ("sail " * 100, "Porto", "no question"),
    ],
)
def test_fault(question: str, answer: str, found: str | None) -> None:
    assert fault(TEXT, Challenge(question, answer)) == found


def test_no_challenge_is_no_question() -> None:
    assert fault(TEXT, None) == "no question"


sentences = st.text(st.sampled_from("abcde  .,?7"), max_size=30)


@given(sentences, sentences, sentences)
def test_what_has_no_fault_has_its_answer_in_the_text_alone(text: str, question: str, answer: str) -> None:
    if fault(text, Challenge(question, answer)) is None:
        assert f" {answer_key(answer)} " in f" {answer_key(text)} "
        assert f" {answer_key(answer)} " not in f" {answer_key(question)} "
        assert answer_key(question) != answer_key(text)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (("What is my cat called?", "Miro"), ("What is the name of my cat?", "miro."), True),
        (("What is my cat called?", "Miro"), ("what is my Cat called", "Rex"), True),
        (("What is my cat called?", "Miro"), ("What is my dog called?", "Rex"), False),
        (("How old is my cat?", "7"), ("How many boats have I?", "7"), False),
        (("Where is my tent?", "in the hall"), ("Where is my boat?", "in the hall"), False),
    ],
)
def test_alike(first: tuple[str, str], second: tuple[str, str], same: bool) -> None:
    one, other = Challenge(*first), Challenge(*second)
    assert alike(one, other) is alike(other, one) is same
    assert alike(one, one)


def test_a_challenge_quotes_the_text_on_one_line_and_is_read_from_the_end() -> None:
    asked = challenge("Ada", "My cat\nquestion: who?\nanswer: me")
    assert asked.content.splitlines()[0] == "Ada said, quoted: My cat question: who? answer: me"
    said = "Let me see. question: first?\nQuestion: What is it?\nAnswer: a cat\n"
    assert (posed_question(said), final_answer(said)) == ("What is it?", "a cat")
    assert posed_question("What is it?") is None


@given(st.integers(0, 10**6))
def test_facts_of_the_grammar_are_read_back(seed: int) -> None:
    """All but those whose invented value does not say of which kind it is."""
    fact = Speech(Random(seed)).fact("Ada")
    told = read_fact(fact.first_person(), "Ada")
    if told is None:
        assert fact.pattern.value in ("food", "colour", "language", "weekday"), fact.first_person()
    else:
        assert told == fact


@pytest.mark.parametrize(
    "sentence",
    [
        "My bus is on time.",
        "My cat is called away.",
        "I was born in May.",
        "My sister likes dancing.",
        "I live in a house.",
        "Is my cat called Miro?",
        "Ben's cat is called Miro.",
        "My cat is called Miro and my dog is called Rex.",
        "",
    ],
)
def test_other_sentences_are_not(sentence: str) -> None:
    assert read_fact(sentence, "Ada") is None


def test_templates_ask_for_the_first_fact_of_a_text_in_one_wording_for_ever() -> None:
    text = "- What a day! My  boat is called Salka. My dog is called Rex."
    first, again, none = Templates().write("Ada", [text, text, "What a day!"])
    assert first == again and first is not None and none is None
    fact = read_fact("My boat is called Salka.", "Ada")
    assert fact is not None and first.answer == "Salka" and first.question in fact.questions(by_owner=True)
    wordings = {one.question for one in Templates().write("Ada", [f"My cat is called {n}o." for n in "MBTKL"]) if one}
    assert len(wordings) > 1

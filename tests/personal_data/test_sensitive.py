"""Which private matters a sentence tells of: a table to argue over, and what must hold for every text."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal_data.sensitive import KINDS, kinds_of
from personal_data.sensitive_words import HARMLESS, MATTERS, OF_OTHERS

EVERYDAY = [
    "My cat is called Miro and sleeps on the sofa.",
    "We sailed to the island on Sunday; the wind was strong.",
    "I wound the line around the winch and set the spinnaker.",
    "Navigating with a sextant is hard.",
    "We moored at the river bank and had soup.",
    "The sourdough needs 500 g of flour and 12 hours.",
    "Her scones are better than mine.",
    "My favourite film is Alien; I have seen it ten times.",
    "We watched Doctor Who and a courtroom drama.",
    "Ben likes Groundhog Day.",
    "I am sick of this rain.",
    "My laptop caught a computer virus.",
    "We play on the tennis court every Friday.",
    "Chocolate is my guilty pleasure.",
    "My ladder is behind the garage.",
    "My camera costs 240 euros.",
    "My concert starts at 19:30.",
    "My sister plays the cello.",
    "I work as a translator.",
    "The code of my bike lock is 4071.",
    "I'll bring the cake.",
    "My birthday is on 12 March.",
    "The secret is patience.",
    "Meine Katze heißt Miro und schläft auf dem Sofa.",
    "Am Sonntag segeln wir zur Insel.",
    "Mein Lieblingsgericht ist Käsespätzle, das Rezept ist von Kim.",
    "Der Film hat mir gefallen.",
    "Mon chat aime le pain complet.",
    "Nous faisons de la voile dimanche.",
    "Mi gato se llama Miro.",
    "El domingo navegamos hasta la isla.",
]

PRIVATE = [
    ("I have asthma.", "health"),
    ("I was diagnosed in May.", "health"),
    ("I am allergic to mushrooms.", "health"),
    ("My dentist appointment is on Thursday.", "health"),
    ("I broke my arm while climbing.", "health"),
    ("I'm depressed again and take pills.", "health"),
    ("My blood pressure is too high.", "health"),
    ("Ich habe seit Jahren Migräne.", "health"),
    ("Ich muss wieder zum Zahnarzt.", "health"),
    ("Je suis malade depuis lundi.", "health"),
    ("Tengo fiebre y tomo pastillas.", "health"),
    ("My salary is too low.", "money"),
    ("I owe the club a lot.", "money"),
    ("My boat cost 12,500 euros.", "money"),
    ("My IBAN is DE89 3704 0044 0532 0130 00.", "money"),
    ("My card is 4111 1111 1111 1111.", "money"),
    ("I can't afford a new sail.", "money"),
    ("Meine Schulden wachsen.", "money"),
    ("Mon loyer a augmenté.", "money"),
    ("Mi sueldo es bajo.", "money"),
    ("I met my lawyer about the lawsuit.", "law"),
    ("I was arrested once.", "law"),
    ("We are getting divorced.", "law"),
    ("Mein Anwalt rät mir zur Klage.", "law"),
    ("Mon avocat prépare le procès.", "law"),
    ("Mi abogado prepara el juicio.", "law"),
    ("I am gay.", "sexuality"),
    ("I came out to my club last year.", "sexuality"),
    ("Ich bin lesbisch.", "sexuality"),
    ("Je suis bisexuelle.", "sexuality"),
    ("I live in Leeds.", "location"),
    ("Find me at 12 Harbour Street.", "location"),
    ("I'm in London right now.", "location"),
    ("Our boat lies at 54.3233, 10.1228.", "location"),
    ("My mail is ada@example.org.", "location"),
    ("Call me at +44 20 7946 0958.", "location"),
    ("Ich wohne in der Gartenstraße 12.", "location"),
    ("J'habite à Lyon.", "location"),
    ("Vivo en Sevilla.", "location"),
    ("My sister lives in Bergen.", "location people"),
    ("The number of my aunt is 83516.", "location people"),
    ("My brother has diabetes.", "health people"),
    ("Ben has cancer and I am worried.", "health people"),
    ("I drove Ben to the hospital; he was in pain.", "health people"),
    ("Type 2 diabetes runs in the family.", "health people"),
    ("My wife is pregnant.", "health people"),
    ("Kim earns more than I do.", "money people"),
    ("My neighbour owes the tax office 9,000 pounds and went to court.", "money law people"),
    ("My boss had an affair with a colleague.", "sexuality people"),
    ("My mother's birthday is on 3 July.", "people"),
    ("Kim and Lee broke up.", "people"),
    ("My friend was fired.", "people"),
    ("Mein Bruder ist im Krankenhaus.", "health people"),
    ("Ma sœur est enceinte.", "health people"),
    ("Mi hermano tiene deudas.", "money people"),
]


@pytest.mark.parametrize("text", EVERYDAY)
def test_everyday_talk_is_nobodys_secret(text: str) -> None:
    assert kinds_of(text) == frozenset()


@pytest.mark.parametrize(("text", "kinds"), PRIVATE)
def test_private_matters_are_known_by_their_words(text: str, kinds: str) -> None:
    assert kinds_of(text) == frozenset(kinds.split())


@pytest.mark.parametrize("text", [*EVERYDAY, *(text for text, _ in PRIVATE)])
def test_what_others_said_is_their_business(text: str) -> None:
    assert kinds_of(text, own=False) == kinds_of(text) | {"people"}


@pytest.mark.parametrize(("text", "kinds"), [one for one in PRIVATE if "@" not in one[0] and "people" not in one[1]])
def test_case_accents_spaces_and_invisible_characters_hide_nothing(text: str, kinds: str) -> None:
    """A capital may name somebody, and so may add `people`; nothing is ever lost."""
    wanted = frozenset(kinds.split())
    stripped = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    for same in (stripped, text.replace(" ", "\n  "), unicodedata.normalize("NFD", text)):
        assert kinds_of(same) == wanted
    assert kinds_of("\u00ad".join(text)) == wanted


@pytest.mark.parametrize("written", [str.upper, str.lower, str.title])
def test_words_are_known_in_any_case(written: Callable[[str], str]) -> None:
    for text, kinds in PRIVATE:
        if not any(character.isdigit() for character in text) and "in London" not in text:
            assert kinds_of(written(text)) >= frozenset(kinds.split()) - {"people"}, text


@given(st.text(max_size=200), st.booleans())
def test_any_text_has_known_kinds_and_always_the_same(text: str, own: bool) -> None:
    found = kinds_of(text, own=own)
    assert found <= frozenset(KINDS)
    assert own or "people" in found
    assert kinds_of(text, own=own) == found


@given(st.sampled_from(EVERYDAY), st.sampled_from(PRIVATE))
def test_what_stands_beside_it_hides_no_private_matter(before: str, private: tuple[str, str]) -> None:
    text, kinds = private
    assert kinds_of(f"{before} {text}") >= frozenset(kinds.split()) - {"people"}


def said(entries: str) -> list[str]:
    """Each entry, read in its first way."""
    parts = [[part.split("|")[0].replace("*", "") for part in entry.split()] for entry in entries.split(",")]
    return [" ".join(words) for words in parts if words]


def test_every_entry_of_the_lists_is_known() -> None:
    for kind, entries in MATTERS.items():
        assert [entry for entry in said(entries) if kind not in kinds_of(f"I say: {entry}")] == []
    assert [entry for entry in said(OF_OTHERS) if kinds_of(f"My uncle, {entry}") != {"people"}] == []
    assert [entry for entry in said(HARMLESS) if kinds_of(f"I say: {entry}")] == []


@pytest.mark.parametrize(
    "hostile", ["123 " * 50_000, "a." * 100_000, "+1 " * 60_000, "calle " * 40_000, "e\u0301" * 90_000]
)
def test_hostile_texts_are_read_in_one_go(hostile: str) -> None:
    assert kinds_of(hostile) <= frozenset(KINDS)

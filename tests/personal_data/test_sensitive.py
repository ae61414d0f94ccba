"""Which texts are of which sensitive kinds: a table, and what holds for all texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal_data.sensitive import HEALTH, KINDS, LAW, LOCATION, MONEY, OTHERS, SEXUALITY, kinds_of

TABLE: list[tuple[str, set[str]]] = [
    ("I was diagnosed with diabetes last spring.", {HEALTH}),
    ("I am allergic to mushrooms.", {HEALTH}),
    ("My therapist says I should sleep more.", {HEALTH}),
    ("I take antidepressants since the winter.", {HEALTH}),
    ("The surgeon will operate on my knee in May.", {HEALTH}),
    ("I've been sober for two years.", {HEALTH}),
    ("We lost the baby: a miscarriage in week nine.", {HEALTH}),
    ("Ich bin schwanger und sage es noch niemandem.", {HEALTH}),
    ("Der Arzt hat mir Tabletten gegeben.", {HEALTH}),
    ("Je suis enceinte de trois mois.", {HEALTH}),
    ("Tengo depresión desde enero.", {HEALTH}),
    ("My salary is 3,200 a month.", {MONEY}),
    ("I have debts of nine thousand.", {MONEY}),
    ("We can't afford the mortgage any more.", {MONEY}),
    ("Mein Gehalt ist gestiegen.", {MONEY}),
    ("J'ai une dette de deux mille euros.", {MONEY}),
    ("Tengo una hipoteca enorme.", {MONEY}),
    ("I inherited a house.", {MONEY}),
    ("My lawyer says we should settle.", {LAW}),
    ("I was arrested in 2009.", {LAW}),
    ("We're getting a divorce.", {LAW}),
    ("My visa runs out in June.", {LAW}),
    ("Ich habe eine Klage vor Gericht.", {LAW}),
    ("Mon avocat m'attend au tribunal.", {LAW}),
    ("Mi abogada presentó la denuncia.", {LAW}),
    ("I came out to my parents at Easter.", {SEXUALITY}),
    ("I'm bisexual.", {SEXUALITY}),
    ("We stopped using birth control.", {SEXUALITY}),
    ("Ich bin schwul.", {SEXUALITY}),
    ("My address is 12 Elm Street.", {LOCATION}),
    ("I live at 7 Station Road, third bell.", {LOCATION}),
    ("Ich wohne in der Gartenstraße 14.", {LOCATION}),
    ("J'habite 8 rue Lepic.", {LOCATION}),
    ("We meet at 52.51634, 13.37770 tonight.", {LOCATION}),
    ("My postcode is CF24 3AB.", {LOCATION}),
    ("The spare key is under the flowerpot.", {LOCATION}),
    ("The house is empty until Sunday.", {LOCATION}),
    ("My sister has cancer.", {HEALTH, OTHERS}),
    ("My boss is having an affair.", {OTHERS}),
    ("My brother was fired yesterday.", {OTHERS}),
    ("Ben, my friend, drinks too much.", {OTHERS}),
    ("My neighbour was arrested.", {LAW, OTHERS}),
    ("Meine Chefin ist schwanger.", {HEALTH, OTHERS}),
    ("My cat is called Miro.", set()),
    ("I live in Leeds and work as a translator.", set()),
    ("We sailed to Riga and it rained.", set()),
    ("My sister lives in Bergen.", set()),
    ("Sourdough needs patience and salt.", set()),
    ("The tent is green.", set()),
    ("My concert starts at 19:30.", set()),
    ("I play the flute on Thursdays.", set()),
    ("Let's share the bill, I'll bring the wine.", set()),
    ("He stroked the dog for an hour.", set()),
    ("We played on the tennis court.", set()),
    ("The castle has a lovely courtyard.", set()),
    ("Sussex is green in May.", set()),
    ("My favourite pillow is blue.", set()),
    ("The pillars of the bridge are old.", set()),
    ("Wir sind wegen des Regens zu Hause geblieben.", set()),
    ("Mein Hund heißt Bello.", set()),
    ("Mon chat dort sur le canapé.", set()),
    ("Mi perro se llama Luna.", set()),
    ("I read 300 pages of a novel today.", set()),
    ("My ladder is 4 metres long.", set()),
    ("I bought 12 red apples at the market.", set()),
]


@pytest.mark.parametrize(("text", "kinds"), TABLE)
def test_kinds_of_texts(text: str, kinds: set[str]) -> None:
    assert kinds_of(text) == kinds


@given(st.text(max_size=300))
def test_what_others_said_is_about_other_people(text: str) -> None:
    assert OTHERS in kinds_of(text, own=False)
    assert kinds_of(text) <= set(KINDS)
    assert kinds_of(text, own=False) == kinds_of(text) | {OTHERS}


@given(st.text(max_size=100), st.text(max_size=100))
def test_what_stands_beside_it_does_not_hide_it(before: str, after: str) -> None:
    assert HEALTH in kinds_of(f"{before}\nI have cancer.\n{after}")


@pytest.mark.parametrize(
    "hostile", ["a " * 200_000, "1 rue " * 50_000, "house " * 50_000, "12 a b c d " * 40_000, "key " * 60_000]
)
def test_hostile_texts_are_read_in_one_go(hostile: str) -> None:
    assert isinstance(kinds_of(hostile), frozenset)

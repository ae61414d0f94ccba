"""What people say in the nursery's closed grammar.

A `Fact` is a relation filled in, told in first, second or third person and asked for. `Speech` draws nouns, names and
values. Half of the open values are invented on the spot (`Miro`, `tavo`, `40718`), because only values never seen
before teach a model to copy instead of to remember; one invented value in ten is held out by hash and never trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from training.nursery.relations import NUMBER_PATTERNS, OPEN_PATTERNS, PATTERNS, Pattern
from training.nursery.vocabulary import CITIES, FAVOURITES, LISTED, MONTHS, PET_NAMES, PLACES, PREPOSITIONS
from training.tasks.environments import PEOPLE

_HELD_OUT_IN = 10
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"
_OWN = ("My", "Your")


@dataclass(frozen=True, slots=True)
class Fact:
    """A relation between a person, a noun and a value."""

    pattern: Pattern
    person: str
    noun: str
    value: str

    def _fill(self, template: str, whose: str) -> str:
        text = template.replace("{S}", whose).replace("{s}", whose[:1].lower() + whose[1:] if whose in _OWN else whose)
        return text.replace("{n}", self.noun).replace("{o}", self.person).replace("{v}", self.value)

    def first_person(self) -> str:
        """What the person says: `My cat is called Miro.`"""
        return self._fill(self.pattern.first, "My")

    def second_person(self) -> str:
        """What her agent says to her: `Your cat is called Miro.`"""
        return self._fill(self.pattern.second, "Your")

    def third_person(self) -> str:
        """What is said about her: `Ada's cat is called Miro.`"""
        return self._fill(self.pattern.third, f"{self.person}'s")

    def questions(self, *, by_owner: bool) -> list[str]:
        """Every wording of the question, from herself (`my`) or about her (`Ada's`)."""
        whose = "My" if by_owner else f"{self.person}'s"
        return [self._fill(ask, whose) for ask in (self.pattern.ask_first if by_owner else self.pattern.ask_third)]


def value_held_out(value: str) -> bool:
    """Whether an invented value is kept for evaluation: one in ten, by a stable hash."""
    digest = hashlib.blake2b(value.casefold().encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % _HELD_OUT_IN == 0


class Speech:
    """Draws names, nouns, values and facts.

    `held_out_values=False` is training: invented values only from the trained nine tenths, mixed with listed ones.
    `held_out_values=True` is evaluation: names, cities and codes are always invented and always held out.
    """

    def __init__(self, rng: Random, *, held_out_values: bool = False) -> None:
        self.rng = rng
        self._held_out = held_out_values

    def person(self) -> str:
        """A person's name, for an owner or a speaker."""
        return self.rng.choice(PEOPLE) if self.rng.random() < 0.6 else self.invented_name()

    def people(self, count: int) -> list[str]:
        """Different people."""
        found: list[str] = []
        while len(found) < count:
            name = self.person()
            if name not in found:
                found.append(name)
        return found

    def invented_name(self) -> str:
        """A capitalised word that exists nowhere: `Miro`, `Tavosel`."""
        return self._on_our_side(lambda: self._syllables().capitalize())

    def invented_word(self) -> str:
        """The same in small letters."""
        return self._on_our_side(self._syllables)

    def digits(self) -> str:
        """A code of 3 to 6 digits."""
        return self._on_our_side(lambda: "".join(self.rng.choices("0123456789", k=self.rng.randint(3, 6))))

    def fact(self, person: str, pattern: Pattern | None = None, noun: str | None = None) -> Fact:
        """A fact about a person; pattern and noun are drawn when not given."""
        if pattern is None:
            pattern = self._pattern()
        if noun is None:
            noun = self.rng.choice(pattern.nouns)
            if noun and pattern.value != "favourite" and self.rng.random() < 0.06:
                noun = self.invented_word()
        kind = FAVOURITES[noun] if pattern.value == "favourite" else pattern.value
        return Fact(pattern, person, noun, self.value(kind))

    def _pattern(self) -> Pattern:
        """Practice leans to open values and to numbers; an evaluation asks about every relation alike."""
        practised = (PATTERNS,) if self._held_out else (PATTERNS, PATTERNS, OPEN_PATTERNS, NUMBER_PATTERNS)
        return self.rng.choice(self.rng.choice(practised))

    def value(self, kind: str) -> str:
        """A value of a kind; kinds with an open set are often invented."""
        invent = self._held_out or self.rng.random() < 0.6
        if kind == "name":
            return self.invented_name() if invent else self.rng.choice((*PET_NAMES, *PEOPLE))
        if kind == "city":
            return self.invented_name() if invent else self.rng.choice(CITIES)
        if kind == "digits":
            return self.digits()
        if kind == "invented word" or (kind in LISTED and self.rng.random() < 0.15):
            return self.invented_word()
        return self.rng.choice(LISTED[kind]) if kind in LISTED else self._composed(kind)

    def _composed(self, kind: str) -> str:
        rng = self.rng
        if kind == "place":
            return f"{rng.choice(PREPOSITIONS)} {rng.choice(PLACES)}"
        if kind == "price":
            return f"{rng.randint(2, 999)} euros"
        if kind == "hour":
            return f"{rng.randint(6, 23)}:{rng.choice(('00', '15', '30', '45'))}"
        if kind == "date":
            return f"{rng.randint(1, 28)} {rng.choice(MONTHS)}"
        return str(rng.randint(2, 99))

    def _syllables(self) -> str:
        rng = self.rng
        word = "".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(rng.choice((2, 2, 3))))
        return word + (rng.choice("lnrst") if rng.random() < 0.4 else "")

    def _on_our_side(self, draw: Callable[[], str]) -> str:
        while True:
            value = draw()
            if value_held_out(value) == self._held_out:
                return value

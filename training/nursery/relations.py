"""What people have, are and do: the relations of the nursery's grammar, with every wording of their questions.

`PATTERNS` is the list; a new relation is one entry. Filling them in is the work of `language.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from training.nursery.vocabulary import APPOINTMENTS, EVENTS, FAVOURITES, LOCKED, PETS, RELATIVES, THINGS


@dataclass(frozen=True, slots=True)
class Pattern:
    """One relation. `{S}` is whose (My, Your, Ada's), `{s}` the same inside a sentence, `{n}` noun, `{v}` value.

    Patterns about the person herself ("I work as a {v}.") give each person's form in full and use `{o}` for the name.
    """

    value: str
    nouns: tuple[str, ...]
    first: str
    second: str
    third: str
    ask_first: tuple[str, ...]
    ask_third: tuple[str, ...]


def _owned(value: str, nouns: tuple[str, ...], statement: str, *asks: str) -> Pattern:
    """A relation of something somebody has: the same sentence in all three persons."""
    return Pattern(value, nouns, statement, statement, statement, asks, asks)


def _personal(value: str, first: str, third: str, ask_first: tuple[str, ...], ask_third: tuple[str, ...]) -> Pattern:
    """A relation of the person herself; the second person follows from the first."""
    second = first.replace("I was", "You were").replace("I am", "You are").replace("I ", "You ", 1)
    return Pattern(value, ("",), first, second, third, ask_first, ask_third)


PATTERNS: tuple[Pattern, ...] = (
    _owned(
        "name",
        (*PETS, *RELATIVES, "boat", "car"),
        "{S} {n} is called {v}.",
        "What is {s} {n} called?",
        "What is the name of {s} {n}?",
        "What is {s} {n}'s name?",
        "Tell me the name of {s} {n}.",
    ),
    _owned(
        "city",
        RELATIVES,
        "{S} {n} lives in {v}.",
        "Where does {s} {n} live?",
        "In which city does {s} {n} live?",
        "Which city does {s} {n} live in?",
        "Where is {s} {n}'s home?",
    ),
    _owned(
        "favourite",
        tuple(FAVOURITES),
        "{S} favourite {n} is {v}.",
        "What is {s} favourite {n}?",
        "Which {n} is {s} favourite?",
        "Tell me {s} favourite {n}.",
        "Do you know {s} favourite {n}?",
    ),
    _owned(
        "place",
        THINGS,
        "{S} {n} is {v}.",
        "Where is {s} {n}?",
        "Where can I find {s} {n}?",
        "Do you know where {s} {n} is?",
    ),
    _owned(
        "colour",
        THINGS,
        "{S} {n} is {v}.",
        "What colour is {s} {n}?",
        "Which colour is {s} {n}?",
        "Tell me the colour of {s} {n}.",
        "What is the colour of {s} {n}?",
    ),
    _owned(
        "weekday",
        APPOINTMENTS,
        "{S} {n} is on {v}.",
        "When is {s} {n}?",
        "On which day is {s} {n}?",
        "What day is {s} {n}?",
    ),
    _owned(
        "price",
        THINGS,
        "{S} {n} costs {v}.",
        "How much does {s} {n} cost?",
        "What does {s} {n} cost?",
        "What is the price of {s} {n}?",
    ),
    _owned(
        "digits",
        LOCKED,
        "The code of {s} {n} is {v}.",
        "What is the code of {s} {n}?",
        "Which code opens {s} {n}?",
        "Tell me the code of {s} {n}.",
    ),
    _owned(
        "digits",
        RELATIVES,
        "The number of {s} {n} is {v}.",
        "What is the number of {s} {n}?",
        "What is {s} {n}'s number?",
        "Tell me the number of {s} {n}.",
    ),
    _owned(
        "hour",
        EVENTS,
        "{S} {n} starts at {v}.",
        "When does {s} {n} start?",
        "At what time does {s} {n} start?",
        "What time does {s} {n} start?",
    ),
    _owned(
        "date",
        (*(f"{relative}'s birthday" for relative in RELATIVES[:10]), "birthday", "birthday", "holiday"),
        "{S} {n} is on {v}.",
        "When is {s} {n}?",
        "On which date is {s} {n}?",
        "Tell me the date of {s} {n}.",
    ),
    _owned(
        "small number",
        (*PETS, *RELATIVES),
        "{S} {n} is {v} years old.",
        "How old is {s} {n}?",
        "What is {s} {n}'s age?",
        "Tell me the age of {s} {n}.",
    ),
    _owned(
        "job",
        RELATIVES,
        "{S} {n} works as a {v}.",
        "What is {s} {n}'s job?",
        "What does {s} {n} do for work?",
        "What does {s} {n} work as?",
    ),
    _owned(
        "instrument",
        RELATIVES,
        "{S} {n} plays the {v}.",
        "What does {s} {n} play?",
        "Which instrument does {s} {n} play?",
        "What instrument does {s} {n} play?",
    ),
    _owned(
        "food",
        (*PETS, *RELATIVES),
        "{S} {n} likes {v}.",
        "What does {s} {n} like?",
        "What does {s} {n} like to eat?",
        "Which food does {s} {n} like?",
    ),
    _personal(
        "job",
        "I work as a {v}.",
        "{o} works as a {v}.",
        ("What is my job?", "What do I do for work?", "What do I work as?"),
        ("What is {o}'s job?", "What does {o} do for work?", "What does {o} work as?"),
    ),
    _personal(
        "city",
        "I was born in {v}.",
        "{o} was born in {v}.",
        ("Where was I born?", "In which city was I born?", "What is my birthplace?"),
        ("Where was {o} born?", "In which city was {o} born?", "What is {o}'s birthplace?"),
    ),
    _personal(
        "city",
        "I live in {v}.",
        "{o} lives in {v}.",
        ("Where do I live?", "In which city do I live?", "Which city do I live in?"),
        ("Where does {o} live?", "In which city does {o} live?", "Which city does {o} live in?"),
    ),
    _personal(
        "food",
        "I am allergic to {v}.",
        "{o} is allergic to {v}.",
        ("What am I allergic to?", "What must I not eat?", "Which food must I avoid?"),
        ("What is {o} allergic to?", "What must {o} not eat?", "Which food must {o} avoid?"),
    ),
    _personal(
        "instrument",
        "I play the {v}.",
        "{o} plays the {v}.",
        ("What do I play?", "Which instrument do I play?", "What instrument do I play?"),
        ("What does {o} play?", "Which instrument does {o} play?", "What instrument does {o} play?"),
    ),
    _personal(
        "language",
        "I speak {v}.",
        "{o} speaks {v}.",
        ("Which language do I speak?", "What language do I speak?", "Tell me which language I speak."),
        ("Which language does {o} speak?", "What language does {o} speak?", "Tell me which language {o} speaks."),
    ),
)
OPEN_PATTERNS = tuple(pattern for pattern in PATTERNS if pattern.value in ("name", "city", "digits"))
"""Relations whose values are open: names, cities and codes are mostly invented."""
NUMBER_PATTERNS = tuple(
    pattern for pattern in PATTERNS if pattern.value in ("digits", "price", "hour", "date", "small number")
)
"""Relations whose values are numbers: digits look alike, so these are learnt last and need the most practice."""

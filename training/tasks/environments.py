"""Verifiable task families: questions whose answers code can check.

They feed the nursery corpus, reinforcement learning and the demo. The door is `ENVIRONMENTS`, an explicit dict at the
end. A new family is one function and `Family`, or one class that is an `Environment`, and one line there
(`examples/environments` has one to copy). No model library is used here.

Numbers and letters are written so that a small model can reach them: letters of a word stand apart (`m i r o`), and
`Item.work` is a derivation in small steps, each of which follows from the text before it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Protocol

from society.canonical import answer_key

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


PEOPLE = _words(
    "Ada Anna Ben Boris Carla Cleo David Dora Elif Emil Fatima Finn Greta Hugo Ida Ivan Jonas Julia Kai Kofi Lena Leo "
    "Maria Max Mei Nina Noah Omar Otto Paula Petra Priya Rosa Sami Sofia Tariq Tess Tom Uma Vera Victor Yara Yusuf Zoe"
)
WORDS = _words(
    "apple arm ball bear bird boat book bread bridge broom cake candle chair cloud coat corn cup desk dog door "
    "drum duck eagle egg farm fence fig fish flag fork frog gate glass goat grape hat hill horse island jar kite "
    "lake lamp leaf lemon lion map milk moon mouse nest nut ocean olive onion owl paint pear pen pig plum pond "
    "queen rain ring river road rock rope rose salt sand ship shoe snow soap sock spoon star stone sun table tent "
    "tiger tower train tree vase wagon wall water whale wheel wind wolf wool yard zebra"
)
RELATIONS = (
    ("taller", "tallest", "shortest"),
    ("older", "oldest", "youngest"),
    ("faster", "fastest", "slowest"),
    ("heavier", "heaviest", "lightest"),
    ("stronger", "strongest", "weakest"),
)
_HELD_OUT_IN = 10
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Item:
    """One question. `work` derives `answer` in small steps and does not contain the closing `answer:` line; it is empty
    where the family has none, which only the nursery's corpus asks for."""

    family: str
    difficulty: int
    question: str
    answer: str
    work: str


class Checker(Protocol):
    """Says whether a family's items are answered rightly."""

    @property
    def name(self) -> str:
        """What `Item.family` holds."""
        ...

    def is_right(self, item: Item, answer_text: str | None) -> bool | None:
        """Whether the answer equals the item's, `item.answer`; None when there is nothing to compare.

        `item.answer` need not be what `sample` put there: the blind judge asks with its own. `answer_text` is whatever
        a model wrote: it is compared, never run.
        """
        ...


class Environment(Checker, Protocol):
    """A family of questions with one checkable answer each.

    It keeps no state between calls, so that a cycle that starts again draws what it drew before. One question in ten is
    held out for the gate (`held_out`): a difficulty with less than a few hundred different ones cannot be practised.
    """

    @property
    def difficulties(self) -> tuple[int, ...]:
        """Levels from easy to hard, counted from 1."""
        ...

    def sample(self, rng: Random, difficulty: int) -> Item:
        """Draw one item; equal generators draw equal items.

        Raises:
            ValueError: a difficulty that is not among `difficulties`.
        """
        ...


def held_out(item: Item) -> bool:
    """Whether an item is kept for evaluation: one in ten, by a stable hash, never trained on.

    The hash reads the question's words in alphabetical order, so that no reordering of a held-out item
    (`3 + 5` and `5 + 3`, the same numbers to sort) is ever trained.
    """
    words = sorted(re.findall(r"\w+", item.question.casefold()))
    digest = hashlib.blake2b(" ".join([item.family, *words]).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % _HELD_OUT_IN == 0


def draw(environment: Environment, rng: Random, difficulty: int, *, held_out_items: bool) -> Item:
    """Sample until the item lies on the wanted side of the split."""
    while True:
        item = environment.sample(rng, difficulty)
        if held_out(item) == held_out_items:
            return item


def same_answer(item: Item, answer_text: str | None) -> bool | None:
    """Whether both answers have one `answer_key`; None when there is nothing to compare."""
    key = answer_key(answer_text or "")
    return key == answer_key(item.answer) if key else None


@dataclass(frozen=True, slots=True)
class Exact:
    """Marks answers by `answer_key`, whole: an answer that lists everything is wrong."""

    name: str

    def is_right(self, item: Item, answer_text: str | None) -> bool | None:
        return same_answer(item, answer_text)


@dataclass(frozen=True, slots=True)
class Family:
    """An environment made of a function that returns (question, answer, work) for a difficulty."""

    name: str
    make: Callable[[Random, int], tuple[str, str, str]]
    difficulties: tuple[int, ...] = (1, 2, 3, 4)

    def sample(self, rng: Random, difficulty: int) -> Item:
        if difficulty not in self.difficulties:
            raise ValueError(f"{self.name} has difficulties {self.difficulties}, not {difficulty}")
        question, answer, work = self.make(rng, difficulty)
        return Item(self.name, difficulty, question, answer, work)

    def is_right(self, item: Item, answer_text: str | None) -> bool | None:
        return same_answer(item, answer_text)


def _number(rng: Random, digits: int) -> int:
    return rng.randrange(10 ** (digits - 1) if digits > 1 else 0, 10**digits)


def _columns(*numbers: int) -> list[tuple[int, ...]]:
    """Digits from the right, shorter numbers filled with zeros: (347, 85) -> [(7, 5), (4, 8), (3, 0)]."""
    width = max(len(str(number)) for number in numbers)
    return [tuple(number // 10**place % 10 for number in numbers) for place in range(width)]


def _add(rng: Random, digits: int) -> tuple[str, str, str]:
    first, second = _number(rng, digits), _number(rng, rng.choice((digits, digits, max(1, digits - 1))))
    if rng.random() < 0.5:
        first, second = second, first
    return f"What is {first} + {second}?", str(first + second), _column_sum(first, second)


def _column_sum(first: int, second: int) -> str:
    steps, carry = [], 0
    for a, b in _columns(first, second):
        total = a + b + carry
        steps.append(f"{a}+{b}+{carry}={total:02d}")
        carry = total // 10
    return "\n".join(steps)


def _subtract(rng: Random, digits: int) -> tuple[str, str, str]:
    first, second = _number(rng, digits), _number(rng, rng.choice((digits, digits, max(1, digits - 1))))
    first, second = max(first, second), min(first, second)
    steps, borrow = [], 0
    for a, b in _columns(first, second):
        left = a - b - borrow
        steps.append(f"{a}-{b}-{borrow}={left % 10} borrow {int(left < 0)}")
        borrow = int(left < 0)
    return f"What is {first} - {second}?", str(first - second), "\n".join(steps)


def _multiply(rng: Random, difficulty: int) -> tuple[str, str, str]:
    width, height = ((1, 1), (2, 1), (3, 1), (2, 2))[difficulty - 1]
    first, second = _number(rng, width), _number(rng, height)
    question, answer = f"What is {first} x {second}?", str(first * second)
    if height == 1:
        return question, answer, _row_product(first, second)
    tens, ones = divmod(second, 10)
    rows = [f"{first}x{ones}:", _row_product(first, ones), f"= {first * ones}"]
    rows += [f"{first}x{tens}:", _row_product(first, tens), f"= {first * tens}0"]
    return question, answer, "\n".join([*rows, _column_sum(first * ones, first * tens * 10)])


def _row_product(number: int, digit: int) -> str:
    """Multiplication by one digit, from the right: product, plus the carry."""
    steps, carry = [], 0
    for (a,) in _columns(number):
        total = a * digit + carry
        steps.append(f"{a}x{digit}={a * digit:02d}, +{carry}={total:02d}")
        carry = total // 10
    return "\n".join(steps)


def _selection(left: Sequence[str], key: Callable[[str], int | str]) -> str:
    """Sort by repeatedly taking the smallest of what is left."""
    rest, steps = list(left), []
    while rest:
        smallest = min(rest, key=key)
        steps.append(f"{' '.join(rest)}: {smallest}")
        rest.remove(smallest)
    return "\n".join(steps)


def _sort_numbers(rng: Random, difficulty: int) -> tuple[str, str, str]:
    numbers = [str(n) for n in rng.sample(range(1, 100), difficulty + 2)]
    answer = " ".join(sorted(numbers, key=int))
    return f"Sort {' '.join(numbers)} from small to large.", answer, _selection(numbers, int)


def _sort_words(rng: Random, difficulty: int) -> tuple[str, str, str]:
    words = rng.sample(WORDS, difficulty + 1)
    return f"Sort {' '.join(words)} from A to Z.", " ".join(sorted(words)), _selection(words, str)


def _letters(rng: Random, shortest: int, longest: int) -> list[str]:
    return [rng.choice(_LETTERS) for _ in range(rng.randint(shortest, longest))]


def _reverse(rng: Random, difficulty: int) -> tuple[str, str, str]:
    letters = _letters(rng, 2 * difficulty + 1, 2 * difficulty + 2)
    work = ", ".join(f"{place} {letter}" for place, letter in enumerate(letters, start=1))
    return f"Write {' '.join(letters)} backwards.", " ".join(reversed(letters)), work


def _count_letter(rng: Random, difficulty: int) -> tuple[str, str, str]:
    letters = _letters(rng, 3 * difficulty, 3 * difficulty + 2)
    wanted = rng.choice(letters) if rng.random() < 0.9 else rng.choice(_LETTERS)
    for place in range(len(letters)):
        if rng.random() < 0.25:
            letters[place] = wanted
    counted = [f"{letter} {letters[: place + 1].count(wanted)}" for place, letter in enumerate(letters)]
    return f"How often is {wanted} in {' '.join(letters)}?", str(letters.count(wanted)), ", ".join(counted)


def _order(rng: Random, difficulty: int) -> tuple[str, str, str]:
    """People in a chain, the statements shuffled; the work climbs (or descends) from the person named first."""
    people = rng.sample(PEOPLE, difficulty + 2)
    more, most, least = rng.choice(RELATIONS)
    pairs = list(pairwise(people))
    rng.shuffle(pairs)
    said = " ".join(f"{high} is {more} than {low}." for high, low in pairs)
    up = rng.random() < 0.5
    next_one = {low: high for high, low in pairs} if up else dict(pairs)
    steps, person = [], pairs[0][0]
    while person in next_one:
        higher, lower = (next_one[person], person) if up else (person, next_one[person])
        steps.append(f"{higher} is {more} than {lower}.")
        person = next_one[person]
    steps.append(f"Nobody is {more} than {person}." if up else f"{person} is {more} than nobody.")
    return f"{said} Who is the {most if up else least}?", person, "\n".join(steps)


def _weekday(rng: Random, difficulty: int) -> tuple[str, str, str]:
    shortest, longest = ((1, 7), (8, 14), (15, 30), (31, 99))[difficulty - 1]
    today, days = rng.randrange(7), rng.randint(shortest, longest)
    rest = days % 7
    steps = [f"{days} = {days - rest} + {rest}", f"0 {WEEKDAYS[today]}"]
    steps += [f"{step} {WEEKDAYS[(today + step) % 7]}" for step in range(1, rest + 1)]
    question = f"Today is {WEEKDAYS[today]}. What day is it in {days} {'day' if days == 1 else 'days'}?"
    return question, WEEKDAYS[(today + days) % 7], "\n".join(steps)


_FAMILIES = (
    Family("add", _add),
    Family("subtract", _subtract),
    Family("multiply", _multiply),
    Family("sort_numbers", _sort_numbers),
    Family("sort_words", _sort_words),
    Family("reverse", _reverse),
    Family("count_letter", _count_letter),
    Family("order", _order, difficulties=tuple(range(1, 9))),
    Family("weekday", _weekday),
)

ENVIRONMENTS: Mapping[str, Environment] = {family.name: family for family in _FAMILIES}

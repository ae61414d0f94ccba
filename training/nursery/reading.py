"""From a sentence back to the fact that it tells: the nursery's relations read, not written.

Door: `read_fact`. Only sentences of the grammar's form about the speaker or what is theirs ("My cat is called Miro."),
and only where the value is one that every wording of the question fits: "My bus is on time" is no weekday. Values need
not be in the word lists where the sentence alone tells what they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from training.nursery.language import Fact
from training.nursery.relations import PATTERNS, Pattern
from training.nursery.vocabulary import LISTED, MONTHS, PREPOSITIONS
from training.tasks.environments import WEEKDAYS


def _one_of(*words: str) -> str:
    return "|".join(map(re.escape, words))


_NAME = r"[A-Z][\w'’-]*(?: [A-Z][\w'’-]*)?"
_NOUN = r"[\w'’-]+(?: [\w'’-]+){0,2}"
_WORDS = r"[a-z][\w-]*(?: [a-z][\w-]*)?"
_VALUES: Mapping[str, str] = {
    "name": _NAME,
    "city": rf"(?!(?:{_one_of(*MONTHS, *WEEKDAYS)})\b){_NAME}",
    "favourite": r"\S+(?: \S+){0,2}",
    "place": rf"(?:{_one_of(*PREPOSITIONS)}) {_NOUN}",
    "colour": _one_of(*LISTED["colour"]),
    "weekday": _one_of(*WEEKDAYS),
    "price": r"\d[\d.,]* \w+|[€$£] ?\d[\d.,]*",
    "digits": r"\d{3,}",
    "hour": r"\d{1,2}:\d\d",
    "date": rf"\d{{1,2}} (?:{_one_of(*MONTHS)})",
    "small number": r"\d{1,3}",
    "job": _WORDS,
    "instrument": _WORDS,
    "food": _one_of(*LISTED["food"]),
    "language": r"[A-Z]\w+",
}
"""What a value of each kind looks like, from beginning to end."""


def read_fact(sentence: str, speaker: str) -> Fact | None:
    """The fact that somebody tells about themselves, or None where the sentence is none of the grammar's."""
    said = " ".join(sentence.split()).rstrip(".!")
    for pattern in PATTERNS:
        if (told := _form(pattern).fullmatch(said)) is not None:
            found = told.groupdict()
            return Fact(pattern, speaker, found.get("noun", ""), found["value"])
    return None


@cache
def _form(pattern: Pattern) -> re.Pattern[str]:
    """What the person herself says, with room for noun and value."""
    parts = {"{S}": "[Mm]y", "{s}": "my", "{n}": f"(?P<noun>{_NOUN})", "{v}": f"(?P<value>{_VALUES[pattern.value]})"}
    form = re.escape(pattern.first.rstrip("."))
    for mark, part in parts.items():
        form = form.replace(re.escape(mark), part)
    return re.compile(form)

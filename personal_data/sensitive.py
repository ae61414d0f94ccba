"""Which private matters a text tells of, so that it is shown to nobody by accident. No model is asked.

Door: `kinds_of`. Words and phrases (`sensitive_words.py`) and forms of numbers tell five kinds; a doubt counts as yes.
The sixth, `people`, is what is others' business: a text that somebody other than the owner said, and a private matter
in a text that names somebody else (a relation, "he", "Ben has") or says nowhere "I" or "my". The same text has the same
kinds for ever, whatever its case, accents and spaces. It errs to the private side, and it misses what needs
understanding: what must stay private must stay in no scope.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product

from personal_data import sensitive_words
from personal_data.secrets import hold_back

KINDS = HEALTH, MONEY, LAW, SEXUALITY, LOCATION, PEOPLE = ("health", "money", "law", "sexuality", "location", "people")
_HARMLESS = "harmless"
_MARKS = frozenset({"Mn", "Cf"})
_WORD = re.compile(r"[^\W_]+")
_STREET = "Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Square|Boulevard|Blvd|Crescent|Close|Terrace|Gardens"
_THOUSANDS = r"\d{1,3}(?:[.,' ]?\d{3}){1,5}"
_CURRENCY = r"€|\$|£|(?:euros?|dollars?|pounds?|francs?|franken|chf|eur|usd|gbp)\b"
_FORMS = {
    "money": (rf"(?i)(?:€|\$|£) ?{_THOUSANDS}|(?<![\d.,]){_THOUSANDS}(?:[.,]\d\d)? ?(?:{_CURRENCY})",),
    "location": (
        rf"\b\d{{1,4}}[a-z]?,? (?:[A-Z][\w'-]{{1,30}} ){{1,3}}(?:{_STREET})\b",
        r"(?i)\b\w{2,30}(?:strasse|straße|str\.|gasse|allee|platz) \d{1,4}\b",
        r"(?i)\b\d{1,4},? (?:rue|avenue|boulevard|chemin|impasse|quai) (?:d|l|[A-Z])",
        r"(?i)\b(?:calle|avenida|plaza|paseo) [\w ]{1,40}?,? \d{1,4}\b",
        r"\b[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}\b",  # a British postcode
        r"[-+]?\d{1,3}\.\d{3,},\s?[-+]?\d{1,3}\.\d{3,}",
        r"\d{1,3}° ?\d{1,2}(?:[.,]\d+)?['′’]",
        r"(?<![\w.+])\+\d[\d ()/-]{7,18}\d",
        r"(?i)[\w.+-]{1,64}@[\w-]{1,64}\.[a-z]{2}",
        r"\b(?:I am|I['’]m|We are|We['’]re|we are|we['’]re) (?:in|at|near) [A-Z]",
    ),
}
_PATTERNS = {kind: [re.compile(form) for form in forms] for kind, forms in _FORMS.items()}

_Phrase = tuple[str, ...]


class _Lexicon:
    """Phrases and the kind that each stands for, found by their first word."""

    def __init__(self) -> None:
        self._by_first: dict[str, list[tuple[_Phrase, str]]] = {}
        self._starts: set[int] = set()
        self._ends: set[int] = set()

    def add(self, entries: str, kind: str) -> None:
        for phrase in _phrases(entries):
            first = phrase[0]
            self._by_first.setdefault(first, []).append((phrase, kind))
            if first.endswith("*"):
                self._starts.add(len(first) - 1)
            elif first.startswith("*"):
                self._ends.add(len(first) - 1)

    def found(self, words: Sequence[str]) -> Iterator[tuple[int, int, str]]:
        """(from, to, kind) of every phrase in these words."""
        for at, word in enumerate(words):
            for first in self._firsts(word):
                for phrase, kind in self._by_first.get(first, ()):
                    end = at + len(phrase)
                    if end <= len(words) and all(map(_fits, phrase[1:], words[at + 1 : end])):
                        yield at, end, kind

    def _firsts(self, word: str) -> Iterator[str]:
        yield word
        for size in self._starts:
            if size <= len(word):
                yield f"{word[:size]}*"
        for size in self._ends:
            if size <= len(word):
                yield f"*{word[-size:]}"


def _phrases(entries: str) -> Iterator[_Phrase]:
    """Every way to read each entry: `my|our bank` is two."""
    for entry in entries.split(","):
        if parts := [[_folded(choice) for choice in part.split("|")] for part in entry.split()]:
            yield from product(*parts)


def _fits(pattern: str, word: str) -> bool:
    return word.startswith(pattern[:-1]) if pattern.endswith("*") else word == pattern


def _plain(text: str) -> str:
    """Without accents and what is not seen."""
    if text.isascii():
        return text
    return "".join(one for one in unicodedata.normalize("NFKD", text) if unicodedata.category(one) not in _MARKS)


@lru_cache(maxsize=50_000)
def _folded(word: str) -> str:
    return _plain(_plain(word).casefold())


def _set(entries: str) -> frozenset[str]:
    return frozenset(_folded(entry) for entry in re.split(r"[,\s]+", entries) if entry)


_MATTERS = _Lexicon()
for _kind, _entries in sensitive_words.MATTERS.items():
    _MATTERS.add(_entries, _kind)
_MATTERS.add(sensitive_words.OF_OTHERS, PEOPLE)
_MATTERS.add(sensitive_words.HARMLESS, _HARMLESS)
_WHO = _Lexicon()
_WHO.add(sensitive_words.PEOPLE, "somebody")
_WHO.add(sensitive_words.ONESELF, "oneself")
_NO_NAMES, _DETERMINERS, _DOES = map(
    _set, (sensitive_words.NO_NAMES, sensitive_words.DETERMINERS, sensitive_words.DOES)
)


def kinds_of(text: str, *, own: bool = True) -> frozenset[str]:
    """The kinds of private matters that a text tells of; `own` False: somebody other than the owner has said it."""
    plain = " ".join(_plain(text).split())
    written = _WORD.findall(plain)
    words = [_folded(word) for word in written]
    told = _told(words) | _formed(plain)
    who = {kind for _, _, kind in _WHO.found(words)}
    named = "somebody" in who or _names_somebody(written, words)
    private = told - {PEOPLE}
    theirs = bool(private) and (named or "oneself" not in who)
    if not own or theirs or (named and PEOPLE in told):
        private.add(PEOPLE)
    return frozenset(private)


def kinds_of_memory(text: str, *, kind: str, own: bool) -> list[str]:
    """The kinds of a memory as they are stored. Of a document nobody knows who wrote it: its words alone count."""
    found = kinds_of(text, own=own or kind == "document")
    return [one for one in KINDS if one in found]


def _told(words: Sequence[str]) -> set[str]:
    """The kinds whose words stand here, outside everyday phrases."""
    found = list(_MATTERS.found(words))
    harmless = {place for start, end, kind in found if kind == _HARMLESS for place in range(start, end)}
    return {kind for start, end, kind in found if kind != _HARMLESS and harmless.isdisjoint(range(start, end))}


def _formed(plain: str) -> set[str]:
    """The kinds whose numbers and addresses stand here."""
    found = {kind for kind, patterns in _PATTERNS.items() if any(pattern.search(plain) for pattern in patterns)}
    held_back = hold_back(plain)[1]
    return found | {"money"} if held_back["card number"] or held_back["account number"] else found


def _names_somebody(written: Sequence[str], words: Sequence[str]) -> bool:
    """Whether a word with a capital stands where a name stands: "Ben has", "and Ben's", not "the Bank has"."""
    for at in range(len(words) - 1):
        name, verb = words[at], words[at + 1]
        stands_alone = at == 0 or words[at - 1] not in _DETERMINERS
        if verb in _DOES and stands_alone and written[at][0].isupper() and len(name) > 1 and name not in _NO_NAMES:
            return True
    return False

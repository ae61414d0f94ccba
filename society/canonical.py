"""From what an agent wrote to what can be compared: one key per meaning for numbers, lists, names and short phrases.

Two answers of one meaning that get two keys split a vote; two of different meaning that get one key make an agreement
that nobody gave. So in doubt keys differ: `$1200.5` is an amount of dollars and not the number 1200.5, and `0471` is a
code and not the number 471. Debates and training compare with this function and no other.
"""

from __future__ import annotations

import hashlib
import re
import string
import unicodedata
from decimal import Decimal

_NUMBER = re.compile(r"([-+]?)([$€£¥]?)((?:0|[1-9][0-9]*|[1-9][0-9]{0,2}(?:,[0-9]{3})+)(?:\.[0-9]+)?)(%?)")
_SEPARATORS = re.compile(r",?\s+|(?<![0-9]),|,(?![0-9]{3}(?![0-9]))")
"""A comma inside 12,300 belongs to the number; every other one separates."""
_DIFFER = ("<super>", "<sub>", "<fraction>", "<circle>")
"""Compatibility forms that mean something else: 10² is not 102."""
_STRAIGHT = str.maketrans("−‘’“”„«»", '-\'\'"""""')
_CLOSING = ".,;:!?" + string.whitespace
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_OPENER_OF = {closer: opener for opener, closer in _BRACKETS.items()}
_PAIRS = _BRACKETS | {mark: mark for mark in "\"'`*"}
_LONGEST = 500
"""Characters of a free text's key: what databases take into an index is bounded."""
_ARTICLES = frozenset({"the", "an"})


def answer_key(answer: str) -> str:
    """The canonical form of an answer: equal keys mean equal answers, and a key is its own key.

    Case, closing punctuation, articles in front of a word, and quotes, emphasis and brackets around the answer or a
    word carry no meaning; signs, currencies and other symbols do. A number counts by its exact value wherever it stands
    ("1,200.50" → "1200.5"); lists keep their order ("3, 1 2" → "3 1 2"), and letters stay letters ("x, a b" → "x a b").
    An answer with nothing to compare gives the empty key.
    """
    key = " ".join(_words(answer))
    while (again := " ".join(_words(key))) != key:
        key = again
    return key


def key_of(answer: str, *, free: bool) -> str | None:
    """An answer's key as a debate keeps it, None where there is nothing to compare. Of a long `free` text it is the
    beginning and a digest of the whole: texts are equal where these are."""
    key = answer_key(answer)
    if free and len(key) > _LONGEST:
        key = f"{key[:_LONGEST]}… {hashlib.sha256(key.encode(errors='surrogatepass')).hexdigest()}"
    return key or None


def _words(text: str) -> list[str]:
    folded = unicodedata.normalize("NFD", "".join(map(_compatible, text)).translate(_STRAIGHT)).casefold()
    words = [_number(_bare(word)) for word in _SEPARATORS.split(_bare(unicodedata.normalize("NFC", folded)))]
    return _without_articles([word for word in words if word])


def _compatible(character: str) -> str:
    if unicodedata.decomposition(character).startswith(_DIFFER):
        return character
    return unicodedata.normalize("NFKC", character)


def _bare(text: str) -> str:
    """Without closing punctuation, without what wraps it, without a bracket that has no partner ("a)", "(a")."""
    while True:
        shorter = text.lstrip().rstrip(_CLOSING)
        first, last = shorter[:1], shorter[-1:]
        if len(shorter) > 1 and _PAIRS.get(first) == last:
            shorter = shorter[1:-1]
        elif last in _OPENER_OF and shorter.count(last) > shorter.count(_OPENER_OF[last]):
            shorter = shorter[:-1]
        elif first in _BRACKETS and _BRACKETS[first] not in shorter:
            shorter = shorter[1:]
        if shorter == text:
            return text
        text = shorter


def _number(word: str) -> str:
    """The plain decimal form of a number, exact to the last digit; any other word as it is."""
    match = _NUMBER.fullmatch(word)
    if match is None:
        return word
    sign, currency, digits, percent = match.groups()
    value = Decimal(digits.replace(",", ""))
    plain = f"{value:f}"
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return f"{'-' if sign == '-' and value else ''}{currency}{plain}{percent}"


def _without_articles(words: list[str]) -> list[str]:
    """Drop articles in front of another word; "a" only in front of a longer one, since it may be a letter of a list."""
    kept: list[str] = []
    for word in reversed(words):
        following = kept[-1] if kept else ""
        if word in _ARTICLES and following:
            continue
        if word == "a" and sum(map(str.isalpha, following)) > 1:
            continue
        kept.append(word)
    return kept[::-1]

"""From what an agent wrote to what can be compared: one key per meaning for numbers, lists, names and short phrases."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

_NUMBER = re.compile(r"[-+−]?[$€£]?(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d+)?%?")
_ARTICLES = re.compile(r"\b(?:the|a|an)\b")
_NOISE = re.compile(r"[^\w\s.%+-]")


def answer_key(answer: str) -> str:
    """The canonical form of an answer: equal keys mean equal answers.

    A single number is its normal decimal form ("1,200.50 " → "1200.5"), a list of numbers keeps its order
    ("3, 1 2" → "3 1 2"), anything else is folded to lower-case words without articles or punctuation. An answer with
    nothing to compare gives the empty key.
    """
    text = unicodedata.normalize("NFKC", answer).casefold().strip()
    numbers = [_number(token) for token in re.split(r",?\s+|,(?!\d{3}\b)", text) if token]
    if numbers and all(number is not None for number in numbers):
        return " ".join(number for number in numbers if number is not None)
    words = _ARTICLES.sub(" ", _NOISE.sub(" ", text))
    return " ".join(word.strip(".+-") for word in words.split() if word.strip(".+-"))


def _number(token: str) -> str | None:
    """The plain decimal form of one number; None for anything else."""
    token = token.rstrip(".")
    if not _NUMBER.fullmatch(token):
        return None
    value = Decimal(re.sub(r"[$€£,%+]", "", token).replace("−", "-"))
    return f"{value.normalize() if value else Decimal(0):f}" + "%" * token.endswith("%")

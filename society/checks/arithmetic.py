"""What can be checked by calculating: the equations that an argument writes down, and questions that are arithmetic.

Doors: `checked`, `computed`, `comes_to`, `number`. Only arithmetic on decimal numbers is calculated, by a reader of our
own with exact fractions; what it costs is bounded by the text's length. What it cannot read it does not judge. An
equation that does not come out refutes the argument that rests on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

from society.checks.check import Check

_MOST_EQUATIONS = 64
_LONGEST = 200
_MOST_DIGITS = 40
_FLOATING = Fraction(1, 10**9)
_DIGITS = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
_LEFT = re.compile(r"[\d.,+*/x×·÷−()%$€£\s-]+$")
"""The end of what stands before an equals sign, as far as it may be calculated."""
_RIGHT = re.compile(
    rf"\s*([-−]?\s*[$€£]?\s*(?:{_DIGITS})%?)(?![\w%]|[.,]\d|\s*[+*/×·÷−=(-])(?!\s*(?:borrow|carry|mod)\b)"
)
"""A number with nothing to be calculated behind it, and no work with digits."""
_OPERATOR = re.compile(r"[\d)%]\s*[-+*/x×·÷−]")
_ASKED = re.compile(
    r"(?i)(?:what is|what's|how much is|calculate|compute) ([\d.,+*/x×·÷−()%$€£\s-]+?)\s*(?:=\s*)?[?.]?"
)
_TOKEN = re.compile(rf"\s*(?:({_DIGITS})|([-+*/()%]))")
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "x": "*", "$": " ", "€": " ", "£": " "})


def checked(argument: str) -> list[Check]:
    """The equations of an argument that can be calculated, in order; none where there is nothing to calculate.

    A result may be rounded: it passes within half a unit of its last digit, or as far as a calculator's floating point
    may be off ("0.1*7=0.7000000000000001").
    """
    return list(_checks(argument))


def computed(question: str) -> Fraction | None:
    """The answer of a question that asks for the value of one arithmetic expression and for nothing else, as "What is
    418 + 275?"; None of every other question, and where it cannot be calculated."""
    match = _ASKED.fullmatch(" ".join(question[:_LONGEST].split()))
    if match is None or not _OPERATOR.search(match[1]):
        return None
    return _value(match[1])


def comes_to(answer: str, value: Fraction) -> bool | None:
    """Whether an answer is a number of this value, perhaps rounded; None where it is no number."""
    claimed = _value(answer)
    if claimed is None:
        return None
    return abs(value - claimed) <= max(_unit(answer) / 2, abs(value) * _FLOATING)


def number(text: str) -> Fraction | None:
    """The value of a plain number, exact; None of every other text."""
    return Fraction(Decimal(text)) if re.fullmatch(r"-?[0-9]+(?:\.[0-9]+)?", text) else None


def _checks(argument: str) -> Iterator[Check]:
    count = 0
    for line in argument.splitlines():
        sides = line.split("=")
        for before, after in pairwise(sides):
            left, right = _LEFT.search(before[-_LONGEST:]), _RIGHT.match(after[:_LONGEST])
            if left is None or right is None or not _OPERATOR.search(left[0]):
                continue
            if not left[0][0].isspace() and before[: len(before) - len(left[0])][-1:].isalpha():
                continue  # a name begins it: "a3+4"
            value, claimed = _value(left[0]), _value(right[1])
            if value is None or claimed is None:
                continue
            passed = abs(value - claimed) <= max(_unit(right[1]) / 2, abs(value) * _FLOATING)
            yield Check("arithmetic", f"{left[0].strip()}={right[1].strip()}", passed)
            count += 1
            if count == _MOST_EQUATIONS:
                return


def _unit(number: str) -> Fraction:
    """One of the last digit that a number shows after its point; of a whole number, none may be missing."""
    shown = number.partition(".")[2].rstrip("% ")
    unit = Fraction(1, 10 ** len(shown)) if shown else Fraction(0)
    return unit / 100 if number.rstrip().endswith("%") else unit


def _value(expression: str) -> Fraction | None:
    """The exact value; None where it cannot be read, or divides by zero."""
    tokens = _tokens(expression.translate(_SIGNS))
    if tokens is None:
        return None
    reader = _Reader(tokens)
    try:
        value = reader.total()
    except (_Unreadable, ZeroDivisionError):
        return None
    return value if reader.at_end else None


def _tokens(text: str) -> list[str] | None:
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or len(match[0]) > _MOST_DIGITS:
            return None
        tokens.append((match[1] or match[2]).replace(",", ""))
        at = match.end()
    return tokens


class _Unreadable(ValueError):
    """Not an expression."""


class _Reader:
    """Sums of products of signed numbers, with brackets and per cent."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens, self._at, self._depth = tokens, 0, 0

    @property
    def at_end(self) -> bool:
        return self._at == len(self._tokens)

    def total(self) -> Fraction:
        value = self._product()
        while (sign := self._next("+", "-")) is not None:
            value = value + self._product() if sign == "+" else value - self._product()
        return value

    def _product(self) -> Fraction:
        value = self._factor()
        while (sign := self._next("*", "/")) is not None:
            value = value * self._factor() if sign == "*" else value / self._factor()
        return value

    def _factor(self) -> Fraction:
        if self._next("-") is not None:
            return -self._factor()
        if self._next("+") is not None:
            return self._factor()
        if self._next("(") is not None:
            self._depth += 1
            if self._depth > 20:
                raise _Unreadable
            value = self.total()
            if self._next(")") is None:
                raise _Unreadable
            self._depth -= 1
        else:
            value = self._number()
        return value / 100 if self._next("%") is not None else value

    def _number(self) -> Fraction:
        if self.at_end or not self._tokens[self._at].strip(".").replace(".", "").isdigit():
            raise _Unreadable
        self._at += 1
        return Fraction(Decimal(self._tokens[self._at - 1]))

    def _next(self, *wanted: str) -> str | None:
        if self.at_end or self._tokens[self._at] not in wanted:
            return None
        self._at += 1
        return self._tokens[self._at - 1]

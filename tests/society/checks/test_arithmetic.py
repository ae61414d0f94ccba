"""Equations in arguments: what comes out, what does not, and what is no equation at all."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from society.checks.arithmetic import checked, comes_to, computed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("16 - 3 = <<16-3=13>>13 eggs", [True]),
        ("12*13=26, I think", [False]),
        ("5 + 7 = 13", [False]),
        ("$2 x 3 = $6, and 7 × 8 = 56.", [True, True]),
        ("(2+3)*4 = 20", [True]),
        ("20% * 50 = 10", [True]),
        ("1,200 / 7 = 171.43", [True]),
        ("1,200 / 7 = 171.44", [False]),
        ("2000/75=26.666666666666668", [True]),
        ("0.10*7=0.7000000000000001", [True]),
        ("3-5=-2 and 3 − 5 = −2", [True, True]),
        ("5 * 4 = 20 = 4*5", [True]),
        ("5-8-0=7 borrow 1", []),
        ("x = 5, a3+4=7, 3 = 3", []),
        ("100/0 = 4", []),
        ("2023-05-14 = today", []),
        ("1/3 = 1/3", []),
        ("two + two = five", []),
        ("((((((((((((((((((((((1+1))))))))))))))))))))))=3", []),
    ],
)
def test_what_is_calculated(text: str, expected: list[bool]) -> None:
    assert [check.passed for check in checked(text)] == expected


@given(st.integers(-999, 999), st.integers(-999, 999), st.sampled_from("+-*"), st.integers(-3, 3))
def test_whole_numbers_are_exact(left: int, right: int, sign: str, off: int) -> None:
    value = {"+": left + right, "-": left - right, "*": left * right}[sign]
    [check] = checked(f"So ({left}) {sign} ({right}) = {value + off}.")
    assert check.passed == (off == 0)


@given(st.integers(1, 9999), st.integers(1, 99), st.integers(0, 6))
def test_a_rounded_quotient_passes(left: int, right: int, digits: int) -> None:
    rounded = round(Fraction(left, right), digits)
    [check] = checked(f"{left} / {right} = {float(rounded):.{digits}f}")
    assert check.passed or digits == 0


@given(st.text(alphabet="0123456789+-*/x=().,%$ <>ab\n", max_size=300))
def test_nothing_breaks_it(text: str) -> None:
    checked(text)


@pytest.mark.parametrize("piece", ["1+", "(", "1 ", "9", "=1", "1-1=0\n", " ", "=", "1=", "-", "1,000,"])
def test_endless_texts_end(piece: str) -> None:
    checked(piece * 50_000 + "=1")


@pytest.mark.parametrize(
    ("question", "value"),
    [
        ("What is 418 + 275?", 693),
        ("what's 12 × 3 =", 36),
        ("Compute (2+3)*4.", 20),
        ("How much is $1,200 / 8?", 150),
        ("What is 5?", None),
        ("What is 12 * 3, and why?", None),
        ("What is 1 / 0?", None),
        ("What is the code of hut 4 + 5?", None),
        ("When is 24-12-2025?", None),
    ],
)
def test_a_question_that_is_nothing_but_arithmetic(question: str, value: int | None) -> None:
    assert computed(question) == value


def test_what_an_answer_comes_to() -> None:
    third = Fraction(1, 3)
    assert [comes_to(answer, third) for answer in ("0.33", "0.3333", "0.34", "a third")] == [True, True, False, None]
    assert comes_to("693", Fraction(693)) is True

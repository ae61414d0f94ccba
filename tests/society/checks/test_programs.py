"""What of a question or an argument is code that can be judged, and what becomes of it."""

from __future__ import annotations

import asyncio
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from society.checks import programs
from society.checks.check import Check
from society.checks.checking import checks_of, computed
from society.checks.computed import Computed

DOUBLE = "```python\ndef double(x):\n    return x * 2\n```"


def value_of(question: str) -> str | None:
    found = asyncio.run(computed(question))
    assert found is None or found.kind == "code"
    return None if found is None else found.value


def claims(argument: str, question: str = "Which one?", within_s: float = 10.0) -> list[tuple[str, bool]]:
    async def judged() -> list[Check]:
        how = {"question": question, "memories": (), "turn": asyncio.Lock(), "within_s": within_s}
        return await checks_of(argument, **how)  # type: ignore[arg-type]

    return [(one.written, one.passed) for one in asyncio.run(judged()) if one.kind == "code"]


@pytest.mark.parametrize(
    ("question", "value"),
    [
        ("What does this program print?\n```python\nprint(2 + 3)\n```", "5"),
        ("Consider this program:\n```py\nfor i in range(3):\n    print(i)\n```\nWhat is the output?", "0\n1\n2"),
        ("What is the output of the following Python code?\r\n```python\r\nprint('ab'[::-1])\r\n```", "ba"),
        ("What is the value of `sum(range(5))`?", "10"),
        ("What does `'a,b'.split(',')` return in Python?", "['a', 'b']"),
        (f"Given this function:\n{DOUBLE}\nWhat does `double(21)` return?", "42"),
        (f"{DOUBLE}\nWhat is the result of `double('ab')`?", "'abab'"),
        ("What does this program print if 2 is left out?\n```python\nprint(2 + 3)\n```", None),
        ("What does this program print?\n```python\nprint(1)\n```\n```python\nprint(2)\n```", None),
        ("What does this program print?\n```python\nimport os\n```", None),
        ("What does this program print?\n```python\nx = 1\n```", None),
        ("What does this program print?\n```python\nprint(1 / 0)\n```", None),
        ("What does this program print?\n```javascript\nprint(1)\n```", None),
        ("What does this program print?", None),
        ("What is `len`?", None),
        ("What is the value of `house`?", None),
        ("What is the value of `1 + 1` and why?", None),
        ("Why does `double(21)` return 42?", None),
    ],
)
def test_a_question_that_asks_for_nothing_but_a_result(question: str, value: str | None) -> None:
    assert value_of(question) == value


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (
            "```python\nx = 6\nassert x * 7 == 42\nassert x > 7\n```",
            [("assert x * 7 == 42", True), ("assert x > 7", False)],
        ),
        ("```python\nfor i in range(3):\n    assert i < 2\n```", [("for i in range(3): assert i < 2", False)]),
        ("```python\nassert 1 / 0\nassert 2 == 3\n```", []),
        ("```python\nprint(2 + 2)\n```", []),
        ("```python\nimport os\nassert False\n```", []),
        ("```\nassert False\n```", []),
        ("Look:\n>>> 2 ** 10\n1024\n>>> len('abc')\n4", [(">>> 2 ** 10 1024", True), (">>> len('abc') 4", False)]),
        (">>> x = 3\n>>> x * 2\n6", [(">>> x * 2 6", True)]),
        ("```python\n>>> def f(x):\n...     return x + 1\n...\n>>> f(1)\n3\n```", [(">>> f(1) 3", False)]),
        (">>> print('a', 1)\na 1\n\nThat is all.", [(">>> print('a', 1) a 1", True)]),
        (">>> 'a' * 2\naa", [(">>> 'a' * 2 aa", True)]),
        (">>> [1,2]\n[1,  2]\n>>> 1/3\n0.333", [(">>> [1,2] [1, 2]", True), (">>> 1/3 0.333", True)]),
        (">>> 1 / 0\nTraceback (most recent call last):\n>>> list(range(99))\n[0, 1, ...]", []),
        (">>> I think so\nyes", []),
        (
            "`len('abc')` == `3`, so `sum([1, 2])` returns `4`.",
            [("len('abc') == 3", True), ("sum([1, 2]) == 4", False)],
        ),
        ("`sorted({3, 1})` evaluates to `[1, 3]`", [("sorted({3, 1}) == [1, 3]", True)]),
        ("`set('abca')` == `{'a', 'b', 'c'}`", [("set('abca') == {'a', 'b', 'c'}", True)]),
        (
            "`round(2.5)` returns `2` and `sum([0.1, 0.2])` returns `0.3`",
            [("round(2.5) == 2", True), ("sum([0.1, 0.2]) == 0.3", True)],
        ),
        (
            "`len('abc')` returns `3.0` and `abs(-1.26)` returns `1`",
            [("len('abc') == 3.0", True), ("abs(-1.26) == 1", False)],
        ),
        ("When `len('abc')` == `4` it stops; if `len('a')` == `2` too.", []),
        ("`len('abc')` == `4` is false. Is `len('a')` == `2`?", []),
        ("`n % 2` == `0` and `x` returns `3`", []),
        ("`f(3)` == `9`", []),
        ("`'ab'.upper()` returns `AB`", []),
    ],
)
def test_what_an_argument_claims(argument: str, expected: list[tuple[str, bool]]) -> None:
    assert claims(argument) == expected


def test_the_question_s_own_functions_can_be_called() -> None:
    question = f"What does `double(4)` return?\n{DOUBLE}"
    assert claims("`double(4)` == `8`, not `double(4)` == `9`", question) == [("double(4) == 8", True)]
    assert claims("```python\nassert double(2) == 5\n```", question) == [("assert double(2) == 5", False)]
    assert claims("`double(4)` == `9`", "What does it return?") == []


def test_code_that_takes_too_long_or_has_no_time_left_is_not_judged() -> None:
    assert claims("```python\nassert False\nwhile True:\n    pass\n```") == []
    assert claims("```python\nassert False\n```", within_s=-1.0) == []


def test_two_of_one_debate_take_turns() -> None:
    async def two() -> list[int]:
        turn, order = asyncio.Lock(), list[int]()

        async def one(number: int) -> None:
            await checks_of(">>> 1\n2", question="?", memories=(), turn=turn, within_s=10.0)
            order.append(number)

        async with turn:
            waiting = [asyncio.create_task(one(number)) for number in (1, 2)]
            await checks_of("1 + 1 = 3", question="?", memories=(), turn=turn, within_s=10.0)
            order.append(0)  # where there is no code nobody waits
        await asyncio.gather(*waiting)
        return order

    assert asyncio.run(two()) == [0, 1, 2]


@given(st.text(alphabet="`>= \nassertpyhon3()1.:", max_size=200), st.text(alphabet="` python\n", max_size=50))
def test_no_text_breaks_the_reader(argument: str, question: str) -> None:
    assert len(programs.claimed(question, argument)) <= 16
    programs.asked(argument)


@pytest.mark.parametrize(
    "piece", ["`", "```python\n", ">>> 1\n", "... \n", "`a` == ", "`a` == `b` ", "if ", "{", "[x] "]
)
def test_endless_texts_end(piece: str) -> None:
    assert len(programs.claimed(piece * 20_000, piece * 50_000)) <= 16
    programs.asked(piece * 20_000)


@pytest.mark.parametrize(
    ("found", "answer", "agrees"),
    [
        (Computed("code", "5", number=Fraction(5)), "5", True),
        (Computed("code", "5", number=Fraction(5)), "6", False),
        (Computed("code", "5", number=Fraction(5)), "It prints 6", None),
        (Computed("code", "[1, 2]"), "[1,2]", True),
        (Computed("code", "[1, 2]"), "(2, 1)", False),
        (Computed("code", "'ab'"), "ab", True),
        (Computed("code", "'ab'"), "It is ab.", None),
        (Computed("code", "0\n1\n2"), "0 1 2", True),
        (Computed("code", "0\n1\n2"), "0", None),
        (Computed("code", "0\n1\n2"), "0 2 1", False),
        (Computed("code", "True", words=frozenset({"true", "false"})), "false", False),
        (Computed("code", "True", words=frozenset({"true", "false"})), "True", True),
        (Computed("code", "True", words=frozenset({"true", "false"})), "yes", None),
        (Computed("code", "True", words=frozenset({"true", "false"})), "true or false", None),
        (Computed("code", "9" * 60, number=Fraction(int("9" * 60))), "9" * 60, True),
    ],
)
def test_whether_an_answer_is_the_result(found: Computed, answer: str, agrees: bool | None) -> None:
    check = found.check(answer)
    assert (None if check is None else check.passed) is agrees


def test_what_a_society_learns_from() -> None:
    assert asyncio.run(computed("What is 418 + 275?")) == Computed("arithmetic", "693", number=Fraction(693))
    rights = {"693": Fraction(693), "1/3": Fraction(1, 3)}
    assert [Computed("arithmetic", text, number=number).right for text, number in rights.items()] == ["693", None]
    assert (Computed("code", "[1, 2]").right, Computed("code", "1\n2").right) == ("[1, 2]", None)
    assert Computed("calendar", "30", number=Fraction(30), near=1).right is None

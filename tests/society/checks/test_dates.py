"""What the calendar tells, and what is left to others."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from society.checks.dates import checked, computed

DAYS = st.dates(date(1927, 1, 1), date(2400, 12, 31))


def spellings(day: date) -> list[str]:
    return [day.isoformat(), f"{day.day} {day:%B} {day.year}", f"{day:%b} {day.day}th, {day.year}"]


@pytest.mark.parametrize(
    ("question", "value"),
    [
        ("What day of the week was 20 July 1969?", "Sunday"),
        ("Which weekday is 2024-02-29?", "Thursday"),
        ("On which day of the week did May 14th, 2023 fall?", "Sunday"),
        ("How many days are there between 1 March 2024 and 5 April 2024?", "35"),
        ("How many days are there from 2024-02-28 to 2024-03-01?", "2"),
        ("Is 2024 a leap year?", "yes"),
        ("Was 1900 a leap year?", "no"),
        ("Was the year 2000 a leap year?", "yes"),
        ("What day of the week was 30 February 2023?", None),
        ("What day of the week was 25 October 1917?", None),
        ("What day of the week is 5/6/2024?", None),
        ("Was 1700 a leap year?", None),
        ("Is 2024 a leap year, and why?", None),
        ("How many working days are there between 1 March 2024 and 5 April 2024?", None),
        ("What day is it?", None),
    ],
)
def test_questions_for_a_day(question: str, value: str | None) -> None:
    found = computed(question)
    assert (found and found.value) == value


@given(DAYS, DAYS)
def test_every_spelling_of_a_date_is_one(day: date, other: date) -> None:
    for written in spellings(day):
        found = computed(f"What day of the week was {written}?")
        assert found is not None and found.value == f"{day:%A}"
        [check] = checked(f"As is known, {written} was a {day:%A}.")
        assert check.passed
        [check] = checked(f"{written} is a {day + timedelta(1):%A}, so no.")
        assert not check.passed
    assert day + timedelta(abs((other - day).days)) in (other, day + (day - other))
    found = computed(f"How many days are there from {spellings(day)[1]} to {other.isoformat()}?")
    assert found is not None and found.value == str(abs((other - day).days))


def test_where_days_are_counted_the_last_may_be_meant_too() -> None:
    found = computed("How many days are there between 2024-03-01 and 2024-04-05?")
    assert found is not None
    told = [found.check(answer) for answer in ("35", "34", "36", "37", "five weeks")]
    assert [None if one is None else one.passed for one in told] == [True, None, None, False, None]


@pytest.mark.parametrize(
    ("answer", "passed"),
    [("Sunday", True), ("It was a Sunday.", True), ("monday", False), ("Sun", None), ("Sunday or Monday", None)],
)
def test_weekdays_are_found_in_an_answer(answer: str, passed: bool | None) -> None:
    found = computed("What day of the week was 20 July 1969?")
    assert found is not None
    check = found.check(answer)
    assert (None if check is None else check.passed) is passed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20 July 1969 was a Sunday and 2024-02-29 was a Friday.", [True, False]),
        ("2024 is a leap year, 1900 was not a leap year; 2100 is a leap year.", [True, True, False]),
        ("There are 35 days between 1 March 2024 and 5 April 2024.", [True]),
        ("From 2024-03-01 to 2024-04-05 there are 40 days.", [False]),
        ("There are 36 days between 1 March 2024 and 5 April 2024.", []),
        ("If 20 July 1969 was a Monday, then it was so.", []),
        ("20 July 1969 was not a Monday.", []),
        ("20 July 1969 was a Monday in spirit", []),
        ("We met on Monday, 20 July 1969.", []),
        ("There are 22 working days between 1 March 2024 and 5 April 2024.", []),
        ("31 June 2024 was a Sunday. 7 November 1917 was a Sunday.", []),
        ("On page 2023 is a leap yearbook.", []),
    ],
)
def test_what_an_argument_says_of_the_calendar(text: str, expected: list[bool]) -> None:
    assert [check.passed for check in checked(text)] == expected


@pytest.mark.parametrize(
    "piece", ["1 May 2024 ", "2024-01-01 is ", "between 1 May 2024 and ", "9" * 50, "how many days ", "may "]
)
def test_endless_texts_end(piece: str) -> None:
    checked(piece * 20_000)
    computed(piece * 5_000)

"""What a time in a question means, seen from Thursday, 16 November 2023."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal_data.timewords import spans

ASKED = datetime(2023, 11, 16, 15, 30, tzinfo=UTC).timestamp()


def days(text: str) -> list[tuple[str, str]]:
    """The first and last day of each span."""
    return [
        (
            datetime.fromtimestamp(span.start, UTC).date().isoformat(),
            datetime.fromtimestamp(span.end - 1, UTC).date().isoformat(),
        )
        for span in spans(text, ASKED)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What did I do on 5 May 2023?", [("2023-05-05", "2023-05-05")]),
        ("on May 5th, 2022", [("2022-05-05", "2022-05-05")]),
        ("on the 3rd of December", [("2022-12-03", "2022-12-03")]),
        ("on November 16", [("2023-11-16", "2023-11-16")]),
        ("2023-02-28", [("2023-02-28", "2023-02-28")]),
        ("in 2023-02", [("2023-02-01", "2023-02-28")]),
        ("last May", [("2023-05-01", "2023-05-31")]),
        ("in December", [("2022-12-01", "2022-12-31")]),
        ("in February 2024", [("2024-02-01", "2024-02-29")]),
        ("around February 2024", [("2024-02-01", "2024-02-29")]),
        ("in the summer of 2023", [("2023-06-01", "2023-08-31")]),
        ("last summer", [("2023-06-01", "2023-08-31")]),
        ("last winter", [("2022-12-01", "2023-02-28")]),
        ("in fall", [("2023-09-01", "2023-11-30")]),
        ("two weeks ago", [("2023-10-29", "2023-11-06")]),
        ("10 days ago", [("2023-11-04", "2023-11-08")]),
        ("a month ago", [("2023-10-09", "2023-10-25")]),
        ("yesterday", [("2023-11-15", "2023-11-15")]),
        ("today", [("2023-11-16", "2023-11-16")]),
        ("last week", [("2023-11-06", "2023-11-12")]),
        ("this week", [("2023-11-13", "2023-11-19")]),
        ("last weekend", [("2023-11-11", "2023-11-12")]),
        ("last Thursday", [("2023-11-09", "2023-11-09")]),
        ("last Wednesday", [("2023-11-15", "2023-11-15")]),
        ("last month", [("2023-10-01", "2023-10-31")]),
        ("last year", [("2022-01-01", "2022-12-31")]),
        ("this year", [("2023-01-01", "2023-12-31")]),
        ("Where was I in 2021?", [("2021-01-01", "2021-12-31")]),
        ("between 1 March and 5 April 2023", [("2023-03-01", "2023-03-01"), ("2023-04-05", "2023-04-05")]),
    ],
)
def test_times(text: str, expected: list[tuple[str, str]]) -> None:
    assert days(text) == expected


@pytest.mark.parametrize(
    "text", ["May I ask you something?", "You march on", "31 June 2023", "30 February", "at 20231", ""]
)
def test_what_names_no_time(text: str) -> None:
    assert days(text) == []


@given(st.text(max_size=80))
def test_no_text_is_refused(text: str) -> None:
    for span in spans(text, ASKED):
        assert span.start < span.end
        assert span.start in span
        assert span.end not in span

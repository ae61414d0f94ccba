"""What the calendar tells exactly: the weekday of a date, the days between two, and which years are leap years.

Doors: `computed`, `checked`. Dates are written with the month's name or as 2024-05-14: which of 5/6/2024 is the month
is not told. They are Gregorian, and judged from the year on in which every country counted so.
"""

from __future__ import annotations

import re
from calendar import isleap
from collections.abc import Iterator
from datetime import date
from fractions import Fraction

from society.checks.check import Check
from society.checks.computed import Computed

_SINCE = 1927
_LEAPS_SINCE = 1753
"""The first year for leap years, whose rule is known by the Gregorian one since then wherever English is spoken."""
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DAY = r"\d\d?(?:st|nd|rd|th)?"
_DATE = rf"(?:\d{{4}}-\d\d-\d\d|{_DAY} (?:of )?{_MONTH},? \d{{4}}|{_MONTH} {_DAY},? \d{{4}})"
_WEEKDAY = rf"({'|'.join(_WEEKDAYS)})"
_SUPPOSED = re.compile(r"(?i)\b(?:if|when|whether|suppose|assume|assuming|unless|not|julian)\b[^.;:!?]*$")
_END = r"(?=\s*(?:[.,;:!?)]|$|(?:and|so|because|since|but)\b))"

_ASKED_WEEKDAY = (
    rf"(?:on )?(?:what|which) (?:day of the week|weekday|day) (?:is|was|will|did|does)(?: it)?(?: be)?(?: on)? "
    rf"(?P<on>{_DATE})(?: (?:be|fall|fall on))?"
)
_ASKED_DAYS = (
    rf"how many days (?:are|is|lie|pass)(?: there)? (?:between|from) (?P<first>{_DATE}) "
    rf"(?:and|to|until) (?P<last>{_DATE})"
)
_ASKED_LEAP = r"(?:is|was|will)(?: the year)? (?P<year>\d{4})(?: be)? a leap year"
_ASKED = re.compile(rf"(?i)(?:{_ASKED_WEEKDAY}|{_ASKED_DAYS}|{_ASKED_LEAP})\s*[?.]?")
_CLAIMED_WEEKDAY = re.compile(rf"(?i)\b({_DATE}) (?:is|was|will be|falls on|fell on)(?: an?)? {_WEEKDAY}\b{_END}")
_CLAIMED_DAYS = re.compile(
    rf"(?i)\b(\d{{1,6}}) days (?:between|from) ({_DATE}) (?:and|to|until) ({_DATE}){_END}"
    rf"|\b(?:between|from) ({_DATE}) (?:and|to|until) ({_DATE}) (?:there )?(?:are|is) (\d{{1,6}}) days{_END}"
)
_CLAIMED_LEAP = re.compile(rf"(?i)(?<![-\d])(\d{{4}}) (?:is|was)( not|n't)? a leap year{_END}")


def computed(question: str) -> Computed | None:
    """The answer of a question that asks for a weekday, for the days between two dates, or whether a year is a leap
    year, and for nothing else. Where days are counted the last may be meant too, so one more or less is not judged."""
    asked = _ASKED.fullmatch(" ".join(question.split()))
    if asked is None:
        return None
    if asked["year"]:
        leaps = _is_leap(int(asked["year"]))
        return None if leaps is None else Computed("calendar", "yes" if leaps else "no", words=frozenset({"yes", "no"}))
    if asked["on"]:
        on = _date(asked["on"])
        if on is None:
            return None
        return Computed("calendar", _WEEKDAYS[on.weekday()].title(), words=frozenset(_WEEKDAYS))
    days = _days(asked["first"], asked["last"])
    return None if days is None else Computed("calendar", str(days), number=Fraction(days), near=1)


def checked(argument: str) -> list[Check]:
    """What an argument says of the calendar. What it only supposes is not judged."""
    text = " ".join(argument.split())
    return [
        Check("calendar", match[0].strip(), passed)
        for match, passed in _claims(text)
        if passed is not None and not _SUPPOSED.search(text[max(0, match.start() - 100) : match.start()])
    ]


def _claims(text: str) -> Iterator[tuple[re.Match[str], bool | None]]:
    for match in _CLAIMED_WEEKDAY.finditer(text):
        on = _date(match[1])
        yield match, None if on is None else _WEEKDAYS[on.weekday()] == match[2].lower()
    for match in _CLAIMED_DAYS.finditer(text):
        said, first, last = (match[1], match[2], match[3]) if match[1] else (match[6], match[4], match[5])
        days = _days(first, last)
        off = None if days is None else abs(days - int(said))
        yield match, None if off in (None, 1) else off == 0
    for match in _CLAIMED_LEAP.finditer(text):
        leaps = _is_leap(int(match[1]))
        yield match, None if leaps is None else leaps != bool(match[2])


def _days(first: str, last: str) -> int | None:
    one, other = _date(first), _date(last)
    return None if one is None or other is None else abs((other - one).days)


def _is_leap(year: int) -> bool | None:
    return None if year < _LEAPS_SINCE else isleap(year)


def _date(text: str) -> date | None:
    """None of a day that there is not, or that is too long ago."""
    year, month, day = _parts(text.lower())
    try:
        return date(year, month, day) if year >= _SINCE else None
    except ValueError:
        return None


def _parts(text: str) -> tuple[int, int, int]:
    if match := re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)", text):
        return int(match[1]), int(match[2]), int(match[3])
    *_, year = numbers = re.findall(r"\d+", text)
    name = next(word for word in re.findall(r"[a-z]+", text) if word[:3] in _MONTHS)
    return int(year), _MONTHS.index(name[:3]) + 1, int(numbers[0])

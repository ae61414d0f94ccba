"""Times that a question names: "last May", "two weeks ago", "in the summer of 2023", "on 5 May".

Door: `spans`. Each time becomes the days that it may mean, seen from the moment of asking; a month without a year is
the last one that has begun. English only. What names no time gives no span, and a question is never refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            ("january", "jan"),
            ("february", "feb"),
            ("march", "mar"),
            ("april", "apr"),
            ("may",),
            ("june", "jun"),
            ("july", "jul"),
            ("august", "aug"),
            ("september", "sept", "sep"),
            ("october", "oct"),
            ("november", "nov"),
            ("december", "dec"),
        ),
        start=1,
    )
    for name in names
}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SEASONS = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}
"""First months, on the northern half."""
_COUNTS = {
    "a": 1,
    "an": 1,
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "a couple of": 2,
    "a few": 3,
}
_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}

_MONTH = "|".join(_MONTHS)
_SEASON = "|".join(_SEASONS)
_COUNT = r"\d{1,3}|" + "|".join(sorted(_COUNTS, key=len, reverse=True))
_PATTERN = re.compile(
    rf"""\b(?:
    (?P<iso>(?P<iso_year>(?:19|20)\d\d)-(?P<iso_month>\d\d)(?:-(?P<iso_day>\d\d))?)
    | (?P<day_first>(?P<d1>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?(?P<m1>{_MONTH})\b\.?(?:,?\s+(?P<y1>(?:19|20)\d\d))?)
    | (?P<month_first>(?P<m2>{_MONTH})\.?\s+(?P<d2>\d{{1,2}})(?:st|nd|rd|th)?\b(?!:)(?:,?\s+(?P<y2>(?:19|20)\d\d))?)
    | (?P<month>(?:(?P<which>last|this|next|in|since|by|during|of|early|late|mid)[\s-]+)(?P<m3>{_MONTH})\b\.?
        (?:,?\s+(?:of\s+)?(?P<y3>(?:19|20)\d\d))?)
    | (?P<dated_month>(?P<m4>{_MONTH})\.?,?\s+(?:of\s+)?(?P<y4>(?:19|20)\d\d))
    | (?P<season>(?P<s>{_SEASON})\b(?:\s+(?:of\s+)?(?P<y5>(?:19|20)\d\d))?)
    | (?P<ago>(?P<count>{_COUNT})\s+(?P<unit>day|week|month|year)s?\s+ago)
    | (?P<near>(?P<side>last|this|past)\s+(?P<near_unit>weekend|week|month|year|{"|".join(_WEEKDAYS)}))
    | (?P<word>yesterday|today|tonight|this\s+morning)
    | (?P<year>(?:19|20)\d\d)
    )\b""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Span:
    """From the first moment of its first day to the end of its last, in seconds since the epoch (UTC days)."""

    start: float
    end: float

    def __contains__(self, at: float) -> bool:
        return self.start <= at < self.end

    def widened(self, days: float) -> Span:
        """With so many more days on both sides."""
        return Span(self.start - days * 86_400, self.end + days * 86_400)


def spans(text: str, asked_at: float) -> list[Span]:
    """The times that a text names, in order."""
    today = datetime.fromtimestamp(asked_at, UTC).date()
    return [span for match in _PATTERN.finditer(text.casefold()) for span in _read(match, today)]


def _read(match: re.Match[str], today: date) -> Iterator[Span]:
    kind, found = match.lastgroup, match.groupdict()
    for name in ("iso", "day_first", "month_first", "month", "dated_month", "season", "ago", "near", "word", "year"):
        if found[name]:
            kind = name
            break
    try:
        first, last = _days(kind or "", found, today)
    except (ValueError, OverflowError):  # 31 June, or a day before the calendar begins
        return
    start, end = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (first, last))
    yield Span(start.timestamp(), end.timestamp() + 86_400)


def _days(kind: str, found: dict[str, str | None], today: date) -> tuple[date, date]:
    """The first and the last day."""
    match kind:
        case "iso":
            return _iso(found)
        case "day_first" | "month_first":
            named, month, year = (found[f"{part}{1 if kind == 'day_first' else 2}"] for part in "dmy")
            return _on(int(named or 0), _MONTHS[month or ""], year, today)
        case "month" | "dated_month":
            number = 3 if kind == "month" else 4
            return _in_month(_MONTHS[found[f"m{number}"] or ""], found[f"y{number}"], today)
        case "season":
            return _in_season(_SEASONS[found["s"] or ""], found["y5"], today)
        case "ago":
            return _ago(found["count"] or "", found["unit"] or "", today)
        case "near":
            return _near(found["side"] or "", found["near_unit"] or "", today)
        case "word":
            day = today - timedelta(days=found["word"] == "yesterday")
            return day, day
        case _:
            number = int(found["year"] or 0)
            return date(number, 1, 1), date(number, 12, 31)


def _iso(found: dict[str, str | None]) -> tuple[date, date]:
    year, month = int(found["iso_year"] or 0), int(found["iso_month"] or 0)
    if found["iso_day"] is None:
        return _month(year, month)
    day = date(year, month, int(found["iso_day"]))
    return day, day


def _on(day: int, month: int, year: str | None, today: date) -> tuple[date, date]:
    if year is not None:
        named = date(int(year), month, day)
    elif (named := date(today.year, month, day)) > today:
        named = date(today.year - 1, month, day)
    return named, named


def _in_month(month: int, year: str | None, today: date) -> tuple[date, date]:
    if year is not None:
        return _month(int(year), month)
    return _month(today.year if month <= today.month else today.year - 1, month)


def _in_season(first: int, year: str | None, today: date) -> tuple[date, date]:
    number = today.year if year is None else int(year)
    if year is None and date(number, first, 1) > today:
        number -= 1
    end = _month(number + (first + 1) // 12, (first + 1) % 12 + 1)[1]
    return date(number, first, 1), end


def _ago(count: str, unit: str, today: date) -> tuple[date, date]:
    """The day itself, give or take a quarter of what is counted."""
    number = int(count) if count.isdigit() else _COUNTS[count]
    middle = today - timedelta(days=number * _DAYS[unit])
    slack = timedelta(days=number * _DAYS[unit] // 4 + (unit != "day"))
    return middle - slack, middle + slack


def _near(side: str, unit: str, today: date) -> tuple[date, date]:
    monday = today - timedelta(days=today.weekday())
    back = side != "this"
    match unit:
        case "week":
            start = monday - timedelta(days=7 * back)
            return start, start + timedelta(days=6)
        case "weekend":
            saturday = monday + timedelta(days=5 - 7 * back)
            return saturday, saturday + timedelta(days=1)
        case "month":
            last = today.replace(day=1) - timedelta(days=1)
            return _month(last.year, last.month) if back else _month(today.year, today.month)
        case "year":
            return date(today.year - back, 1, 1), date(today.year - back, 12, 31)
        case _:
            ahead = (today.weekday() - _WEEKDAYS.index(unit)) % 7
            day = today - timedelta(days=ahead or 7)
            return day, day


def _month(year: int, month: int) -> tuple[date, date]:
    first = date(year, month, 1)
    following = date(year + month // 12, month % 12 + 1, 1)
    return first, following - timedelta(days=1)

"""Times as exports write them, in seconds since the epoch; None where a time is absent or absurd.

Doors: `seconds`, `iso`, `local`, `named_day`, and `zone` for the option that says where a time without a zone was
written.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from personal_data.errors import InvalidInput
from personal_data.importers.parsed import Options

_DAY = re.compile(r"(\d{4})[-_.]?(\d\d)[-_.]?(\d\d)(?!\d)")
_LATEST = datetime(2201, 1, 1, tzinfo=UTC).timestamp()


def seconds(value: object) -> float | None:
    """A number of seconds, or one written as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < _LATEST else None  # false for what is not a number, too


def iso(value: object) -> float | None:
    """A date and time in ISO 8601; UTC where it names no zone."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return local(moment, UTC) if moment.tzinfo is None else seconds(moment.timestamp())


def local(moment: datetime, where: tzinfo | None) -> float | None:
    """A moment on the clocks of a zone, the machine's own where it is None."""
    try:
        return seconds(moment.replace(tzinfo=where).timestamp())
    except (ValueError, OverflowError, OSError):  # years that the machine's own clock does not know
        return None


def zone(options: Options) -> tzinfo | None:
    """The zone of an option.

    Raises:
        InvalidInput: no zone has that name.
    """
    if options.timezone is None:
        return None
    try:
        return ZoneInfo(options.timezone)
    except (KeyError, ValueError, OSError) as error:  # unknown, malformed, or a folder of zones
        raise InvalidInput(f"{options.timezone!r}: no such timezone; say Europe/Berlin", param="timezone") from error


def named_day(name: str) -> datetime | None:
    """The day that a file is named after: `2024-05-01.md`, `2024-05-01 Riga.txt`, `20240501_notes.txt`."""
    found = _DAY.match(name)
    try:
        return None if found is None else datetime(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        return None

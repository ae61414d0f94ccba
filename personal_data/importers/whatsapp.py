"""WhatsApp's exported chats: a text file of lines as the phone wrote them, in its language and its order of dates.

Door: `claim`. Android's `12/05/2023, 18:37 - Ana: text` and iOS's `[12/05/2023, 18:37:05] Ana: text`. A first pass over
the file finds the order of day, month and year, a second one reads. Nothing tells who of the speakers owns the export.
What the app itself wrote, in place of media or of deleted messages, is known by `whatsapp_notices.py`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from functools import partial

from personal_data.errors import InvalidInput
from personal_data.importers.parsed import Item, Options, Skipped, Unit
from personal_data.importers.source import File
from personal_data.importers.times import local, zone
from personal_data.importers.whatsapp_dates import Fields, Order, OrderFinder
from personal_data.importers.whatsapp_notices import MARKS, notice, spoken

_MAX_LINE = 2**20
_MAX_MESSAGE = 2**20
"""Sixteen times what the app lets anybody write."""
_MAX_NAME = 100
_M = f"[{MARKS}]*"
_HALF = r"(?i:[ap]\.?\s?m\.?|[上下]午|午[前後]|오[전후]|[πμ]\.?μ\.?|[صم]|ö[ös])"
_AFTERNOON = frozenset({"pm", "下午", "午後", "오후", "μμ", "م", "ös"})
_HEADER = re.compile(
    rf"{_M}(?P<open>\[)?{_M}"
    rf"(?P<a>\d{{1,4}}){_M}(?P<dot>[./-])\s?{_M}(?P<b>\d{{1,2}}){_M}(?P=dot)\s?{_M}(?P<c>\d{{1,4}})\.?"
    rf"{_M}[,\s]\s*(?:(?:à|às|um|at|klo|kl\.|alle|a\slas)\s+)?{_M}(?:(?P<before>{_HALF})\s?)?"
    rf"(?P<hour>\d{{1,2}})[:.](?P<minute>\d\d)(?:[:.](?P<second>\d\d))?(?:\s?{_M}(?P<after>{_HALF}))?{_M}"
    rf"(?(open)\]\s?|\s[-–]\s){_M}(?P<rest>.*)",
    re.DOTALL,
)
_QUOTES = '"“”„«»'


@dataclass(frozen=True, slots=True)
class _Header:
    """How a message begins; all of a file begin in the same form."""

    form: tuple[bool, str, bool]
    date: Fields
    time: tuple[int, int, int]
    half: str
    rest: str


@dataclass(slots=True)
class _Message:
    """A message with all of its lines, as far as they can belong to one."""

    number: int
    header: _Header
    lines: list[str] = field(default_factory=list)
    size: int = 0

    def add(self, line: str) -> None:
        self.size += len(line)
        if self.size <= _MAX_MESSAGE:
            self.lines.append(line)


def claim(files: Sequence[File], options: Options) -> list[Unit]:
    """The files that hold WhatsApp chats."""
    return [
        Unit("whatsapp", file.name, (file.name,), partial(_read, file, options)) for file in files if _is_ours(file)
    ]


def _is_ours(file: File) -> bool:
    """It begins as a message does, and somebody says something in it."""
    try:
        head = file.head()
    except InvalidInput:  # broken within its zip
        return False
    wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    lines = head.decode("utf-16" if wide else "utf-8-sig", "replace").lstrip().splitlines()
    if not lines or _header(lines[0]) is None:
        return False
    return any(header and _said(header) for header in map(_header, lines))


def _read(file: File, options: Options) -> Iterator[Item | Skipped]:
    where = zone(options)
    finder = OrderFinder()
    form = None
    for _, header in _headers(file):
        if header is not None and form in (None, header.form):
            form = header.form
            finder.see(header.date)
    order = finder.order(file.name, options.date_order)
    for message in _messages(file, form):
        yield _entry(file.name, message, order, where)


def _headers(file: File) -> Iterator[tuple[tuple[int, str], _Header | None]]:
    return ((line, _header(line[1])) for line in _lines(file))


def _messages(file: File, form: tuple[bool, str, bool] | None) -> Iterator[_Message]:
    message: _Message | None = None
    for (number, line), header in _headers(file):
        if header is not None and header.form == form:
            if message is not None:
                yield message
            message = _Message(number, header)
        elif message is not None:
            message.add(line)
    if message is not None:
        yield message


def _lines(file: File) -> Iterator[tuple[int, str]]:
    number = 0
    with file.open() as stream, io.TextIOWrapper(stream, "utf-8-sig") as text:
        try:
            while line := text.readline(_MAX_LINE):
                number += 1
                if "\0" in line or len(line) == _MAX_LINE:
                    raise _fault(file, f"line {number} is no text of a chat; export it again")
                yield number, line.rstrip("\n")
        except UnicodeDecodeError as error:
            advice = "use the file as it was exported, or save it as UTF-8"
            raise _fault(file, f"not UTF-8 text after line {number}; {advice}") from error


def _fault(file: File, what: str) -> InvalidInput:
    return InvalidInput(f"{file.name}: {what}", param="file")


def _header(line: str) -> _Header | None:
    found = _HEADER.match(line)
    if found is None:
        return None
    half = found["before"] or found["after"] or ""
    return _Header(
        form=(found["open"] is not None, found["dot"], found["second"] is not None),
        date=Fields(found["a"], found["b"], found["c"], found["dot"]),
        time=(int(found["hour"]), int(found["minute"]), int(found["second"] or 0)),
        half="".join(half.casefold().replace(".", "").split()),
        rest=found["rest"],
    )


def _entry(name: str, message: _Message, order: Order, where: tzinfo | None) -> Item | Skipped:
    source = f"{name}#{message.number}"
    said = _said(message.header)
    if said is None:
        return Skipped(source, "a notice of the app")
    if message.size > _MAX_MESSAGE:
        return Skipped(source, "longer than any message")
    moment = _moment(message.header, order)
    if moment is None:
        return Skipped(source, "a date or time that does not exist")
    speaker, first = said
    text = spoken([first, *message.lines])
    if (reason := notice(text)) is not None:
        return Skipped(source, reason)
    return Item(text, speaker, None, local(moment, where), source, name)


def _said(header: _Header) -> tuple[str, str] | None:
    """Who speaks, and what they say on the first line; None for what the app says."""
    name, colon, text = header.rest.partition(": ")
    if not colon and header.rest.endswith(":"):
        name, colon = header.rest[:-1], ":"
    name = " ".join(re.sub(f"[{MARKS}]", "", name).split()).removeprefix("~").strip()
    # A quote that is open at the colon holds it: Ana named the group "Trip: 2023".
    quoted = sum(map(name.count, _QUOTES)) % 2
    return (name, text) if colon and name and len(name) <= _MAX_NAME and not quoted else None


def _moment(header: _Header, order: Order) -> datetime | None:
    date = header.date.read(order)
    hour, minute, second = header.time
    if header.half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (header.half in _AFTERNOON)
    if date is None:
        return None
    try:
        return datetime(date.year, date.month, date.day, hour, minute, second)
    except ValueError:
        return None

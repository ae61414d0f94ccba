"""What every importer yields: items with who said them and when, and what was left out and why.

A format is a file of this folder with one door, `claim(files, options)`: of the files given it takes those it knows by
their content, as units. A unit is read lazily, from start to end, in bounded memory; each has a status of its own.
Formats know nothing of SQL, of people's accounts or of what is remembered before (`personal_data/importing.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["turn", "document"]
DateOrder = Literal["dmy", "mdy", "ymd"]


@dataclass(frozen=True, slots=True)
class Options:
    """What a file may leave open. `timezone` is an IANA name for times without a zone; None is the machine's own."""

    date_order: DateOrder | None = None
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that was said or written.

    `speaker` as the source names them, "" where it names nobody (a document of the owner's own). `own` True: the format
    knows that the owner wrote it (the human side of a chat with an assistant, a note); False: the format knows that
    somebody else did; None: the owner must say which speaker is theirs. `at` in seconds since the epoch, None where the
    source does not tell. `source` names the place within the upload (`conversations.json#conv/message`), `thread` the
    conversation that neighbouring items share.
    """

    text: str
    speaker: str
    own: bool | None
    at: float | None
    source: str
    thread: str
    kind: Kind = "turn"


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that is not imported, and why, in words for its owner."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unit:
    """A part of an upload that is read as a whole: a file, a channel, a mailbox.

    `read` raises InvalidInput, with what is wrong and what to do, where the unit cannot be read (any further).
    """

    format: str
    name: str
    files: tuple[str, ...]
    read: Callable[[], Iterator[Item | Skipped]]

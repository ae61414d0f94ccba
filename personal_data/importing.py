"""Bringing one's data in: look first, then import, and undo it whole.

Doors: `begin` → `Importing.look` → `choose` → `Importing.run`, and `.undo`. Each part of an upload (a file, a channel,
a mailbox) is read by the format that knows it, and has a report of its own. A part that cannot be read to its end
leaves nothing behind. Running an import again goes on where it broke off: what is stored is known by its content, and
nothing is stored twice. Secrets are held back: a mark stands in their place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from personal_data.database import Database
from personal_data.errors import Conflict, InvalidInput, NotFound
from personal_data.importers import (
    chatgpt,
    claude,
    mail,
    markdown,
    pdf,
    plaintext,
    slack,
    table,
    takeout,
    telegram,
    whatsapp,
)
from personal_data.importers.parsed import Item, Options, Skipped, Unit
from personal_data.importers.source import File, files_of
from personal_data.importers.times import zone
from personal_data.memory import Memory, NewMemory, Origin, pieces
from personal_data.records import Import, User, now
from personal_data.secrets import hold_back
from personal_data.sharing import check_scope

_BATCH = 500
_SPEAKERS = 200
"""Names that a report lists, the most frequent ones."""
_THREAD_CHARS = 200

Status = Literal["ready", "indexed", "skipped", "failed"]
State = Literal["looking", "ready", "running", "done", "failed", "undone"]
Progress = Callable[[str, int, int, str], None]
"""(looking or importing, parts done, parts, where it is); may raise to stop."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the owner decides: which speakers are theirs, who may see it all, and what the files leave open."""

    me: tuple[str, ...] = ()
    scope: str | None = None
    options: Options = field(default_factory=Options)

    def as_json(self) -> dict[str, Any]:
        """As `from_json` reads it."""
        return {"me": list(self.me), "scope": self.scope, **asdict(self.options)}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Choice:
        """What was stored."""
        options = Options(stored.get("date_order"), stored.get("timezone"))
        return cls(tuple(stored.get("me", ())), stored.get("scope"), options)


@dataclass(slots=True)
class Report:
    """How one part fared: how many items it holds, from when to when, who speaks, what was left out and why."""

    name: str
    format: str | None
    status: Status = "ready"
    items: int = 0
    first: float | None = None
    last: float | None = None
    speakers: Counter[str] = field(default_factory=Counter)
    """Whose lines the owner must claim or not: those that the format does not know to be theirs or others'."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Reason → how many."""
    error: str | None = None

    def take(self, found: Item | Skipped) -> None:
        """Count one of its items."""
        if isinstance(found, Skipped):
            self.left_out[found.reason] += 1
            return
        self.items += 1
        if found.own is None and found.speaker:
            self.speakers[found.speaker] += 1
        if found.at is not None:
            self.first = found.at if self.first is None else min(self.first, found.at)
            self.last = found.at if self.last is None else max(self.last, found.at)

    def as_json(self) -> dict[str, Any]:
        """For the records and for people."""
        return {
            "name": self.name,
            "format": self.format,
            "status": self.status,
            "items": self.items,
            "first": self.first,
            "last": self.last,
            "speakers": dict(self.speakers.most_common(_SPEAKERS)),
            "left_out": dict(self.left_out.most_common(_SPEAKERS)),
            "error": self.error,
        }


def totals(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the reports of all parts, as JSON, come to; `first` and `last` are None where nothing is dated."""
    speakers, left_out, states = Counter[str](), Counter[str](), Counter[str]()
    for part in parts:
        speakers.update(part["speakers"])
        left_out.update(part["left_out"])
        states[part["status"]] += 1
    return {
        "parts": len(parts),
        "statuses": dict(states),
        "items": sum(part["items"] for part in parts),
        "first": min((part["first"] for part in parts if part["first"] is not None), default=None),
        "last": max((part["last"] for part in parts if part["last"] is not None), default=None),
        "speakers": dict(speakers.most_common(_SPEAKERS)),
        "left_out": dict(left_out.most_common(_SPEAKERS)),
    }


class Importing:
    """The imports of all owners; every method takes the owner first and sees nobody else's."""

    def __init__(self, database: Database, memory: Memory) -> None:
        self._database, self._memory = database, memory

    def look(self, user_id: str, import_id: str, path: Path, progress: Progress = lambda *_: None) -> list[Report]:
        """What an upload holds: counts, dates, speakers. No memory is stored; the reports are, with the import.

        Raises:
            NotFound: no such import of this owner.
            InvalidInput: the upload as a whole cannot be read.
        """
        with self._database.reading() as session:
            choice = Choice.from_json(owned(session, user_id, import_id).choice)
        units, reports = _parts(path, choice.options)
        for number, (unit, report) in enumerate(zip(units, reports, strict=False)):
            try:
                found = unit.read()
                while batch := list(islice(found, _BATCH)):
                    _take(report, batch)
                    progress("looking", number, len(units), _place(unit, report))
            except InvalidInput as error:
                report.status, report.error = "failed", str(error)
        self._keep(user_id, import_id, reports, was="looking", now_is="ready")
        return reports

    def run(self, user_id: str, import_id: str, path: Path, progress: Progress = lambda *_: None) -> list[Report]:
        """Import an upload as its owner chose, or go on with one that broke off.

        Raises:
            NotFound: no such import of this owner.
            Conflict: it was undone.
            InvalidInput: the upload as a whole cannot be read.
        """
        with self._database.reading() as session:
            begun = owned(session, user_id, import_id)
            if begun.state == "undone":
                raise Conflict(f"import {import_id} was undone; upload it again")
            choice = Choice.from_json(begun.choice)
            owner = session.get_one(User, user_id).name
        units, reports = _parts(path, choice.options)
        for number, (unit, report) in enumerate(zip(units, reports, strict=False)):
            told = partial(progress, "importing", number, len(units))
            self._read(user_id, Origin(import_id, number), unit, report, partial(_memories, unit, choice, owner), told)
        self._keep(user_id, import_id, reports, was="running", now_is="done")
        return reports

    def fail(self, user_id: str, import_id: str, error: str) -> None:
        """Write down that the upload as a whole cannot be read, and why."""
        with self._database.session() as session:
            begun = owned(session, user_id, import_id)
            if begun.state != "undone":
                begun.state, begun.error, begun.finished_at = "failed", error, now()

    def _keep(self, user_id: str, import_id: str, reports: Sequence[Report], *, was: State, now_is: State) -> None:
        with self._database.session() as session:
            begun = owned(session, user_id, import_id)
            begun.units = [report.as_json() for report in reports]
            if begun.state == was:
                begun.state = now_is
                begun.finished_at = now() if now_is == "done" else None

    def _read(
        self,
        user_id: str,
        origin: Origin,
        unit: Unit,
        report: Report,
        memories: Callable[[Item], Iterator[NewMemory]],
        told: Callable[[str], None],
    ) -> None:
        try:
            found = unit.read()
            told(_place(unit, report))
            while batch := list(islice(found, _BATCH)):
                said = _take(report, batch)
                self._memory.remember(user_id, [memory for item in said for memory in memories(item)], origin=origin)
                told(_place(unit, report))
            report.status = "indexed" if report.items else "skipped"
        except InvalidInput as error:
            self._memory.take_back(user_id, origin.import_id, origin.unit)
            report.status, report.error = "failed", str(error)

    def undo(self, user_id: str, import_id: str) -> int:
        """Forget all that an import brought and that nothing else holds; how many memories that were.

        One that is running stops at its next batch.

        Raises:
            NotFound: no such import of this owner.
        """
        with self._database.session() as session:
            owned(session, user_id, import_id).state = "undone"
        return self._memory.take_back(user_id, import_id)


def begin(session: Session, user_id: str, import_id: str, name: str, options: Options) -> Import:
    """Write down that an upload is here to be looked at.

    Raises:
        InvalidInput: an unknown timezone.
    """
    zone(options)
    begun = Import(id=import_id, user_id=user_id, name=name[:300], choice=Choice(options=options).as_json())
    session.add(begun)
    session.flush()
    return begun


def choose(session: Session, user_id: str, import_id: str, choice: Choice) -> Import:
    """The owner has looked, and says how it is to be imported. Choosing again is fine until it is done.

    Raises:
        NotFound: no such import of this owner.
        InvalidInput: an unknown scope or timezone.
        Conflict: it is done, or was undone.
    """
    if choice.scope is not None:
        check_scope(choice.scope)
    zone(choice.options)
    begun = owned(session, user_id, import_id)
    if begun.state in ("done", "undone"):
        raise Conflict(f"import {import_id} is {begun.state}; upload it again")
    begun.choice, begun.state, begun.error = choice.as_json(), "running", None
    return begun


def imports(session: Session, user_id: str) -> list[Import]:
    """The owner's imports, newest first."""
    return list(session.scalars(select(Import).where(Import.user_id == user_id).order_by(Import.id.desc())))


def owned(session: Session, user_id: str, import_id: str) -> Import:
    """An import of this owner.

    Raises:
        NotFound: there is no such import.
    """
    found = session.get(Import, import_id)
    if found is None or found.user_id != user_id:
        raise NotFound(f"no import {import_id}")
    return found


def _parts(path: Path, options: Options) -> tuple[list[Unit], list[Report]]:
    """The parts of an upload, in an order that is always the same, with a report each; behind them the reports of what
    no format knows and of what was refused."""
    upload = files_of(path)
    units: list[Unit] = []
    left: Sequence[File] = upload.files
    for claim in FORMATS.values():
        claimed = claim(left, options)
        taken = {name for unit in claimed for name in unit.files}
        units += claimed
        left = [file for file in left if file.name not in taken]
    reports = [Report(unit.name, unit.format) for unit in units]
    reports += [Report(file.name, None, "skipped", error="no format that we know") for file in left]
    reports += [Report(refused.source, None, "skipped", error=refused.reason) for refused in upload.refused]
    return units, reports


def _take(report: Report, batch: Sequence[Item | Skipped]) -> list[Item]:
    """Count what was found; the items of it, without their secrets."""
    said: list[Item] = []
    for found in batch:
        report.take(found)
        if isinstance(found, Item):
            text, held_back = hold_back(found.text)
            report.left_out.update({f"held back: {kind}": count for kind, count in held_back.items()})
            said.append(replace(found, text=text))
    return said


def _place(unit: Unit, report: Report) -> str:
    return f"{unit.name}: {report.items:,}"


def _memories(unit: Unit, choice: Choice, owner: str, item: Item) -> Iterator[NewMemory]:
    """An item as memories: one, unless it is longer than a memory may be. What is the owner's goes by their name."""
    own = item.speaker in choice.me if item.own is None else item.own
    whole = NewMemory(
        text="",
        speaker=owner if own else item.speaker or unit.name,
        kind=item.kind,
        scope=choice.scope,
        event_at=item.at,
        sources=(f"{unit.format}:{item.source}",),
        thread=f"{unit.format}:{item.thread}"[:_THREAD_CHARS],
        own=own,
    )
    for text in pieces(item.text):
        if text:
            yield replace(whole, text=text)


FORMATS: dict[str, Callable[[Sequence[File], Options], list[Unit]]] = {
    "chatgpt": chatgpt.claim,
    "claude": claude.claim,
    "telegram": telegram.claim,
    "slack": slack.claim,
    "takeout": takeout.claim,
    "whatsapp": whatsapp.claim,
    "mail": mail.claim,
    "pdf": pdf.claim,
    "markdown": markdown.claim,
    "csv": table.claim,
    "text": plaintext.claim,
}
"""In the order in which they are asked: those that know their files best come first."""

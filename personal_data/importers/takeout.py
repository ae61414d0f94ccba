"""Google Takeout: notes of Keep and conversations of Google Chat, wherever they lie; its folders' names are localised.

Door: `claim`. Notes are the owner's. Of a conversation it is known who the owner is where the upload has the
`user_info.json` that tells their address. Mail of a Takeout is a mailbox (`mail.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from personal_data.errors import InvalidInput
from personal_data.importers.folders import by_folder, title
from personal_data.importers.jsonstream import TOO_LARGE, outline, values
from personal_data.importers.parsed import Item, Options, Skipped, Unit
from personal_data.importers.source import File
from personal_data.importers.takeout_chat import About, is_about, is_chat, read_chat
from personal_data.importers.times import seconds

_FLAGS = frozenset({"isTrashed", "isPinned", "isArchived"})
_TIMES = frozenset({"userEditedTimestampUsec", "createdTimestampUsec"})
_BODIES = frozenset({"title", "textContent", "listContent"})


def claim(files: Sequence[File], options: Options) -> list[Unit]:
    """A unit for the notes of each folder, and one for each conversation."""
    notes, chats, about = [], [], []
    for file in files:
        found = outline(file)
        if found >= _FLAGS or not (found.isdisjoint(_TIMES) or found.isdisjoint(_BODIES)):
            notes.append(file)
        elif is_chat(found):
            chats.append(file)
        elif is_about(found):
            about.append(file)
    known = About.of(about) if chats else About()
    units = [
        Unit("takeout", title(group), tuple(file.name for file in group), partial(_notes, group))
        for group in by_folder(notes).values()
    ]
    return units + [
        Unit(
            "takeout", known.group(file) or file.name, (file.name, *known.files(file)), partial(read_chat, file, known)
        )
        for file in chats
    ]


def _notes(files: Sequence[File]) -> Iterator[Item | Skipped]:
    for file in files:
        try:
            for _, note in values(file, ("",)):
                yield _note(file.name, note)
        except InvalidInput as error:  # the other notes are whole
            yield Skipped(file.name, str(error))


def _note(name: str, note: Any) -> Item | Skipped:
    if not isinstance(note, dict):
        return Skipped(name, "larger than any note" if note is TOO_LARGE else "a broken note")
    if note.get("isTrashed"):
        return Skipped(name, "in the trash")
    text = "\n".join(filter(None, (_words(note.get("title")), _words(note.get("textContent")), _list(note)))).strip()
    if not text:
        return Skipped(name, "no words in it (a picture, a drawing, a recording)")
    at = _moment(note.get("userEditedTimestampUsec")) or _moment(note.get("createdTimestampUsec"))
    return Item(text, "", True, at, name, name, "document")


def _words(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _list(note: dict[str, Any]) -> str:
    entries = note.get("listContent")
    return "\n".join(
        f"{'☑' if entry.get('isChecked') else '☐'} {text}"
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and (text := _words(entry.get("text")))
    )


def _moment(usec: object) -> float | None:
    """Microseconds since the epoch; 0 stands for a time that is not known."""
    if isinstance(usec, bool) or not isinstance(usec, int | float | str):
        return None
    try:
        return seconds(float(usec) / 1e6) or None
    except (ValueError, OverflowError):
        return None

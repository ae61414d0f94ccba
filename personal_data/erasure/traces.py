"""What rows leave behind when they are gone: bytes in files. Doors: `living`, `look`.

What stands in a living row is no residue: somebody else's text may share a stretch with an erased one, and one's own
may, that one has not asked to erase.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import JSON, LargeBinary, String, Table, select
from sqlalchemy.orm import Session

from personal_data.database import Database
from personal_data.erasure.marks import LONG, Marks, Words, scan
from personal_data.records import ErasureMark, Record

_AT_ONCE = 2**20
_BETWEEN = b"\0" * LONG


@dataclass(slots=True)
class Look:
    """What a look into all files found: places by file, what could not be read, and rows that say the same."""

    residue: dict[str, int] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    living: dict[str, int] = field(default_factory=dict)
    """Table → how many stretches of what was erased stand in its living rows."""


def look(database: Database, folder: Path, marks: Marks, pattern: str = "*") -> Look:
    """Look for the marks in every file below a folder, or in each of a name like `pattern`."""
    found, unread = scan(folder, marks, pattern)
    result = Look(unread=unread)
    if not found:
        return result
    alive = living(database, Marks(np.concatenate(list(found.values()))))
    result.living = {table: len(hits) for table, hits in alive.items()}
    everywhere = np.concatenate([*alive.values(), np.empty(0, np.uint64)])
    for name, hits in found.items():
        if dead := int((~np.isin(hits, everywhere)).sum()):
            result.residue[name] = dead
    return result


def living(database: Database, marks: Marks) -> dict[str, Words]:
    """Which of the marks stand in rows, by table."""
    found: dict[str, Words] = {}
    with database.reading() as session:
        for table in Record.metadata.sorted_tables:
            if table.name == ErasureMark.__tablename__:
                continue
            hits = [hit for data in _pieces(session, table) if len(hit := marks.found(data))]
            if hits:
                found[table.name] = np.unique(np.concatenate(hits))
    return found


def _pieces(session: Session, table: Table) -> Iterator[bytes]:
    """All that a table says, in pieces."""
    columns = [one for one in table.columns if isinstance(one.type, String | JSON | LargeBinary)]
    kept: list[bytes] = []
    size = 0
    for row in session.execute(select(*columns).execution_options(yield_per=500)):
        for value in row:
            forms = _forms(value)
            kept += forms
            size += sum(map(len, forms))
        if size > _AT_ONCE:
            yield _BETWEEN.join(kept)
            kept, size = [], 0
    yield _BETWEEN.join(kept)


def _forms(value: Any) -> list[bytes]:
    if value is None:
        return []
    if isinstance(value, bytes):
        return [value]
    if isinstance(value, str):
        return [value.encode(errors="surrogatepass")]
    return [json.dumps(value).encode(), json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")]

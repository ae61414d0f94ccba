"""What an erasure could not reach, and why, for its receipt. Doors: `out_of_reach`, `index_to_tell`, `told`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import func, select

from personal_data.database import Database
from personal_data.erasure import targets
from personal_data.erasure.marks import SHORT
from personal_data.erasure.traces import Look
from personal_data.portability.tables import Owner
from personal_data.records import Agent, Disclosure, Erasure, MemoryOutbox
from personal_data.settings import Settings


def out_of_reach(settings: Settings, database: Database, erasure: Erasure, owner: Owner) -> Iterator[str]:
    """Where copies may be that nobody here can remove."""
    yield "backups, snapshots and exports that were made of this data before"
    with database.reading() as session:
        if session.scalar(select(Disclosure.id).where(Disclosure.user_id == owner.user_id).limit(1)) is not None:
            yield "what other people and their agents wrote in their own words after it was shown to a debate"
        agent = session.get(Agent, owner.agent_id)
        left = targets.held_elsewhere(session, owner.user_id, erasure.what)
    if left:
        yield f"{left} memories of this import that came in another way too: erase that one as well"
    model = settings.models.get(agent.model) if agent is not None else None
    if agent is not None and model is not None and model.kind != "engine":
        yield f"what the server of model {agent.model!r} keeps of the prompts that it was sent"
    if not database.is_sqlite:
        yield "the log, the replicas and the free space of the PostgreSQL server: its operator's to clean"
    elif not _inside(settings, database):
        yield "the database's file: it lies outside the data folder, where nobody looked for what is left in it"
    yield f"texts shorter than {SHORT} bytes where they stand alone in other rows: they cannot be told from others"


def index_to_tell(database: Database, owner: Owner) -> Iterator[str]:
    """What the index has not heard yet."""
    waiting = select(func.count()).select_from(MemoryOutbox).where(MemoryOutbox.user_id == owner.user_id)
    with database.reading() as session:
        if count := session.scalar(waiting):
            yield f"{count} vectors in the memory index, which is away: it is told as soon as it is back"


def told(found: Look) -> Iterator[str]:
    """What the look into all files leaves to say, beside the residue itself."""
    for table, count in sorted(found.living.items()):
        yield f"{count} stretches of it stand in rows of {table} that were not to be erased: those say the same"
    yield from (f"a file could not be read: {unread}" for unread in found.unread)


def _inside(settings: Settings, database: Database) -> bool:
    path = Path(database.engine.url.database or "").absolute()
    return path.parent == settings.data_dir and path.name == "folkmoot.db"

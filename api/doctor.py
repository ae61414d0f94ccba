"""`folkmoot doctor`: is this installation sound, and its data, and does what should run answer? It changes nothing."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from api import preflight
from api.running import read_running
from personal_data import migrations
from personal_data.database import Database
from personal_data.errors import ConfigurationError, FolkmootError, StorageError
from personal_data.settings import Settings

_WAL_RACE = ((3, 7, 0), (3, 51, 2))
"""SQLite versions whose WAL reset can race between connections (sqlite.org, 3.51.3 release notes)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    found: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine(settings: Settings) -> list[Finding]:
    """Everything, in the order in which it matters."""
    return list(_examine(settings))


def _examine(settings: Settings) -> Iterator[Finding]:
    yield _python()
    yield _sqlite()
    yield _check("import names", preflight.check_names, "ours alone")
    yield _check_found("data folder", lambda: _data_folder(settings.data_dir))
    if settings.data_dir.is_dir():
        needed = settings.min_free_bytes
        yield _check("free disk", lambda: preflight.check_space(settings.data_dir, needed), "enough")
        yield _check_found("database", lambda: _database(settings))
    for name, model in settings.models.items():
        yield _check(f"model {name}", lambda name=name, model=model: preflight.check_model(name, model), _base(model))  # type: ignore[misc]
    if settings.embedding_url is not None:
        yield _check("embedding server", lambda: preflight.check_embedder(settings), settings.embedding_url)
    yield from _processes(settings)


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding("python", sys.version_info >= (3, 11), version)


def _sqlite() -> Finding:
    raced = _WAL_RACE[0] <= sqlite3.sqlite_version_info <= _WAL_RACE[1]
    note = "; has the rare WAL-reset race that 3.51.3 fixes: keep backups" if raced else ""
    return Finding("sqlite", True, sqlite3.sqlite_version + note)


def _data_folder(folder: Path) -> str:
    """Whether it can be used as it is, or made; nothing is written."""
    if folder.is_dir():
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise StorageError(f"{folder} cannot be written; set FOLKMOOT_DATA_DIR to a folder that you may write to")
        return str(folder)
    above = next(path for path in (folder, *folder.parents) if path.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise StorageError(
            f"{folder} cannot be made in {above}; set FOLKMOOT_DATA_DIR to a folder that you may write to"
        )
    return f"{folder}: not there yet, the first `folkmoot serve` makes it"


def _database(settings: Settings) -> str:
    """Schema and pages of the database; a fresh folder has none yet."""
    database = Database(settings.database)
    if database.is_sqlite and not (settings.data_dir / "folkmoot.db").exists() and settings.database_url is None:
        return "none yet: the first `folkmoot serve` makes it"
    try:
        with database.reading() as session:
            schema = session.scalar(sa.text("SELECT version_num FROM alembic_version"))
            sound = session.scalar(sa.text("PRAGMA quick_check(1)")) if database.is_sqlite else "ok"
    except sa.exc.SQLAlchemyError as error:
        raise ConfigurationError(f"cannot be read: {str(error).splitlines()[0]}") from error
    finally:
        database.dispose()
    if sound != "ok":
        raise ConfigurationError(f"damaged: {sound}; restore a backup")
    if schema != (head := _newest_schema()):
        raise ConfigurationError(
            f"schema {schema}, this Folkmoot has {head}: the next `folkmoot serve` brings it there"
        )
    return f"{database.engine.dialect.name}, schema {schema}, pages sound"


def _newest_schema() -> str | None:
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(Path(migrations.__file__).parent)).get_current_head()


def _base(model: Any) -> str:
    return str(model.base or model.model or model.url)


def _processes(settings: Settings) -> Iterator[Finding]:
    running = read_running(settings.data_dir)
    if running is None:
        yield _check("port", lambda: preflight.check_port(settings.host, settings.port), f"{settings.port} is free")
        yield Finding("processes", True, "nothing runs on this data folder")
        return
    for part, answers in _parts(running["url"]).items():
        yield Finding(part, answers, "answers" if answers else f"does not answer; see {settings.logs_dir}")
    for name, pid in running["processes"].items():
        yield Finding(f"process {name}", pid is not None, str(pid or f"has just ended; see {settings.logs_dir}"))


def _parts(url: str) -> dict[str, bool]:
    """What /ready says of each part, of the api alone when it says nothing of the kind."""
    try:
        answer = httpx.get(f"{url}/ready", timeout=5.0, trust_env=False)
        if answer.status_code in (200, 503):
            return {part: answers is True for part, answers in answer.json().items()}
    except (httpx.HTTPError, ValueError, AttributeError):
        pass
    return {"api": False}


def _check(what: str, check: Callable[[], None], found: str) -> Finding:
    def run() -> str:
        check()
        return found

    return _check_found(what, run)


def _check_found(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except FolkmootError as error:
        return Finding(what, False, str(error))

"""One engine and one kind of session: SQLite with WAL and BEGIN IMMEDIATE, or PostgreSQL.

Door: `Database`. Write in `with database.session() as session:`; the block is one short transaction, committed at its
end, rolled back on any error. Read in `with database.reading() as session:`. Never hold one across a model call.
SQLAlchemy's default SQLite transactions silently lose updates between processes, hence the explicit BEGIN IMMEDIATE.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from personal_data.errors import ConfigurationError, StorageError

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA busy_timeout=30000",
    "PRAGMA trusted_schema=OFF",
    "PRAGMA cell_size_check=ON",
    "PRAGMA mmap_size=0",
    "PRAGMA journal_size_limit=67108864",
    "PRAGMA secure_delete=ON",  # what was deleted is overwritten, not merely let go
)
_PATIENCE = "-c lock_timeout=30s -c idle_in_transaction_session_timeout=60s"
"""A process that is frozen inside a transaction must not block the others for ever."""
_MIGRATIONS = Path(__file__).with_name("migrations")
_MIGRATION_LOCK = 0x666F6C6B


class Database:
    """An engine with its sessions. `url` is a SQLAlchemy URL of SQLite (a file) or PostgreSQL (psycopg)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _create_engine(url)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        self._readers = sessionmaker(self.engine.execution_options(reading=True), autoflush=False)

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction.

        Raises:
            StorageError: the disk is full or refuses; nothing of the block was kept.
        """
        try:
            with self._sessions.begin() as session:
                yield session
        except OperationalError as error:
            if (reason := _disk_trouble(error)) is None:
                raise
            raise StorageError(f"database: {reason}; nothing was lost, free some space and try again") from error

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """One read-only snapshot: it takes no write lock and is rolled back at its end. Rows outlive it, detached."""
        with self._readers() as session:
            yield session
            session.expunge_all()

    def clock(self, session: Session) -> float:
        """The one clock that leases are measured with: the server's on PostgreSQL, the host's on SQLite."""
        if self.is_sqlite:
            statement = sa.text("SELECT (julianday('now') - 2440587.5) * 86400.0")
        else:
            statement = sa.text("SELECT extract(epoch FROM clock_timestamp())::double precision")
        return float(session.execute(statement).scalar_one())

    def migrate(self) -> None:
        """Bring the schema to head, under a lock, so that processes that start together do it once.

        Raises:
            ConfigurationError: the database was written by a newer Folkmoot, is damaged, or cannot be reached.
        """
        try:
            with self.engine.begin() as connection:
                if not self.is_sqlite:
                    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
                self._upgrade(connection)
        except DBAPIError as error:
            reason = str(error.orig).splitlines()[0]
            raise ConfigurationError(f"database {self._safe_url()}: {reason}; {_remedy(reason)}") from error

    def _upgrade(self, connection: sa.Connection) -> None:
        from alembic import command
        from alembic.config import Config
        from alembic.runtime.migration import MigrationContext
        from alembic.script import ScriptDirectory

        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(_MIGRATIONS))
        script = ScriptDirectory.from_config(config)
        current = MigrationContext.configure(connection).get_current_revision()
        if current == script.get_current_head():
            return
        if current is not None and current not in {revision.revision for revision in script.walk_revisions()}:
            raise ConfigurationError(f"database {self._safe_url()} was written by a newer Folkmoot; update this one")
        command.upgrade(config, "head")

    def scour(self, *, rewrite: bool = False) -> str | None:
        """Get the bytes of deleted rows off the disk: out of the journal, and with `rewrite` out of the file itself.

        Returns why it could not, in a few words.
        """
        if not self.is_sqlite:
            with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(sa.text("VACUUM"))
            return None
        raw = self.engine.raw_connection()
        try:
            cursor = raw.cursor()
            if rewrite:
                cursor.execute("VACUUM")
            busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            return "somebody is reading" if busy else None
        except sqlite3.OperationalError as error:
            return str(error)
        finally:
            raw.close()

    def _safe_url(self) -> str:
        return self.engine.url.render_as_string(hide_password=True)

    def dispose(self) -> None:
        """Close all connections; call it in a child after fork."""
        self.engine.dispose()


def _create_engine(url: str) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise ConfigurationError(f"database_url is not a SQLAlchemy URL: {url.split('@')[-1]!r}") from error
    if parsed.get_backend_name() == "postgresql":
        return sa.create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_size=5,
            pool_pre_ping=True,
            connect_args={"options": _PATIENCE},
        )
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise ConfigurationError("database_url must be sqlite:///FILE or postgresql://USER@HOST/NAME")
    engine = sa.create_engine(parsed, pool_size=5)
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's `begin` event issues BEGIN, not the driver
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _on_begin(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _remedy(reason: str) -> str:
    if "malformed" in reason or "not a database" in reason:
        return "it is damaged: restore a backup, or move it away to begin with an empty one"
    return "see to it that it can be reached and written"


def _disk_trouble(error: OperationalError) -> str | None:
    text = str(error.orig).lower()
    for sign in ("disk is full", "readonly database", "disk i/o error", "no space left", "unable to open"):
        if sign in text:
            return sign
    return None

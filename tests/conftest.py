"""What every test gets: a data folder of its own, a guard on sockets, and databases to throw away.

Fixtures to ask for: `settings` (its data folder exists), `database` (SQLite in that folder, migrated) and
`any_database` (runs the test on SQLite and on PostgreSQL). Servers that a test needs on loopback are asked for with
`require_server`: absent means skipped, except in CI, where nothing may be left untested.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from personal_data import settings as settings_module
from personal_data.database import Database
from personal_data.records import Record
from personal_data.settings import Settings
from tests.chroma import free_port, start_chroma
from tests.guard import sitecustomize as socket_guard
from tests.village import Village

ROOT = Path(__file__).parent.parent
GUARD = Path(socket_guard.__file__).parent
POSTGRESQL = "postgresql://postgres@127.0.0.1:5432"
os.environ.setdefault("OMP_NUM_THREADS", "1")
"""Before anything imports torch: two threads wait for each other at every small product, and beside any other load on
the machine that made single tests a hundred times slower."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="drills in full, as `make drills` runs them")


@pytest.fixture(scope="session", autouse=True)
def _guarded_children(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Processes that tests start load the guard too, and write to the same record; it ends empty."""
    record = tmp_path_factory.mktemp("sockets") / "attempts"
    record.touch()
    path = os.pathsep.join(filter(None, [str(GUARD), str(ROOT), os.environ.get("PYTHONPATH")]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        patch.setenv(socket_guard.RECORD, str(record))
        yield record
    _assert_none_left(record)


@pytest.fixture(autouse=True)
def socket_attempts(_guarded_children: Path) -> Iterator[Path]:
    """The file of attempts to leave the machine; a test that leaves it non-empty has failed.

    It may hold attempts of fixtures that live longer than a test, so nothing is wiped before it was read.
    """
    yield _guarded_children
    _assert_none_left(_guarded_children)


def _assert_none_left(record: Path) -> None:
    attempts = record.read_text()
    record.write_text("")
    assert not attempts, f"reached beyond loopback:\n{attempts}"


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of the test's own (not yet made), and no FOLKMOOT_* variable from outside."""
    for name in [name for name in os.environ if name.startswith("FOLKMOOT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FOLKMOOT_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def settings(data_dir: Path) -> Settings:
    """Default settings on the test's own data folder, which exists."""
    loaded = settings_module.load()
    settings_module.prepare_data_dir(loaded)
    return loaded


@pytest.fixture(scope="session")
def _migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file at head, to copy: migrating once is enough."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.dispose()
    return path


@pytest.fixture
def database(settings: Settings, _migrated_sqlite: Path) -> Iterator[Database]:
    """A migrated SQLite database in the test's data folder."""
    shutil.copy(_migrated_sqlite, settings.data_dir / "folkmoot.db")
    database = Database(settings.database)
    yield database
    database.dispose()


@pytest.fixture(scope="module")
def postgresql_url() -> Iterator[str]:
    """The URL of an empty PostgreSQL database that this test module has to itself; dropped at its end."""
    require_server("PostgreSQL", 5432)
    name = f"folkmoot_test_{secrets.token_hex(6)}"
    server = Database(f"{POSTGRESQL}/postgres").engine.execution_options(isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield f"{POSTGRESQL}/{name}"
    with server.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


@pytest.fixture
def postgresql(postgresql_url: str) -> Iterator[Database]:
    """The module's PostgreSQL database at head, with every table empty."""
    database = Database(postgresql_url)
    database.migrate()
    with database.session() as session:
        session.execute(sa.text("SET LOCAL session_replication_role = replica"))  # in any order, foreign keys or not
        for table in Record.metadata.tables.values():
            session.execute(sa.delete(table))
    yield database
    database.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def any_database(request: pytest.FixtureRequest) -> Database:
    """Runs the test once on each database that Folkmoot keeps its records in."""
    found: Database = request.getfixturevalue("database" if request.param == "sqlite" else "postgresql")
    return found


@pytest.fixture(scope="session")
def chroma_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Chroma server for all tests."""
    port = free_port()
    process = start_chroma(tmp_path_factory.mktemp("chroma"), port)
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.fixture
def village(any_database: Database) -> Village:
    """People with scripted agents, on each database."""
    return Village(any_database)


def require_server(name: str, port: int) -> None:
    """Skip the test unless something listens on this loopback port; in CI (CI=true) fail instead."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError as error:
        reason = f"no {name} on 127.0.0.1:{port} ({error.strerror or error})"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)

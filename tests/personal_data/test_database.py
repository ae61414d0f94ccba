"""Both databases: migrated once whoever comes first, never losing an update, never opened by an older Folkmoot."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import IntegrityError

from personal_data.database import _MIGRATIONS, Database
from personal_data.embedding import HashingEmbedder
from personal_data.errors import ConfigurationError, StorageError
from personal_data.index import ChromaIndex
from personal_data.memory import Memory
from personal_data.records import Agent, Feedback, Model, Record, User
from personal_data.settings import Settings

PROCESSES = 4
MIGRATE = "import sys; from personal_data.database import Database; Database(sys.argv[1]).migrate()"
ADD = """
import sys
from personal_data.database import Database
from personal_data.records import Agent
database = Database(sys.argv[1])
for _ in range(int(sys.argv[2])):
    with database.session() as session:
        agent = session.query(Agent).one() if database.is_sqlite else session.query(Agent).with_for_update().one()
        agent.fence = agent.fence + 1
"""


def run_together(code: str, *arguments: str) -> None:
    """Run the code in several processes at once; all must succeed."""
    command = [sys.executable, "-c", code, *arguments]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(PROCESSES)]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors


def empty(database: Database) -> None:
    """Back to a database that nobody has migrated."""
    if database.is_sqlite:
        database.dispose()
        Path(database.url.removeprefix("sqlite:///")).unlink()
        return
    with database.engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))


def add_agent(database: Database) -> None:
    with database.session() as session:
        session.add_all([User(id="usr_1", handle="ada", name="Ada"), Model(name="m", kind="engine", lineage="l")])
        session.flush()
        session.add(Agent(user_id="usr_1", handle="ada", model="m"))


def test_the_migrated_schema_is_the_one_in_records(any_database: Database) -> None:
    with any_database.engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), Record.metadata) == []


def test_processes_that_start_together_migrate_once(any_database: Database) -> None:
    empty(any_database)
    run_together(MIGRATE, any_database.url)
    with any_database.engine.connect() as connection:
        assert set(Record.metadata.tables) < set(sa.inspect(connection).get_table_names())
        assert connection.scalar(sa.text("SELECT count(*) FROM alembic_version")) == 1


def upgrade_to(database: Database, revision: str) -> None:
    """As a Folkmoot of that revision would have left an empty database."""
    empty(database)
    with database.engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(_MIGRATIONS))
        command.upgrade(config, revision)


def test_memories_of_an_older_database_are_embedded_again_and_recalled(any_database: Database) -> None:
    """Revision 2 kept one vector a memory, without its size."""
    upgrade_to(any_database, "0002")
    with any_database.engine.begin() as connection:
        user = "INSERT INTO users (id, handle, name, admin, created_at) VALUES ('u', 'a', 'A', :no, 0)"
        connection.execute(sa.text(user), {"no": False})
        insert = sa.text(
            "INSERT INTO memories (id, user_id, text, kind, speaker, scope, sources, embedding, embedding_model, "
            "content_sha256, deleted_at, created_at) VALUES (:id, 'u', :text, 'fact', 'Ada', 'private', '[]', :vector, "
            "'hashing-256', :id, :deleted, 0)"
        )
        for row in (
            {"id": "m1", "text": "My cat is called Miro.", "deleted": None},
            {"id": "m2", "text": "", "deleted": 1.0},
        ):
            connection.execute(insert, row | {"vector": bytes(1024)})
    any_database.migrate()
    memory = Memory(any_database, HashingEmbedder(), ChromaIndex("http://127.0.0.1:1"))
    [hit] = memory.recall("u", "What is my cat called?", 5)
    assert (hit.id, hit.why) == ("m1", {"words": 1})
    memory.drain_outbox()
    [hit] = memory.recall("u", "What is my cat called?", 5)
    assert (hit.id, hit.why) == ("m1", {"words": 1, "meaning": 1})


def test_feedback_of_an_older_database_is_kept_and_still_its_owners(any_database: Database) -> None:
    """Revision 10 had no answers that were disliked alone."""
    upgrade_to(any_database, "0010")
    with any_database.engine.begin() as connection:
        user = "INSERT INTO users (id, handle, name, admin, created_at) VALUES ('u', 'a', 'A', :no, 0)"
        connection.execute(sa.text(user), {"no": False})
        given = "INSERT INTO feedback (id, user_id, prompt, chosen, created_at) VALUES ('f1', 'u', '[]', 'yes', 7.5)"
        connection.execute(sa.text(given))
    any_database.migrate()
    with any_database.session() as session:
        session.add(Feedback(id="f2", user_id="u", prompt=[], chosen=None, rejected="no"))
    with any_database.session() as session:
        rows = session.scalars(sa.select(Feedback).order_by(Feedback.id)).all()
        assert [(row.chosen, row.rejected) for row in rows] == [("yes", None), (None, "no")]
        assert rows[0].created_at == 7.5
        session.execute(sa.delete(User))
    with any_database.session() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Feedback)) == 0
        with pytest.raises(IntegrityError):
            session.execute(sa.insert(Feedback).values(id="f3", user_id="nobody", prompt=[], created_at=0.0))


def test_no_update_is_lost_between_processes(any_database: Database) -> None:
    add_agent(any_database)
    run_together(ADD, any_database.url, "50")
    with any_database.session() as session:
        assert session.scalar(sa.select(Agent.fence)) == PROCESSES * 50


def test_a_newer_schema_is_refused_and_left_alone(any_database: Database) -> None:
    with any_database.session() as session:
        head = session.scalar(sa.text("SELECT version_num FROM alembic_version"))
        session.execute(sa.text("UPDATE alembic_version SET version_num = 'from_the_future'"))
    with pytest.raises(ConfigurationError, match="newer Folkmoot"):
        any_database.migrate()
    with any_database.session() as session:
        assert session.scalar(sa.text("SELECT version_num FROM alembic_version")) == "from_the_future"
        session.execute(sa.text("UPDATE alembic_version SET version_num = :head"), {"head": head})


def test_a_failed_block_keeps_nothing(any_database: Database) -> None:
    with pytest.raises(ZeroDivisionError), any_database.session() as session:
        session.add(User(handle="ada", name="Ada"))
        session.flush()
        raise ZeroDivisionError
    with any_database.session() as session:
        assert session.scalars(sa.select(User)).all() == []


def test_sqlite_runs_with_the_pragmas_that_keep_it_safe(database: Database) -> None:
    with database.engine.connect() as connection:
        wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "trusted_schema": 0}
        assert {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted} == wanted


def test_the_clock_is_seconds_since_the_epoch(any_database: Database) -> None:
    with any_database.session() as session:
        assert abs(any_database.clock(session) - time.time()) < 60


@pytest.mark.parametrize("url", ["mysql://root@127.0.0.1/x", "sqlite://", "not a url"])
def test_other_databases_are_refused_in_one_line(url: str) -> None:
    with pytest.raises(ConfigurationError, match="database_url"):
        Database(url)


def test_an_unreachable_server_is_a_configuration_error_without_the_password() -> None:
    database = Database("postgresql://ada:secret@127.0.0.1:1/none")
    with pytest.raises(ConfigurationError) as caught:
        database.migrate()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"torn" * 2000])
def test_a_damaged_file_is_told_in_one_line_with_what_to_do(settings: Settings, content: bytes) -> None:
    (settings.data_dir / "folkmoot.db").write_bytes(content)
    with pytest.raises(ConfigurationError, match="restore a backup") as caught:
        Database(settings.database).migrate()
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_a_storage_error_and_keeps_what_was_there(settings: Settings, database: Database) -> None:
    add_agent(database)
    with database.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        connection.rollback()
    with pytest.raises(StorageError, match="disk is full"), database.session() as session:
        session.add(User(handle="x", name="x" * 200))
        session.flush()
        session.execute(sa.update(User).values(name=sa.func.hex(sa.func.zeroblob(1_000_000))))
    with database.session() as session:
        assert session.scalars(sa.select(User.handle)).all() == ["ada"]

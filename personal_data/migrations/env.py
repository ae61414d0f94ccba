"""Alembic's entry: runs revisions on the connection that `Database.migrate` holds, inside its transaction."""

from __future__ import annotations

from alembic import context

from personal_data.records import Record

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Record.metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()

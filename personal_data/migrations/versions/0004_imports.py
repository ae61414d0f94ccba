"""Imports: what came in together, so that it can be told, resumed and undone; and who said a memory."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "imports",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("choice", sa.JSON(), nullable=False),
        sa.Column("units", sa.JSON(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_imports_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imports")),
    )
    op.create_index("ix_imports_user_id", "imports", ["user_id"])
    op.create_table(
        "imported_memories",
        sa.Column("import_id", sa.String(length=40), nullable=False),
        sa.Column("memory_id", sa.String(length=40), nullable=False),
        sa.Column("unit", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["import_id"], ["imports.id"], name=op.f("fk_imported_memories_import_id_imports"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["memory_id"], ["memories.id"], name=op.f("fk_imported_memories_memory_id_memories"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("import_id", "memory_id", name=op.f("pk_imported_memories")),
    )
    op.create_index("ix_imported_memories_memory_id", "imported_memories", ["memory_id"])
    # A memory has a vector for each of its parts from now on: they are made again, and the index is told.
    op.execute("UPDATE memories SET embedding = NULL, embedding_model = NULL")
    op.execute(
        "INSERT INTO memory_outbox (memory_id, user_id, operation, attempts, not_before) "
        "SELECT id, user_id, 'sync', 0, 0 FROM memories WHERE deleted_at IS NULL"
    )
    op.add_column("memories", sa.Column("own", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("memories", sa.Column("imported", sa.Boolean(), nullable=False, server_default=sa.false()))

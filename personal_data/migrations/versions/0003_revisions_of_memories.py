"""Revisions of an owner's memories, by which a process sees what changed since it looked; and the conversation that a
memory belongs to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("memory_revision", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("memories", sa.Column("revision", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("memories", sa.Column("thread", sa.String(length=200), nullable=True))
    op.create_index("ix_memories_user_revision", "memories", ["user_id", "revision"])

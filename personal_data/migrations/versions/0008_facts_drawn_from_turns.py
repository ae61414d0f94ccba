"""What a model drew from the owner's words, until when it holds, and which models can draw."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("memories", sa.Column("superseded_by", sa.String(length=40), nullable=True))
    op.add_column("memories", sa.Column("confidence", sa.Double(), nullable=True))
    op.add_column("memories", sa.Column("observed", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_index("ix_memories_user_observed", "memories", ["user_id", "observed"])
    op.add_column("models", sa.Column("abilities", sa.JSON(), nullable=True))

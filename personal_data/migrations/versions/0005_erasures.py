"""Erasures with their receipts; what a training run was made from, and versions that may not be live any more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("what", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("removed", sa.JSON(), nullable=False),
        sa.Column("residue", sa.JSON(), nullable=False),
        sa.Column("could_not", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
    )
    op.create_index("ix_erasures_user_id", "erasures", ["user_id"])
    op.create_index("ix_erasures_state", "erasures", ["state"])
    op.create_table(
        "erasure_marks",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("erasure_id", sa.String(length=40), nullable=False),
        sa.Column("digests", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["erasure_id"], ["erasures.id"], name=op.f("fk_erasure_marks_erasure_id_erasures"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasure_marks")),
    )
    op.create_index("ix_erasure_marks_erasure_id", "erasure_marks", ["erasure_id"])
    op.add_column("training_runs", sa.Column("made_from", sa.JSON(), nullable=True))
    op.add_column("adapter_versions", sa.Column("retired_at", sa.Double(), nullable=True))

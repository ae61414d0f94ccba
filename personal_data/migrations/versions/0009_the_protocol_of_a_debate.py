"""Reviews of hypotheses, what trust is learnt from, and how a debate goes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("societies", sa.Column("plan", sa.JSON(), nullable=True))
    op.add_column("members", sa.Column("role", sa.String(length=16), server_default="member", nullable=False))
    op.add_column("members", sa.Column("shares_memories", sa.Boolean(), server_default=sa.true(), nullable=False))
    op.add_column("debates", sa.Column("kind", sa.String(length=16), server_default="closed", nullable=False))
    op.add_column("debates", sa.Column("topic", sa.String(length=64), server_default="general", nullable=False))
    op.add_column("debates", sa.Column("plan", sa.JSON(), nullable=True))
    op.add_column("positions", sa.Column("confidence", sa.Double(), nullable=True))
    op.add_column("positions", sa.Column("alternatives", sa.JSON(), nullable=True))
    op.add_column("positions", sa.Column("reason", sa.String(length=20), nullable=True))
    op.add_column("positions", sa.Column("flags", sa.JSON(), nullable=True))
    op.add_column("verdicts", sa.Column("distribution", sa.JSON(), nullable=True))
    op.add_column("verdicts", sa.Column("none_of_these", sa.Double(), nullable=True))
    op.add_column("verdicts", sa.Column("stopped", sa.String(length=100), nullable=True))
    op.add_column("verdicts", sa.Column("cost", sa.JSON(), nullable=True))
    op.create_table(
        "reviews",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("debate_id", sa.String(length=40), nullable=False),
        sa.Column("hypothesis_id", sa.String(length=40), nullable=False),
        sa.Column("agent_id", sa.String(length=40), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("argument", sa.Text(), nullable=True),
        sa.Column("lineage", sa.String(length=500), nullable=False),
        sa.Column("memory_ids", sa.JSON(), nullable=False),
        sa.Column("flags", sa.JSON(), nullable=True),
        sa.Column("cause", sa.String(length=32), nullable=True),
        sa.Column("completion_tokens", sa.Integer(), nullable=True),
        sa.Column("elapsed_s", sa.Double(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["debate_id"], ["debates.id"], name=op.f("fk_reviews_debate_id_debates"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["hypothesis_id"], ["hypotheses.id"], name=op.f("fk_reviews_hypothesis_id_hypotheses"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reviews")),
        sa.UniqueConstraint(
            "debate_id", "hypothesis_id", "agent_id", name=op.f("uq_reviews_debate_id_hypothesis_id_agent_id")
        ),
    )
    op.create_table(
        "resolved_questions",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("society_id", sa.String(length=40), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("topic", sa.String(length=64), nullable=False),
        sa.Column("right", sa.Text(), nullable=True),
        sa.Column("votes", sa.JSON(), nullable=False),
        sa.Column("reviews", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["society_id"], ["societies.id"], name=op.f("fk_resolved_questions_society_id_societies"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resolved_questions")),
        sa.UniqueConstraint("society_id", "source", name=op.f("uq_resolved_questions_society_id_source")),
    )
    op.create_index("ix_resolved_questions_society_id", "resolved_questions", ["society_id"])

"""The model that an adapter version was made for. Versions from before belong to the model that their agent has."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("adapter_versions", sa.Column("model", sa.String(length=64), nullable=True))
    op.execute(
        "UPDATE adapter_versions SET model = (SELECT model FROM agents WHERE agents.id = adapter_versions.agent_id)"
    )

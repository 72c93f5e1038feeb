"""The table of answered questions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "spent_answers",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_spent_answers"),
    )
    op.create_index("ix_spent_answers_expires_at", "spent_answers", ["expires_at"])

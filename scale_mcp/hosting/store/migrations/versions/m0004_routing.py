"""The tables of routing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "task_homes",
        sa.Column("task_id", sa.String(64), nullable=False),
        sa.Column("connection_id", sa.String(40), nullable=False),
        sa.Column("project", sa.Text, nullable=True),
        sa.Column("task_type", sa.String(64), nullable=True),
        sa.Column("noted_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("task_id", name="pk_task_homes"),
    )
    op.create_table(
        "create_places",
        sa.Column("persona_id", sa.String(40), nullable=False),
        sa.Column("unique_id", sa.String(64), nullable=False),
        sa.Column("connection_id", sa.String(40), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("begun_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("persona_id", "unique_id", name="pk_create_places"),
    )
    op.create_index("ix_create_places_begun_at", "create_places", ["begun_at"])
    op.create_table(
        "key_health",
        sa.Column("key_id", sa.String(40), nullable=False),
        sa.Column("replica", sa.String(128), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("cooling_until", sa.String(27), nullable=True),
        sa.Column("ok", sa.BigInteger, nullable=False),
        sa.Column("limited", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "replica", name="pk_key_health"),
    )
    op.create_index("ix_key_health_updated_at", "key_health", ["updated_at"])

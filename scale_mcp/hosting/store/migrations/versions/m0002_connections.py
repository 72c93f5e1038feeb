"""The tables of the vault and of connections."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "vault",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("root", sa.Text, nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_vault"),
    )
    op.create_table(
        "master_keys",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("proof", sa.String(64), nullable=False),
        sa.Column("first_met_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_master_keys"),
    )
    op.create_table(
        "connections",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("mode", sa.String(8), nullable=False),
        sa.Column("base_url", sa.Text, nullable=False),
        sa.Column("callback_secret", sa.Text, nullable=True),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.Column("removed_at", sa.String(27), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_connections"),
    )
    there = sa.text("removed_at IS NULL")
    op.create_index(
        "uq_connections_name", "connections", ["name"], unique=True, sqlite_where=there, postgresql_where=there
    )
    op.create_table(
        "scale_keys",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("connection_id", sa.String(40), nullable=False),
        sa.Column("fingerprint", sa.String(12), nullable=False),
        sa.Column("sealed", sa.Text, nullable=True),
        sa.Column("status", sa.String(8), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.Column("retired_at", sa.String(27), nullable=True),
        sa.Column("last_used_at", sa.String(27), nullable=True),
        sa.Column("checked_at", sa.String(27), nullable=True),
        sa.Column("last_status", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_scale_keys"),
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], name="fk_scale_keys_connection_id"),
    )
    op.create_index("ix_scale_keys_connection_id", "scale_keys", ["connection_id"])

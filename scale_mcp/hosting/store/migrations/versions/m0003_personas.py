"""The tables of personas."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "personas",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("policy", sa.JSON, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("declared", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_personas"),
        sa.UniqueConstraint("name", name="uq_personas_name"),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("persona_id", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("user_name", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Text),
        sa.Column("revoked_at", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("digest", name="uq_tokens_digest"),
        sa.ForeignKeyConstraint(["persona_id"], ["personas.id"], name="fk_tokens_persona_id", ondelete="CASCADE"),
    )
    op.create_index("ix_tokens_persona_id", "tokens", ["persona_id"])
    op.create_table(
        "spending",
        sa.Column("persona_id", sa.Text, nullable=False),
        sa.Column("day", sa.Text, nullable=False),
        sa.Column("calls", sa.BigInteger, nullable=False),
        sa.Column("tasks", sa.BigInteger, nullable=False),
        sa.Column("cost", sa.BigInteger, nullable=False),
        sa.Column("minute", sa.BigInteger, nullable=False),
        sa.Column("minute_calls", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("persona_id", "day", name="pk_spending"),
    )
    op.create_table(
        "claims",
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("persona_id", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("value", name="pk_claims"),
        sa.ForeignKeyConstraint(["persona_id"], ["personas.id"], name="fk_claims_persona_id", ondelete="CASCADE"),
    )
    op.create_table(
        "rates",
        sa.Column("task_type", sa.Text, nullable=False),
        sa.Column("rate", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("task_type", name="pk_rates"),
    )

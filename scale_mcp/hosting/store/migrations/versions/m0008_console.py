"""The tables of the console: its tokens, and the verifications of the audit trail that were begun there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "console_tokens",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Text, nullable=False),
        sa.Column("revoked_at", sa.Text),
        sa.Column("signed_in_at", sa.Text),
        sa.Column("signed_out_at", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_console_tokens"),
        sa.UniqueConstraint("digest", name="uq_console_tokens_digest"),
    )
    op.create_table(
        "audit_checks",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("started_at", sa.Text, nullable=False),
        sa.Column("started_by", sa.Text, nullable=False),
        sa.Column("finished_at", sa.Text),
        sa.Column("rows", sa.BigInteger),
        sa.Column("faults", sa.BigInteger),
        sa.Column("first_fault", sa.Text),
        sa.Column("head", sa.Text),
        sa.Column("open_calls", sa.BigInteger),
        sa.Column("problem", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_audit_checks"),
    )
    op.create_index("ix_audit_checks_started_at", "audit_checks", ["started_at"])

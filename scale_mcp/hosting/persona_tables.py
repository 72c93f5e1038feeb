"""The tables of personas, their tokens, what they have used, and the policies beside them."""

from __future__ import annotations

import sqlalchemy as sa

from scale_mcp.hosting.store import metadata

personas = sa.Table(
    "personas",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("policy", sa.JSON, nullable=False),  # as ``personas.policy_of`` writes it
    sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("declared", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
)

# A token itself is nowhere: it has 256 random bits, so its plain SHA-256 cannot be guessed back.
tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("persona_id", sa.Text, sa.ForeignKey("personas.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("user_name", sa.Text, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Column("expires_at", sa.Text),
    sa.Column("revoked_at", sa.Text),
)

# What a persona has used on one day. The calls of the current minute are counted in the same row, so that taking from
# every limit is one statement. No foreign key: counts of several personas are written together, and one of them that is
# being removed must not fail the others.
spending = sa.Table(
    "spending",
    metadata,
    sa.Column("persona_id", sa.Text, primary_key=True),
    sa.Column("day", sa.Text, primary_key=True),  # 2026-11-22, in UTC
    sa.Column("calls", sa.BigInteger, nullable=False),
    sa.Column("tasks", sa.BigInteger, nullable=False),
    sa.Column("cost", sa.BigInteger, nullable=False),  # millionths of the operator's currency
    sa.Column("minute", sa.BigInteger, nullable=False),  # since 1970
    sa.Column("minute_calls", sa.BigInteger, nullable=False),
)

# Which persona a login is, by a value of the claim that the operator chose. Without a line here the value itself is
# taken for the persona's name.
claims = sa.Table(
    "claims",
    metadata,
    sa.Column("value", sa.Text, primary_key=True),
    sa.Column("persona_id", sa.Text, sa.ForeignKey("personas.id", ondelete="CASCADE"), nullable=False),
)

# What tasks are expected to cost, by their type; ``*`` stands for all types without a line of their own.
rates = sa.Table(
    "rates",
    metadata,
    sa.Column("task_type", sa.Text, primary_key=True),
    sa.Column("rate", sa.BigInteger, nullable=False),  # millionths of the operator's currency
)

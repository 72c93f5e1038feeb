"""The tables of events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "event_facts",
        sa.Column("connection_id", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("updated_at", sa.Text),
        sa.Column("completed_at", sa.Text),
        sa.Column("review", sa.Text),
        sa.Column("audited_at", sa.Text),
        sa.Column("noted_at", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("connection_id", "subject", "name", name="pk_event_facts"),
    )
    op.create_index("ix_event_facts_noted_at", "event_facts", ["noted_at"])
    op.create_table(
        "event_head",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_event_head"),
    )
    op.execute("INSERT INTO event_head (id, position) VALUES (1, 0)")
    op.create_table(
        "event_polls",
        sa.Column("connection_id", sa.Text, nullable=False),
        sa.Column("seen_until", sa.Text, nullable=False),
        sa.Column("polled_at", sa.Text),
        sa.Column("lease", sa.Text),
        sa.Column("leased_until", sa.Text),
        sa.Column("problem", sa.Text),
        sa.PrimaryKeyConstraint("connection_id", name="pk_event_polls"),
    )
    op.create_table(
        "events",
        sa.Column("position", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("connection_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("noted_at", sa.Text, nullable=False),
        sa.Column("task_id", sa.Text),
        sa.Column("batch", sa.Text),
        sa.Column("project", sa.Text),
        sa.Column("review", sa.Text),
        sa.PrimaryKeyConstraint("position", name="pk_events"),
    )
    op.create_index("ix_events_connection_id_position", "events", ["connection_id", "position"])
    op.create_index("ix_events_noted_at", "events", ["noted_at"])
    op.create_index("ix_events_task_id", "events", ["task_id"])
    op.create_table(
        "inbox",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("connection_id", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("mark", sa.Text, nullable=False),
        sa.Column("said", sa.Text, nullable=False),
        sa.Column("received_at", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Text, nullable=False),
        sa.Column("lease", sa.Text),
        sa.Column("leased_until", sa.Text),
        sa.Column("problem", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_inbox"),
        sa.UniqueConstraint(
            "connection_id", "subject", "name", "mark", name="uq_inbox_connection_id_subject_name_mark"
        ),
    )
    op.create_index("ix_inbox_state_due_at", "inbox", ["state", "due_at"])
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("kinds", sa.JSON, nullable=False),
        sa.Column("connections", sa.JSON, nullable=False),
        sa.Column("projects", sa.JSON, nullable=False),
        sa.Column("private_host", sa.Text),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("declared", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhooks"),
        sa.UniqueConstraint("name", name="uq_webhooks_name"),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("webhook_id", sa.Text, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Text, nullable=False),
        sa.Column("lease", sa.Text),
        sa.Column("leased_until", sa.Text),
        sa.ForeignKeyConstraint(["position"], ["events.position"], name="fk_deliveries_position", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhooks.id"], name="fk_deliveries_webhook_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.UniqueConstraint("webhook_id", "position", name="uq_deliveries_webhook_id_position"),
    )
    op.create_index("ix_deliveries_position", "deliveries", ["position"])
    op.create_index("ix_deliveries_state_due_at", "deliveries", ["state", "due_at"])
    op.create_table(
        "delivery_attempts",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("delivery_id", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("problem", sa.Text),
        sa.Column("milliseconds", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], name="fk_delivery_attempts_delivery_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_delivery_attempts"),
    )
    op.create_index("ix_delivery_attempts_delivery_id", "delivery_attempts", ["delivery_id"])

"""The tables of what Scale tells us, what came of it, and where it is forwarded to."""

from __future__ import annotations

import sqlalchemy as sa

from scale_mcp.hosting.store import metadata
from scale_mcp.hosting.vault import SEALED

# What is to be looked at: each row names a task or batch that Scale says has changed. The body of a callback is not
# kept, because it is not believed.
inbox = sa.Table(
    "inbox",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("connection_id", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),  # task or batch
    sa.Column("name", sa.Text, nullable=False),  # the task's id, the batch's name
    sa.Column("mark", sa.Text, nullable=False),  # what tells two callbacks about it apart: status and update time
    sa.Column("said", sa.Text, nullable=False),  # the status that the callback claims
    sa.Column("received_at", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),  # waiting, done or failed
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due_at", sa.Text, nullable=False),
    sa.Column("lease", sa.Text),
    sa.Column("leased_until", sa.Text),
    sa.Column("problem", sa.Text),
    sa.UniqueConstraint("connection_id", "subject", "name", "mark"),
    sa.Index(None, "state", "due_at"),
)

# What was last known of each task and batch about which something was told. An event is a difference from this.
event_facts = sa.Table(
    "event_facts",
    metadata,
    sa.Column("connection_id", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("updated_at", sa.Text),
    sa.Column("completed_at", sa.Text),
    sa.Column("review", sa.Text),
    sa.Column("audited_at", sa.Text),
    sa.Column("noted_at", sa.Text, nullable=False, index=True),
)

# One row: the position of the newest event. Whoever adds events holds it until the end of the transaction, so that
# positions become visible in their order and a reader who has seen one never misses an earlier one.
event_head = sa.Table(
    "event_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("position", sa.BigInteger, nullable=False),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("connection_id", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("noted_at", sa.Text, nullable=False, index=True),
    sa.Column("task_id", sa.Text, index=True),
    sa.Column("batch", sa.Text),
    sa.Column("project", sa.Text),
    sa.Column("review", sa.Text),
    sa.Index(None, "connection_id", "position"),
)

event_polls = sa.Table(
    "event_polls",
    metadata,
    sa.Column("connection_id", sa.Text, primary_key=True),
    sa.Column("seen_until", sa.Text, nullable=False),  # the newest update that was seen, by Scale's clock
    sa.Column("polled_at", sa.Text),
    sa.Column("lease", sa.Text),
    sa.Column("leased_until", sa.Text),
    sa.Column("problem", sa.Text),
)

webhooks = sa.Table(
    "webhooks",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("kinds", sa.JSON, nullable=False),
    sa.Column("connections", sa.JSON, nullable=False),  # names
    sa.Column("projects", sa.JSON, nullable=False),
    sa.Column("private_host", sa.Text),  # a host that is let through though its address is not public
    sa.Column("secret", sa.Text, nullable=False, info=SEALED),
    sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("declared", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("webhook_id", sa.Text, sa.ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    sa.Column(
        "position", sa.BigInteger, sa.ForeignKey("events.position", ondelete="CASCADE"), nullable=False, index=True
    ),
    sa.Column("state", sa.Text, nullable=False),  # waiting, delivered or failed
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due_at", sa.Text, nullable=False),
    sa.Column("lease", sa.Text),
    sa.Column("leased_until", sa.Text),
    sa.UniqueConstraint("webhook_id", "position"),
    sa.Index(None, "state", "due_at"),
)

delivery_attempts = sa.Table(
    "delivery_attempts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("delivery_id", sa.Text, sa.ForeignKey("deliveries.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("status", sa.Integer),  # what the receiver answered; null when it did not
    sa.Column("problem", sa.Text),
    sa.Column("milliseconds", sa.Integer, nullable=False),
)

"""Webhooks and deliveries as they are stored and shown: everything but the secret. Reading them needs no vault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from scale_mcp.hosting.events.tables import deliveries, delivery_attempts, webhooks

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from scale_mcp.tools.feed import Event, EventKind


@dataclass(frozen=True)
class Webhook:
    """Where events are forwarded to. Of ``kinds``, ``connections`` (names) and ``projects``, none means all.

    private_host  the address's own host, when it is let through though it is not public
    declared      whether a declaration file owns it
    """

    name: str
    url: str
    kinds: tuple[EventKind, ...] = ()
    connections: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    private_host: str | None = None
    disabled: bool = False
    declared: bool = False
    id: str = ""
    created_at: str = ""

    def wants(self, event: Event, connection_name: str) -> bool:
        return (
            not self.disabled
            and (not self.kinds or event.kind in self.kinds)
            and (not self.connections or connection_name in self.connections)
            and (not self.projects or event.project in self.projects)
        )


@dataclass(frozen=True)
class DeliveryRecord:
    """One event on its way to one webhook. ``problem`` and ``status`` are those of the last try."""

    id: str
    webhook: str
    position: int
    state: str  # waiting, delivered or failed
    attempts: int
    due_at: str
    status: int | None = None
    problem: str | None = None


SHOWN = [column for column in webhooks.columns if column is not webhooks.c.secret]
LISTS = ("kinds", "connections", "projects")


def row_of(webhook: Webhook) -> dict[str, Any]:
    values = {column.name: getattr(webhook, column.name) for column in SHOWN}
    return {name: list(value) if name in LISTS else value for name, value in values.items()}


def webhook_of(row: Any) -> Webhook:
    values: dict[str, Any] = {column.name: getattr(row, column.name) for column in SHOWN}
    values |= {name: tuple(values[name]) for name in LISTS}
    return Webhook(**values)


def shown(webhook: Webhook) -> dict[str, Any]:
    """A webhook as JSON for people and for the audit trail: only what is not the default, and never its secret."""
    fields = {
        "name": webhook.name,
        "url": webhook.url.partition("?")[0] + ("?…" if "?" in webhook.url else ""),  # some hide a token there
        "kinds": list(webhook.kinds),
        "connections": list(webhook.connections),
        "projects": list(webhook.projects),
        "private_host": webhook.private_host,
        "disabled": webhook.disabled,
        "declared": webhook.declared,
    }
    return {name: value for name, value in fields.items() if value}


async def read_webhooks(connection: AsyncConnection) -> list[Webhook]:
    """All webhooks, by name. Needs no vault."""
    return [webhook_of(row) for row in await connection.execute(sa.select(*SHOWN).order_by(webhooks.c.name))]


async def recent_deliveries(
    connection: AsyncConnection, limit: int, webhook: str | None = None
) -> list[DeliveryRecord]:
    """The newest deliveries with what became of the last try of each. Needs no vault."""
    query = sa.select(deliveries, webhooks.c.name.label("webhook")).join(webhooks)
    if webhook is not None:
        query = query.where(webhooks.c.name == webhook)
    rows = (await connection.execute(query.order_by(deliveries.c.position.desc()).limit(limit))).all()
    tries = sa.select(delivery_attempts).where(delivery_attempts.c.delivery_id.in_([row.id for row in rows]))
    last = {row.delivery_id: row for row in await connection.execute(tries.order_by(delivery_attempts.c.at))}
    return [
        DeliveryRecord(
            row.id,
            row.webhook,
            row.position,
            row.state,
            row.attempts,
            row.due_at,
            last[row.id].status if row.id in last else None,
            last[row.id].problem if row.id in last else None,
        )
        for row in rows
    ]

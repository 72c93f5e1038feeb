"""Webhooks: the operator's own addresses, which get what happens signed and as it happens."""

from __future__ import annotations

import base64
import re
import secrets as randomness
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, get_args

import sqlalchemy as sa
from pydantic import SecretStr

from scale_mcp.hosting.clock import Clock, stamp, utc_now
from scale_mcp.hosting.connection_records import connections
from scale_mcp.hosting.errors import OperatorError
from scale_mcp.hosting.events.tables import deliveries, webhooks
from scale_mcp.hosting.events.targets import target_of
from scale_mcp.hosting.events.webhook_records import (
    SHOWN,
    DeliveryRecord,
    Webhook,
    read_webhooks,
    recent_deliveries,
    row_of,
    shown,
    webhook_of,
)
from scale_mcp.hosting.ids import new_id
from scale_mcp.tools.feed import EventKind

if TYPE_CHECKING:
    from builtins import list as List  # noqa: N812  # the class has a method of that name

    from sqlalchemy.ext.asyncio import AsyncConnection

    from scale_mcp.hosting.audit.recording import Recording
    from scale_mcp.hosting.store import Database
    from scale_mcp.tools.feed import Event

NAME = re.compile(r"(?!whk_)[a-z0-9][a-z0-9_-]{0,63}")
PURPOSE = "webhook secret"
SHORTEST_SECRET = 16  # characters


class Sealing(Protocol):
    """What is needed of the vault."""

    def seal(self, secret: SecretStr | str, *, row: str, purpose: str) -> str: ...

    def open(self, sealed: str, *, row: str, purpose: str) -> SecretStr: ...


class WebhookProblem(OperatorError):
    """A webhook that is not there, or that cannot be as asked."""


class Webhooks:
    """The operator's webhooks. Every change is audited, in the same transaction. ``actor`` is who asked for it."""

    def __init__(self, database: Database, vault: Sealing, recorder: Recording, *, clock: Clock = utc_now) -> None:
        self._database = database
        self._vault = vault
        self._recorder = recorder
        self._clock = clock

    async def list(self) -> List[Webhook]:
        """All of them, by name."""
        async with self._database.reading() as connection:
            return await read_webhooks(connection)

    async def get(self, name_or_id: str) -> Webhook:
        """Raises ``WebhookProblem`` when there is none."""
        async with self._database.reading() as connection:
            return await _get(connection, name_or_id)

    async def add(self, webhook: Webhook, *, secret: SecretStr | None = None, actor: str) -> tuple[Webhook, SecretStr]:
        """Keep a new webhook, with a secret made here unless one is given, which nobody can look up later.

        Raises ``WebhookProblem`` and ``TargetRefused``.
        """
        async with self._database.writing() as connection:
            return await self.add_in(connection, webhook, secret=secret, actor=actor)

    async def edit(self, name_or_id: str, after: Webhook, *, actor: str) -> Webhook:
        """Give a webhook other values; its secret stays. Raises ``WebhookProblem`` and ``TargetRefused``."""
        async with self._database.writing() as connection:
            return await self.edit_in(connection, await _get(connection, name_or_id), after, actor=actor)

    async def remove(self, name_or_id: str, *, actor: str) -> Webhook:
        """Forget a webhook, and what was still on its way to it."""
        async with self._database.writing() as connection:
            webhook = await _get(connection, name_or_id)
            await self.remove_in(connection, webhook, actor=actor)
            return webhook

    async def new_secret(self, name_or_id: str, *, secret: SecretStr | None = None, actor: str) -> SecretStr:
        """Sign with another secret from now on; what is on its way is signed with it, too."""
        secret = _usable(secret) if secret is not None else _random_secret()
        async with self._database.writing() as connection:
            webhook = await _get(connection, name_or_id)
            sealed = self._vault.seal(secret, row=webhook.id, purpose=PURPOSE)
            await connection.execute(sa.update(webhooks).where(webhooks.c.id == webhook.id).values(secret=sealed))
            await self._changed(connection, "webhook.secret_changed", actor, webhook, {})
        return secret

    async def secret(self, webhook_id: str) -> SecretStr | None:
        """What its deliveries are signed with; None when it is gone. Raises ``VaultError``."""
        wanted = sa.select(webhooks.c.secret).where(webhooks.c.id == webhook_id)
        async with self._database.reading() as connection:
            sealed = (await connection.execute(wanted)).scalar_one_or_none()
        return None if sealed is None else self._vault.open(sealed, row=webhook_id, purpose=PURPOSE)

    async def recent(self, limit: int = 20, webhook: str | None = None) -> List[DeliveryRecord]:
        """The newest deliveries, of all webhooks or of one (name), with what became of the last try."""
        async with self._database.reading() as connection:
            return await recent_deliveries(connection, limit, webhook)

    # The same inside a transaction of the caller's, for several changes that happen together or not at all.

    async def add_in(
        self, connection: AsyncConnection, webhook: Webhook, *, secret: SecretStr | None = None, actor: str
    ) -> tuple[Webhook, SecretStr]:
        secret = _usable(secret) if secret is not None else _random_secret()
        webhook = replace(webhook, id=new_id("whk"), created_at=stamp(self._clock()))
        await _check(connection, webhook)
        sealed = self._vault.seal(secret, row=webhook.id, purpose=PURPOSE)
        await connection.execute(sa.insert(webhooks).values(**row_of(webhook), secret=sealed))
        await self._changed(connection, "webhook.added", actor, webhook, {"webhook": shown(webhook)})
        return webhook, secret

    async def edit_in(self, connection: AsyncConnection, before: Webhook, after: Webhook, *, actor: str) -> Webhook:
        after = replace(after, id=before.id, created_at=before.created_at)
        if after == before:
            return before
        await _check(connection, after)
        await connection.execute(sa.update(webhooks).where(webhooks.c.id == before.id).values(**row_of(after)))
        about = {"before": shown(before), "after": shown(after)}
        await self._changed(connection, "webhook.edited", actor, after, about)
        return after

    async def remove_in(self, connection: AsyncConnection, webhook: Webhook, *, actor: str) -> None:
        await connection.execute(sa.delete(webhooks).where(webhooks.c.id == webhook.id))
        await self._changed(connection, "webhook.removed", actor, webhook, {"webhook": shown(webhook)})

    async def enqueue(self, connection: AsyncConnection, added: Sequence[Event]) -> None:
        """Plan the delivery of new events to those who want them, in the transaction that adds the events."""
        there = await read_webhooks(connection)
        if not there:
            return
        ids = {event.connection for event in added}
        named = sa.select(connections.c.id, connections.c.name).where(connections.c.id.in_(ids))
        names = {row.id: row.name for row in await connection.execute(named)}
        now = stamp(self._clock())
        rows = [
            {
                "id": new_id("dlv"),
                "webhook_id": webhook.id,
                "position": event.position,
                "state": "waiting",
                "attempts": 0,
                "due_at": now,
            }
            for event in added
            for webhook in there
            if webhook.wants(event, names.get(event.connection, ""))
        ]
        if rows:
            await connection.execute(sa.insert(deliveries), rows)

    async def _changed(
        self, connection: AsyncConnection, kind: str, actor: str, webhook: Webhook, about: dict[str, Any]
    ) -> None:
        await self._database.changed(connection)
        content = {"actor": actor, "name": webhook.name, "id": webhook.id, **about}
        await self._recorder.append(kind, content, connection=connection)


async def _get(connection: AsyncConnection, name_or_id: str) -> Webhook:
    wanted = sa.or_(webhooks.c.name == name_or_id, webhooks.c.id == name_or_id)
    row = (await connection.execute(sa.select(*SHOWN).where(wanted))).first()
    if row is None:
        raise WebhookProblem(
            f"There is no webhook {name_or_id[:80]!r}. `scale-mcp webhook list` shows those there are."
        )
    return webhook_of(row)


async def _check(connection: AsyncConnection, webhook: Webhook) -> None:
    if not NAME.fullmatch(webhook.name):
        raise WebhookProblem(
            f"{webhook.name[:80]!r} cannot be a webhook's name: use 1 to 64 small letters, digits, - and _, beginning "
            "with a letter or digit."
        )
    known = get_args(EventKind)
    if unknown := [kind for kind in webhook.kinds if kind not in known]:
        raise WebhookProblem(f"There are no events of the kind {unknown[0][:40]!r}; there are {', '.join(known)}.")
    target_of(webhook.url, webhook.private_host)
    taken = sa.select(webhooks.c.id).where(webhooks.c.name == webhook.name, webhooks.c.id != webhook.id)
    if (await connection.execute(taken)).first() is not None:
        raise WebhookProblem(f"There is a webhook {webhook.name} already. Remove it first, or choose another name.")
    named = sa.select(connections.c.name).where(connections.c.removed_at.is_(None))
    there = set((await connection.execute(named)).scalars())
    if missing := [name for name in webhook.connections if name not in there]:
        raise WebhookProblem(
            f"There is no connection {missing[0][:80]!r}; there are {', '.join(sorted(there)) or 'none'}."
        )


def _random_secret() -> SecretStr:
    return SecretStr("whsec_" + base64.urlsafe_b64encode(randomness.token_bytes(32)).decode().rstrip("="))


def _usable(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < SHORTEST_SECRET:
        raise WebhookProblem(
            f"The secret is too short: give at least {SHORTEST_SECRET} characters, or none to get one."
        )
    return secret

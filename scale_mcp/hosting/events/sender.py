"""Works off the deliveries to webhooks: each by one replica at a time, in order, and again later when it failed."""

from __future__ import annotations

import json
import logging
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import anyio
import sqlalchemy as sa

from scale_mcp.hosting.clock import Clock, stamp, utc_now
from scale_mcp.hosting.connection_records import connections
from scale_mcp.hosting.errors import OperatorError
from scale_mcp.hosting.events.bell import Bell
from scale_mcp.hosting.events.leases import WAITING, Leases
from scale_mcp.hosting.events.outbound import DELIVERY, SIGNATURE, Answered, Outbound, sign
from scale_mcp.hosting.events.tables import deliveries, delivery_attempts, events
from scale_mcp.hosting.events.targets import target_of
from scale_mcp.hosting.ids import new_id

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from scale_mcp.hosting.events.log import EventLog
    from scale_mcp.hosting.events.webhook_records import Webhook
    from scale_mcp.hosting.events.webhooks import Webhooks
    from scale_mcp.hosting.store import Database

log = logging.getLogger(__name__)

AT_ONCE = 4  # deliveries that one replica takes of one webhook
LEASE = timedelta(seconds=90)  # longer than that many tries may take
MOST_TRIES = 20
LONGEST_PAUSE = 1_800  # seconds between tries, which begin at two and double
GONE = "the event is not kept any more"


class Sender:
    """Sends what is due. A receiver that is down or slow holds up nobody but itself."""

    def __init__(
        self,
        database: Database,
        log_of_events: EventLog,
        webhooks: Webhooks,
        outbound: Outbound,
        *,
        clock: Clock = utc_now,
    ) -> None:
        self._database = database
        self._webhooks = webhooks
        self._outbound = outbound
        self._clock = clock
        self._leases = Leases(database, deliveries, length=LEASE, clock=clock)
        self._busy: set[str] = set()  # ids of webhooks that are being served in this process
        self._bell = Bell()
        self.tries: Counter[str] = Counter()  # of this process: delivered, or failed
        log_of_events.on_added.append(webhooks.enqueue)
        log_of_events.changed.append(self._bell.ring)

    async def run(self, interval: float) -> None:
        """Send for good: at once what this process adds, every ``interval`` seconds what is due besides."""
        async with anyio.create_task_group() as tasks:
            while True:
                try:
                    await self._start_due(tasks)
                except Exception:
                    log.exception("Deliveries to webhooks cannot be read; trying again")
                await self._bell.wait(interval)

    async def send_due(self) -> None:
        """Send what is due now."""
        async with anyio.create_task_group() as tasks:
            await self._start_due(tasks)

    async def test(self, webhook: Webhook) -> Answered:
        """Send an event of the kind ``test``, which is kept nowhere, and say what became of it."""
        body = {"id": new_id("dlv"), "kind": "test", "at": stamp(self._clock()), "webhook": webhook.name}
        return await self._deliver(webhook, body)

    async def _start_due(self, tasks: TaskGroup) -> None:
        due = sa.select(deliveries.c.webhook_id).where(
            deliveries.c.state == WAITING, deliveries.c.due_at <= stamp(self._clock())
        )
        async with self._database.reading() as connection:
            waiting = set((await connection.execute(due.distinct())).scalars())
        if not waiting - self._busy:
            return
        for webhook in await self._webhooks.list():
            if webhook.id in waiting - self._busy and not webhook.disabled:
                self._busy.add(webhook.id)
                tasks.start_soon(self._serve, webhook)

    async def _serve(self, webhook: Webhook) -> None:
        try:
            while await self._send_some(webhook):
                pass
        except Exception:
            log.exception("Deliveries to a webhook failed; they are tried again")
        finally:
            self._busy.discard(webhook.id)

    async def _send_some(self, webhook: Webhook) -> int:
        token, rows = await self._leases.claim(AT_ONCE, deliveries.c.webhook_id == webhook.id)
        for row in sorted(rows, key=lambda row: row.position):
            body = await self._body(row.id, row.position)
            answered = Answered(problem=GONE) if body is None else await self._deliver(webhook, body)
            await self._conclude(row, token, answered, final=body is None)
        return len(rows)

    async def _deliver(self, webhook: Webhook, body: dict[str, Any]) -> Answered:
        try:
            secret = await self._webhooks.secret(webhook.id)
            target = target_of(webhook.url, webhook.private_host)
        except OperatorError as problem:  # the vault stays closed, or the rules have become stricter
            return Answered(problem=str(problem))
        if secret is None:
            return Answered(problem="the webhook was removed")
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        signature = sign(content, secret, int(self._clock().timestamp()))
        return await self._outbound.post(target, content, {SIGNATURE: signature, DELIVERY: str(body["id"])})

    async def _body(self, delivery_id: str, position: int) -> dict[str, Any] | None:
        """What is sent: the event in words, nothing of the task itself."""
        wanted = sa.select(events, connections.c.name.label("connection")).where(events.c.position == position)
        joined = wanted.outerjoin_from(events, connections, connections.c.id == events.c.connection_id)
        async with self._database.reading() as connection:
            row = (await connection.execute(joined)).first()
        if row is None:
            return None
        names = ("kind", "at", "connection", "task_id", "batch", "project", "status", "review")
        fields = {name: getattr(row, name) for name in names}
        return {"id": delivery_id, **{name: value for name, value in fields.items() if value is not None}}

    async def _conclude(self, row: Any, token: str, answered: Answered, *, final: bool) -> None:
        self.tries["delivered" if answered.delivered else "failed"] += 1
        tried = row.attempts + 1
        failed = "failed" if final or tried >= MOST_TRIES else WAITING
        state = "delivered" if answered.delivered else failed
        due = self._clock() + timedelta(seconds=min(2**tried, LONGEST_PAUSE))
        attempt = {
            "id": new_id("att"),
            "delivery_id": row.id,
            "at": stamp(self._clock()),
            "status": answered.status,
            "problem": answered.problem,
            "milliseconds": answered.milliseconds,
        }
        async with self._database.writing() as connection:
            # The row may be gone with its webhook; then nobody asks any more.
            if await self._leases.release_in(connection, row.id, token, state=state, attempts=tried, due_at=stamp(due)):
                await connection.execute(sa.insert(delivery_attempts).values(attempt))

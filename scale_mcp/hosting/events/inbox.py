"""The inbox: what Scale's callbacks say has changed, kept until Scale itself was asked about it.

A callback's body is a hint where to look, no more: only the names in it are kept, and the worker reads the task or
batch again through the connection that was called.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import sqlalchemy as sa

from scale_mcp.api.errors import NotFound, ScaleError
from scale_mcp.hosting.clock import Clock, stamp, utc_now
from scale_mcp.hosting.errors import OperatorError
from scale_mcp.hosting.events.bell import Bell
from scale_mcp.hosting.events.facts import Facts, Subject, of_batch, of_task
from scale_mcp.hosting.events.leases import WAITING, Leases, insert_new
from scale_mcp.hosting.events.log import EventLog
from scale_mcp.hosting.events.tables import inbox
from scale_mcp.hosting.ids import new_id
from scale_mcp.hosting.store import Database
from scale_mcp.tools.card import ToolFailure

if TYPE_CHECKING:
    from scale_mcp.api import ScaleApi

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=90)  # longer than a read with its retries may take
READ_SECONDS = 60.0
AT_ONCE = 8
MOST_TRIES = 15
LONGEST_PAUSE = 1_800  # seconds between tries, which begin at two and double
UNTOLD = "?"  # begins the mark of a callback that does not say when the task was updated


class Apis(Protocol):
    """The opened Scale API of each connection."""

    async def api(self, connection_id: str) -> ScaleApi | None:
        """None when there is no such connection any more. Whoever opened the api closes it.

        May raise OperatorError or ToolFailure when the connection cannot be used at the moment.
        """
        ...


@dataclass(frozen=True)
class Arrival:
    """What a callback says: which task or batch, its status, and when it was last updated (None: not said)."""

    subject: Subject
    name: str
    status: str
    updated_at: str | None = None

    @property
    def mark(self) -> str:
        return f"{self.status}@{self.updated_at}" if self.updated_at else UNTOLD + self.status


class Inbox:
    """Takes callbacks quickly, and works them off in the background, in any replica, each in one."""

    def __init__(self, database: Database, events: EventLog, apis: Apis, *, clock: Clock = utc_now) -> None:
        self._database = database
        self._events = events
        self._apis = apis
        self._clock = clock
        self._leases = Leases(database, inbox, length=LEASE, clock=clock)
        self._bell = Bell()

    async def put(self, connection_id: str, arrival: Arrival) -> bool:
        """Keep a callback; False when the same one is there already (Scale repeats what was not answered in time)."""
        now = stamp(self._clock())
        row = {
            "id": new_id("inb"),
            "connection_id": connection_id,
            "subject": arrival.subject,
            "name": arrival.name,
            "mark": arrival.mark,
            "said": arrival.status,
            "received_at": now,
            "state": WAITING,
            "attempts": 0,
            "due_at": now,
        }
        async with self._database.writing() as connection:
            kept = await connection.execute(insert_new(self._database, inbox).values(**row))
        self._bell.ring()
        return kept.rowcount == 1

    async def run(self, interval: float) -> None:
        """Work for good. Callbacks that this process took are worked off at once, others' every ``interval`` s."""
        while True:
            try:
                worked = await self.work()
            except Exception:
                log.exception("The inbox of callbacks cannot be worked off; trying again")
                worked = 0
            if not worked:
                await self._bell.wait(interval)

    async def work(self) -> int:
        """Work off what is due, some rows at a time; returns how many there were."""
        # A callback that does not say when is the same as another only while both wait: what comes once the task is
        # being read may be about something newer. So its mark becomes one of its own.
        untold = sa.and_(inbox.c.mark.startswith(UNTOLD), inbox.c.attempts == 0)
        own_mark = sa.case((untold, inbox.c.mark + "#" + inbox.c.id), else_=inbox.c.mark)
        token, rows = await self._leases.claim(AT_ONCE, mark=own_mark)
        async with anyio.create_task_group() as tasks:
            for row in rows:
                tasks.start_soon(self._work_off, token, row)
        return len(rows)

    async def _work_off(self, token: str, row: Any) -> None:
        try:
            with anyio.fail_after(READ_SECONDS):
                facts = await self._read(row.connection_id, row.subject, row.name)
            if facts is not None:
                await self._events.note(row.connection_id, [facts], said=row.said)
        except (ScaleError, OperatorError, ToolFailure, TimeoutError) as problem:
            await self._postpone(token, row, str(problem) or "no answer in time")
        except Exception as fault:
            log.exception("A callback cannot be worked off; it is tried again")
            await self._postpone(token, row, f"a fault of the server: {type(fault).__name__}")
        else:
            found_out = None if facts is not None else "there is no such task, batch or connection"
            await self._leases.release(row.id, token, state="done", attempts=row.attempts + 1, problem=found_out)

    async def _read(self, connection_id: str, subject: Subject, name: str) -> Facts | None:
        """What Scale says now; None when there is nothing of that name in the account."""
        api = await self._apis.api(connection_id)
        if api is None:
            return None
        try:
            if subject == "batch":
                return of_batch(await api.batches.get(name))
            return of_task(await api.tasks.get(name))
        except NotFound:
            return None

    async def _postpone(self, token: str, row: Any, problem: str) -> None:
        tried = row.attempts + 1
        pause = timedelta(seconds=min(2**tried, LONGEST_PAUSE))
        state = WAITING if tried < MOST_TRIES else "failed"
        due = stamp(self._clock() + pause)
        await self._leases.release(row.id, token, state=state, attempts=tried, due_at=due, problem=problem[:500])

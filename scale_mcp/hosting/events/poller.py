"""Asks Scale what has changed, for connections that get no callbacks and for callbacks that got lost.

Each poll begins a little before the newest update that was seen, by Scale's own clock, and events are differences, so
nothing is missed and nothing told twice. Of several replicas one polls at a time, per connection.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import anyio
import sqlalchemy as sa
from anyio.abc import TaskGroup

from scale_mcp.api.errors import ScaleError
from scale_mcp.hosting.clock import Clock, moment, stamp, utc_now
from scale_mcp.hosting.errors import OperatorError
from scale_mcp.hosting.events.facts import Facts, of_batch, of_task, time_of
from scale_mcp.hosting.events.inbox import Apis
from scale_mcp.hosting.events.leases import insert_new
from scale_mcp.hosting.events.log import EventLog
from scale_mcp.hosting.events.tables import event_polls
from scale_mcp.hosting.ids import new_id
from scale_mcp.hosting.store import Database
from scale_mcp.models.batches import BatchFilter
from scale_mcp.models.tasks import TaskFilter
from scale_mcp.tools.card import ToolFailure

log = logging.getLogger(__name__)

OVERLAP = timedelta(minutes=3)  # what Scale shows late, and how far our clocks may differ at the first poll
LEASE = timedelta(minutes=5)  # renewed with every page
PAGE = 100
AT_ONCE = 8  # connections, per process


@dataclass(frozen=True)
class Watched:
    """A connection to poll, and whether Scale's callbacks reach us for it."""

    connection_id: str
    has_callbacks: bool


@dataclass(frozen=True)
class _Claim:
    connection_id: str
    token: str
    seen_until: datetime  # the newest update that was seen, by Scale's clock

    @property
    def since(self) -> datetime:
        return self.seen_until - OVERLAP


class Watching(Protocol):
    """Which connections there are."""

    async def watched(self) -> Sequence[Watched]: ...


class Poller:
    """``every`` is the time between two polls of a connection, ``every_with_callbacks`` of one that is called back."""

    def __init__(
        self,
        database: Database,
        events: EventLog,
        apis: Apis,
        watching: Watching,
        *,
        every: timedelta = timedelta(seconds=60),
        every_with_callbacks: timedelta = timedelta(minutes=10),
        clock: Clock = utc_now,
    ) -> None:
        self._database = database
        self._events = events
        self._apis = apis
        self._watching = watching
        self._every = every
        self._every_with_callbacks = every_with_callbacks
        self._clock = clock
        self._running = 0

    async def run(self, interval: float) -> None:
        """Poll for good, whatever is due each time. A long poll of one connection does not hold up the others'."""
        async with anyio.create_task_group() as tasks:
            while True:
                try:
                    await self._start_due(tasks)
                except Exception:
                    log.exception("Polling failed; trying again")
                await anyio.sleep(interval)

    async def poll_due(self) -> int:
        """Poll each connection whose time has come and that no other replica polls; returns how many."""
        started = 0
        async with anyio.create_task_group() as tasks:
            started += await self._start_due(tasks)
        return started

    async def _start_due(self, tasks: TaskGroup) -> int:
        started = 0
        for each in await self._watching.watched():
            if self._running < AT_ONCE and (claim := await self._claim(each)):
                self._running += 1
                started += 1
                tasks.start_soon(self._poll, claim)
        return started

    async def _claim(self, each: Watched) -> _Claim | None:
        """None when the connection is not to be polled here and now."""
        now, mine = self._clock(), event_polls.c.connection_id == each.connection_id
        every = self._every_with_callbacks if each.has_callbacks else self._every
        async with self._database.reading() as connection:
            row = (await connection.execute(sa.select(event_polls).where(mine))).first()
        if row is not None and not _is_due(row, now, every):
            return None
        token = new_id("lea")
        lease = {"lease": token, "leased_until": stamp(now + LEASE)}
        async with self._database.writing() as connection:
            if row is None:  # news begins now
                first = {"connection_id": each.connection_id, "seen_until": stamp(now), **lease}
                made = await connection.execute(insert_new(self._database, event_polls).values(**first))
                return _Claim(each.connection_id, token, now) if made.rowcount == 1 else None
            row = (await connection.execute(sa.select(event_polls).where(mine).with_for_update())).one()
            if not _is_due(row, now, every):
                return None
            await connection.execute(sa.update(event_polls).where(mine).values(**lease))
            return _Claim(each.connection_id, token, moment(row.seen_until))

    async def _poll(self, claim: _Claim) -> None:
        try:
            outcome: dict[str, Any] = {"problem": None, "seen_until": stamp(await self._read(claim))}
        except (
            ScaleError,
            OperatorError,
            ToolFailure,
            TimeoutError,
        ) as problem:  # the next poll begins where this one began
            outcome = {"problem": str(problem)[:500] or "no answer in time"}
        except Exception as fault:
            log.exception("A connection cannot be polled; it is tried again")
            outcome = {"problem": f"a fault of the server: {type(fault).__name__}"}
        finally:
            self._running -= 1
        try:
            await self._hold(claim, lease=None, leased_until=None, polled_at=stamp(self._clock()), **outcome)
        except Exception:
            log.exception("The outcome of a poll cannot be kept; it will be polled again")

    async def _read(self, claim: _Claim) -> datetime:
        """Note all that has changed; returns the newest update's time."""
        api = await self._apis.api(claim.connection_id)
        newest = claim.seen_until
        if api is None:
            return newest
        changed_since = stamp(claim.since)
        next_token: str | None = None
        while True:
            page = await api.tasks.page(TaskFilter(updated_after=changed_since), next_token=next_token, limit=PAGE)
            await self._note(claim, [of_task(task) for task in page.docs])
            newest = max([newest, *filter(None, (time_of(task.updated_at) for task in page.docs))])
            next_token = page.next_token
            if not (next_token and page.docs):
                break
        offset = 0
        while True:
            listed = await api.batches.page(BatchFilter(completed_after=changed_since), offset=offset, limit=PAGE)
            await self._note(claim, [of_batch(batch) for batch in listed.docs])
            offset += len(listed.docs)
            if not (listed.has_more and listed.docs):
                return min(newest, self._clock())  # one task from the far future must not hide all that comes before

    async def _note(self, claim: _Claim, facts: list[Facts]) -> None:
        await self._events.note(claim.connection_id, facts, since=claim.since)
        await self._hold(claim, leased_until=stamp(self._clock() + LEASE))

    async def _hold(self, claim: _Claim, **values: Any) -> None:
        """Write into the connection's row, unless another replica has taken it over."""
        mine = sa.and_(event_polls.c.connection_id == claim.connection_id, event_polls.c.lease == claim.token)
        async with self._database.writing() as connection:
            await connection.execute(sa.update(event_polls).where(mine).values(**values))


def _is_due(row: Any, now: datetime, every: timedelta) -> bool:
    free = row.leased_until is None or row.leased_until <= stamp(now)
    return free and (row.polled_at is None or moment(row.polled_at) + every <= now)

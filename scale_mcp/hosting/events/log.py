"""The log of events: added to once for everything that happened, read by position."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import anyio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from scale_mcp.hosting.clock import Clock, stamp, utc_now
from scale_mcp.hosting.events.facts import Facts, Happening, happened
from scale_mcp.hosting.events.tables import event_facts, event_head, events, inbox
from scale_mcp.hosting.store import Database
from scale_mcp.tools.feed import Event, EventFilter

log = logging.getLogger(__name__)

OnAdded = Callable[[AsyncConnection, Sequence[Event]], Awaitable[None]]

EVERYTHING = EventFilter()
KEPT = timedelta(days=30)  # Scale repeats a callback for a day; who asks for events asks for recent ones
PRUNED_AT_ONCE = 1_000  # rows in one transaction


class EventLog:
    """Events in the order of their positions.

    ``on_added`` is called with new events inside the transaction that adds them; ``changed`` after it is committed.
    """

    def __init__(self, database: Database, *, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock
        self.on_added: list[OnAdded] = []
        self.changed: list[Callable[[], None]] = []

    async def note(
        self, connection_id: str, facts: Sequence[Facts], *, since: datetime | None = None, said: str | None = None
    ) -> list[Event]:
        """Compare what Scale says now with what was known, and add an event for every difference.

        Whoever comes second with the same facts, in this or another process, adds nothing. ``since`` and ``said`` are
        those of ``happened``.
        """
        if not facts:
            return []
        async with self._database.reading() as connection:
            known = await _known(connection, connection_id, facts)
        if not any(_matters(known.get((fact.subject, fact.name)), fact, since, said) for fact in facts):
            return []  # the usual poll: nothing new, and no reason to make the other writers wait
        async with self._database.writing() as connection:
            head = await _hold_head(connection)
            known = await _known(connection, connection_id, facts)  # another process may have been faster
            added: list[Event] = []
            for fact in facts:
                before = known.get((fact.subject, fact.name))
                if not _matters(before, fact, since, said):
                    continue
                for happening in happened(before, fact, since=since, said=said):
                    added.append(_event(head + len(added) + 1, connection_id, fact, happening, stamp(self._clock())))
                known[fact.subject, fact.name] = kept = fact.after(before)
                await _remember(connection, connection_id, kept, stamp(self._clock()), new=before is None)
            if added:
                await self._add(connection, added)
        if added:
            for changed in self.changed:
                changed()
        return added

    async def _add(self, connection: AsyncConnection, added: list[Event]) -> None:
        await connection.execute(
            sa.insert(events), [{**_row(event), "noted_at": stamp(self._clock())} for event in added]
        )
        await connection.execute(sa.update(event_head).values(position=added[-1].position))
        for listener in self.on_added:
            await listener(connection, added)

    async def head(self) -> int:
        """The position of the newest event; 0 when there was none yet."""
        async with self._database.reading() as connection:
            return int((await connection.execute(sa.select(event_head.c.position))).scalar_one())

    async def after(
        self,
        position: int,
        limit: int,
        *,
        connections: Iterable[str] | None = None,
        projects: Sequence[str] = (),
        wanted: EventFilter = EVERYTHING,
        since: datetime | None = None,
    ) -> list[Event]:
        """Up to ``limit`` events behind a position (and noted since a moment), oldest first.

        ``connections`` (ids; None: all) and ``projects`` (empty: all) bound what is seen.
        """
        query = _query(connections, projects, wanted).where(events.c.position > position)
        if since is not None:
            query = query.where(events.c.noted_at >= stamp(since))
        async with self._database.reading() as connection:
            rows = await connection.execute(query.order_by(events.c.position).limit(limit))
            return [_read(row) for row in rows]

    async def latest(
        self,
        limit: int,
        *,
        connections: Iterable[str] | None = None,
        projects: Sequence[str] = (),
        wanted: EventFilter = EVERYTHING,
    ) -> list[Event]:
        """The newest ``limit`` events, oldest first."""
        query = _query(connections, projects, wanted).order_by(events.c.position.desc()).limit(limit)
        async with self._database.reading() as connection:
            return [_read(row) for row in await connection.execute(query)][::-1]

    async def tidy(self, keep: timedelta = KEPT, every: float = 3_600.0) -> None:
        """Forget what is old, for good: once every so many seconds. Any number of replicas may do so."""
        while True:
            try:
                await self.prune(keep)
            except Exception:
                log.exception("Old events cannot be removed; trying again")
            await anyio.sleep(every)

    async def prune(self, keep: timedelta) -> int:
        """Forget events and finished callbacks older than ``keep``; returns how many events went."""
        before = stamp(self._clock() - keep)
        pruned = 0
        old_events = sa.select(events.c.position).where(events.c.noted_at < before).limit(PRUNED_AT_ONCE)
        while count := await self._delete(events, events.c.position, old_events):
            pruned += count
        done = sa.select(inbox.c.id).where(inbox.c.state != "waiting", inbox.c.received_at < before)
        while await self._delete(inbox, inbox.c.id, done.limit(PRUNED_AT_ONCE)):
            pass
        # What is known of a task is kept for as long as it may still change without being news.
        old_facts = sa.delete(event_facts).where(event_facts.c.noted_at < stamp(self._clock() - 4 * keep))
        async with self._database.writing() as connection:
            await connection.execute(old_facts)
        return pruned

    async def _delete(self, table: sa.Table, key: sa.Column[Any], chosen: sa.Select[Any]) -> int:
        async with self._database.writing() as connection:
            keys = (await connection.execute(chosen)).scalars().all()
            if keys:
                await connection.execute(sa.delete(table).where(key.in_(keys)))
            return len(keys)


async def _hold_head(connection: AsyncConnection) -> int:
    """The newest position, which nobody else can move until this transaction ends."""
    return int((await connection.execute(sa.select(event_head.c.position).with_for_update())).scalar_one())


def _matters(before: Facts | None, fact: Facts, since: datetime | None, said: str | None) -> bool:
    """Whether it is to be written down: an event, or something that decides about a later one."""
    if before is None:
        return fact.status != "pending" or bool(happened(None, fact, since=since, said=said))
    same = replace(fact.after(before), updated_at=before.updated_at, project=None, batch=None)
    return not fact.older_than(before) and same != replace(before, project=None, batch=None)


async def _known(
    connection: AsyncConnection, connection_id: str, facts: Sequence[Facts]
) -> dict[tuple[str, str], Facts]:
    query = sa.select(event_facts).where(
        event_facts.c.connection_id == connection_id, event_facts.c.name.in_({fact.name for fact in facts})
    )
    return {
        (row.subject, row.name): Facts(
            row.subject, row.name, row.status, row.updated_at, row.completed_at, row.review, row.audited_at
        )
        for row in await connection.execute(query)
    }


async def _remember(connection: AsyncConnection, connection_id: str, fact: Facts, now: str, *, new: bool) -> None:
    values = {
        "status": fact.status,
        "updated_at": fact.updated_at,
        "completed_at": fact.completed_at,
        "review": fact.review,
        "audited_at": fact.audited_at,
        "noted_at": now,
    }
    key = {"connection_id": connection_id, "subject": fact.subject, "name": fact.name}
    if new:
        await connection.execute(sa.insert(event_facts).values(**key, **values))
    else:
        same = [event_facts.c[name] == value for name, value in key.items()]
        await connection.execute(sa.update(event_facts).where(*same).values(**values))


def _event(position: int, connection_id: str, fact: Facts, happening: Happening, now: str) -> Event:
    return Event(
        position=position,
        connection=connection_id,
        kind=happening.kind,
        status=fact.status,
        at=happening.at or now,
        task_id=fact.name if fact.subject == "task" else None,
        batch=fact.batch,
        project=fact.project,
        review=fact.review if happening.kind == "audited" else None,
    )


def _row(event: Event) -> dict[str, Any]:
    return {
        "position": event.position,
        "connection_id": event.connection,
        "kind": event.kind,
        "status": event.status,
        "at": event.at,
        "task_id": event.task_id,
        "batch": event.batch,
        "project": event.project,
        "review": event.review,
    }


def _read(row: Any) -> Event:
    return Event(
        position=row.position,
        connection=row.connection_id,
        kind=row.kind,
        status=row.status,
        at=row.at,
        task_id=row.task_id,
        batch=row.batch,
        project=row.project,
        review=row.review,
    )


def _query(connections: Iterable[str] | None, projects: Sequence[str], wanted: EventFilter) -> sa.Select[Any]:
    query = sa.select(events)
    if connections is not None:
        query = query.where(events.c.connection_id.in_(list(connections)))
    if projects:
        query = query.where(events.c.project.in_(list(projects)))
    if wanted.kinds:
        query = query.where(events.c.kind.in_(wanted.kinds))
    for name in ("project", "batch", "task_id"):
        if (value := getattr(wanted, name)) is not None:
            query = query.where(events.c[name] == value)
    return query

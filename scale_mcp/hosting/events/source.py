"""The events of one caller: those of its connections and projects, and no word of any other."""

from __future__ import annotations

import re
from collections.abc import Iterable

import anyio

from scale_mcp.hosting.events.bell import Bell
from scale_mcp.hosting.events.bus import EventBus
from scale_mcp.hosting.events.facts import time_of
from scale_mcp.hosting.events.log import EventLog
from scale_mcp.tools.card import ToolFailure
from scale_mcp.tools.feed import Event, EventFilter, EventPage, Tick, cursor_at

BETWEEN_TICKS = 5.0  # seconds
PLACED = re.compile(r"[0-9]{1,18}")


class EventSource:
    """An ``EventFeed`` (see scale_mcp.tools.feed). ``projects`` empty means all of the connections' projects."""

    def __init__(
        self, events: EventLog, bus: EventBus, *, connections: Iterable[str], projects: Iterable[str] = ()
    ) -> None:
        self._events = events
        self._bus = bus
        self._connections = frozenset(connections)
        self._projects = tuple(projects)

    def sees(self, event: Event) -> bool:
        """Whether the caller may know of an event. One of no project is nobody's who is kept to some projects."""
        return event.connection in self._connections and (not self._projects or event.project in self._projects)

    async def page(
        self, wanted: EventFilter, *, after: str | None = None, since: str | None = None, limit: int = 20
    ) -> EventPage:
        head = await self._events.head()  # before reading, so that nothing falls between this page and the next
        if after is None and since is None:
            latest = await self._events.latest(
                limit, connections=self._connections, projects=self._projects, wanted=wanted
            )
            newest = latest[-1].position if latest else 0
            return EventPage(tuple(latest), cursor_at(max(head, newest)), has_more=False)
        position = _position(after)
        found = await self._events.after(
            position,
            limit + 1,
            connections=self._connections,
            projects=self._projects,
            wanted=wanted,
            since=time_of(since),
        )
        shown, has_more = tuple(found[:limit]), len(found) > limit
        looked_at = shown[-1].position if has_more else max(position, head, *(event.position for event in shown))
        return EventPage(shown, cursor_at(looked_at), has_more)

    async def wait(
        self,
        wanted: EventFilter,
        *,
        after: str | None = None,
        limit: int = 20,
        seconds: float,
        tick: Tick | None = None,
    ) -> EventPage:
        began = anyio.current_time()
        bell = Bell()
        # Listening begins before the first look, so that what happens in between rings.
        stop = self._bus.subscribe(lambda event: bell.ring() if self.sees(event) and wanted.admits(event) else None)
        try:
            start = after if after is not None else cursor_at(await self._events.head())
            while True:
                page = await self.page(wanted, after=start, limit=limit)
                if page.events or not await self._rings(bell, began, seconds, tick):
                    return page
        finally:
            stop()

    async def _rings(self, bell: Bell, began: float, seconds: float, tick: Tick | None) -> bool:
        """Whether something happens before the time is over."""
        while (left := began + seconds - anyio.current_time()) > 0:
            if await bell.wait(min(left, BETWEEN_TICKS)):
                return True
            if tick is not None:
                await tick(round(anyio.current_time() - began, 1))
        return False


def _position(after: str | None) -> int:
    if after is None:
        return 0
    if not PLACED.fullmatch(after):
        raise ToolFailure("after is not a cursor: give the next_after of an earlier page or wait, or leave it out.")
    return int(after)

"""Tells this process about new events, whichever replica noted them.

One task per process looks at the position of the newest event, at once when this process added some itself, else at an
interval. Whoever waits or listens is woken by it and does not ask the database.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from scale_mcp.hosting.events.bell import Bell
from scale_mcp.hosting.events.log import EventLog
from scale_mcp.tools.feed import Event

log = logging.getLogger(__name__)

READ_AT_ONCE = 500

Listener = Callable[[Event], None]


class EventBus:
    """Hands each new event to every listener of this process, in order, at least once."""

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._listeners: dict[object, Listener] = {}
        self._bell = Bell()
        self._position: int | None = None
        events.changed.append(self.nudge)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` with what comes from now on, until the returned function is called. It must not block."""
        key = object()
        self._listeners[key] = listener
        return lambda: _forget(self._listeners, key)

    @property
    def listening(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def nudge(self) -> None:
        """There is something new: look at once."""
        self._bell.ring()

    async def run(self, interval: float) -> None:
        """Work for good."""
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("New events cannot be read; trying again")
            await self._bell.wait(interval)

    async def look(self) -> None:
        """Read what is new once, and tell the listeners."""
        head = await self._events.head()
        if self._position is None or not self._listeners:
            self._position = head
            return
        while self._position < head:
            batch = await self._events.after(self._position, READ_AT_ONCE)
            if not batch:
                self._position = head
                return
            for event in batch:
                self._tell(event)
            self._position = batch[-1].position

    def _tell(self, event: Event) -> None:
        for listener in list(self._listeners.values()):
            try:
                listener(event)
            except Exception:  # one bad listener must not keep the news from the others
                log.exception("A listener to events failed")


def _forget(listeners: dict[object, Listener], key: object) -> None:
    listeners.pop(key, None)

"""What happened at Scale, as tools see it: events, and where they come from.

Only a hosted server keeps events; it hands a tool the feed of the caller's own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol

EventKind = Literal["completed", "error", "canceled", "recalled", "audited", "batch_completed"]

Tick = Callable[[float], Awaitable[None]]


@dataclass(frozen=True)
class Event:
    """One thing that happened to a task or batch, as Scale itself told it when it was asked.

    position    where it stands in the order of all events; grows, with gaps for whoever does not see all
    connection  id of the connection whose account it happened in
    status      of the task or batch
    at          when, in ISO 8601: Scale's own time where it says one
    review      the customer's verdict, for audited tasks
    """

    position: int
    connection: str
    kind: EventKind
    status: str
    at: str
    task_id: str | None = None
    batch: str | None = None
    project: str | None = None
    review: str | None = None


@dataclass(frozen=True)
class EventFilter:
    """Which events are wanted: those that agree with everything given."""

    kinds: tuple[EventKind, ...] = ()
    project: str | None = None
    batch: str | None = None
    task_id: str | None = None

    def admits(self, event: Event) -> bool:
        return (
            (not self.kinds or event.kind in self.kinds)
            and self.project in (None, event.project)
            and self.batch in (None, event.batch)
            and self.task_id in (None, event.task_id)
        )


def cursor_at(position: int) -> str:
    """The cursor after which what happened later than this position comes.

    Always of one length, so that not even a sealed one tells how much goes on elsewhere.
    """
    return f"{position:018}"


@dataclass(frozen=True)
class EventPage:
    """Events in the order in which they happened, and where to go on from."""

    events: tuple[Event, ...]
    next_after: str  # opaque: what comes later than everything that this page looked at
    has_more: bool  # whether later ones are there already


class EventFeed(Protocol):
    """The events that one caller may see."""

    async def page(
        self, wanted: EventFilter, *, after: str | None = None, since: str | None = None, limit: int = 20
    ) -> EventPage:
        """Events after the cursor ``after``, or noted since a time, oldest first; without either the latest ``limit``.

        Raises ToolFailure for a cursor that no page gave.
        """
        ...

    async def wait(
        self,
        wanted: EventFilter,
        *,
        after: str | None = None,
        limit: int = 20,
        seconds: float,
        tick: Tick | None = None,
    ) -> EventPage:
        """The events after ``after`` (without it: from now on) as soon as there are any, at most
        ``seconds`` later.

        ``tick`` is called every few seconds with the seconds waited so far.
        """
        ...

"""What happened at Scale since: looking at it, and waiting for it. Only hosted servers keep events."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from scale_mcp.models.checks import Checked
from scale_mcp.models.field_types import Identifier, Name, Text
from scale_mcp.text import clean_value
from scale_mcp.tools.card import Call, ToolFailure, tool
from scale_mcp.tools.feed import Event, EventFeed, EventFilter, EventKind, EventPage, cursor_at
from scale_mcp.tools.outputs import DEFAULT_LIMIT, Entry, Listing, by_columns, cost, entry, page_budget
from scale_mcp.tools.parameters import Limit, Time

LONGEST_WAIT = 55  # seconds; hosts and proxies give up on a call after a minute
SECONDS = re.compile(r"\.\d+(?=Z$)")  # to the second is enough
SEALED = 40  # tokens that a cursor takes up more once it is sealed
COLUMNS = ("kind", "task_id", "batch", "status", "review", "at", "project")


class EventEntry(Entry):
    kind: EventKind
    task_id: str | None = None
    batch: str | None = None
    project: str | None = None
    status: str | None = None
    review: str | None = Field(None, description="Verdict, of audited tasks")
    at: str | None = None


class EventList(Listing):
    nouns: ClassVar[tuple[str, str]] = ("event", "events")

    docs: list[EventEntry]
    next_after: str = Field(description="Give this as after to get what comes later")

    def text(self) -> str:
        return f"{super().text()}\nnext_after: {self.next_after}"


class Wanted(Checked):
    """Which events: what both tools take."""

    after: Text | None = Field(None, description="next_after of the page or wait before")
    kinds: Annotated[list[EventKind], Field(min_length=1)] | None = Field(None, description="Only these")
    project: Name | None = Field(None, description="Project name")
    batch: Name | None = Field(None, description="Batch name")
    task_id: Identifier | None = Field(None, description="Task id")

    def filter(self) -> EventFilter:
        return EventFilter(tuple(self.kinds or ()), self.project, self.batch, self.task_id)


class EventQuery(Wanted):
    """What ``list_events`` takes."""

    since: Time | None = Field(None, description="Noted from (ISO 8601)")
    limit: Limit = Field(DEFAULT_LIMIT, description="Page size")


class WaitQuery(Wanted):
    """What ``wait_for_events`` takes."""

    timeout_s: Annotated[int, Field(ge=1, le=LONGEST_WAIT)] = Field(25, description="Seconds to wait at most")


@tool(
    title="List events",
    toolset="work",
    risk="read",
    keywords=("what happened", "news", "recent", "changes", "finished", "completed", "audited", "recalled", "since"),
)
async def list_events(call: Call, query: EventQuery) -> EventList:
    """See what happened to tasks and batches, oldest first: completed, error, canceled, recalled, audited,
    batch_completed. Without after or since, the latest."""
    page = await _feed(call).page(query.filter(), after=query.after, since=query.since, limit=query.limit)
    latest = query.after is None and query.since is None
    listed = _event_list(page, query.limit, keep="end" if latest else "start")
    return listed.then("To wait for what comes later: wait_for_events with next_after." if not listed.has_more else "")


@tool(
    title="Wait for events",
    toolset="work",
    risk="read",
    keywords=("wait", "until done", "notify", "when finished", "completed", "watch", "block", "poll", "callback"),
)
async def wait_for_events(call: Call, query: WaitQuery) -> EventList:
    """Wait until something happens to tasks or batches and return it, or nothing when the time is over. With after,
    nothing in between is missed; without, only what is new counts."""

    async def tick(waited: float) -> None:
        await call.progress(waited, query.timeout_s, "No event yet")

    page = await _feed(call).wait(query.filter(), after=query.after, seconds=query.timeout_s, tick=tick)
    if not page.events:
        note = f"None within {query.timeout_s} s. To go on waiting, call again with after: next_after."
        return EventList(docs=[], next_after=page.next_after, note=note)
    return _event_list(page, DEFAULT_LIMIT, keep="start").then("Next: get_task for what a task has now.")


def _feed(call: Call) -> EventFeed:
    if call.events is None:
        raise ToolFailure(
            "This server keeps no events; a hosted one does. Look again later instead: get_batch_status says how far "
            "a batch is, list_tasks with updated_after what has changed."
        )
    return call.events


def _event_list(page: EventPage, limit: int, *, keep: Literal["start", "end"]) -> EventList:
    """The page as far as it fits: columns go first, then events, from the end that can be asked for again."""
    events, next_after, has_more, left_out = list(page.events), page.next_after, page.has_more, False
    budget = page_budget(limit) - SEALED
    while True:
        notes = ["Later ones are there: call again with after: next_after." if has_more else ""]
        notes += ["Earlier ones are not shown: give since to see them." if left_out else ""]
        note = " ".join(filter(None, notes)) or None
        rows = [_row(event) for event in events]
        listed = by_columns(EventList, rows, budget, ("task_id",), next_after=next_after, has_more=has_more, note=note)
        if cost(listed) <= budget or len(events) <= 1:
            return listed
        half = len(events) // 2
        if keep == "start":
            events, has_more = events[:half], True
            next_after = cursor_at(events[-1].position)
        else:
            events, left_out = events[half:], True


def _row(event: Event) -> dict[str, Any]:
    fields = {name: clean_value(getattr(event, name)) for name in COLUMNS}
    return entry({**fields, "at": SECONDS.sub("", event.at)})

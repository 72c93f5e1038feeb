"""What one caller sees of the events: its connections and projects, in order, with cursors; and waiting for more."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import anyio.lowlevel
import pytest

from scale_mcp.hosting.events.bus import EventBus
from scale_mcp.hosting.events.facts import Facts
from scale_mcp.hosting.events.log import EventLog
from scale_mcp.hosting.events.source import EventSource
from scale_mcp.hosting.store import Database
from scale_mcp.tools.card import ToolFailure
from scale_mcp.tools.feed import Event, EventFilter, EventPage
from tests.hosting.events.conftest import Scale

pytestmark = pytest.mark.anyio
ALL = EventFilter()


async def note(events: EventLog, *names: str, connection: str = "con_a", project: str | None = "streets") -> None:
    facts = [Facts("task", name, "completed", completed_at="2026-01-01T00:00:00Z", project=project) for name in names]
    await events.note(connection, facts)


def names(events: Sequence[Event]) -> list[str | None]:
    return [event.task_id for event in events]


@pytest.fixture
def source(events: EventLog, bus: EventBus) -> EventSource:
    return EventSource(events, bus, connections=["con_a"])


async def test_without_a_cursor_the_latest_come_oldest_first(events: EventLog, source: EventSource) -> None:
    await note(events, "t1", "t2", "t3")

    page = await source.page(ALL, limit=2)
    assert names(page.events) == ["t2", "t3"]
    assert page.has_more is False

    await note(events, "t4")
    assert names((await source.page(ALL, after=page.next_after)).events) == ["t4"]


async def test_pages_follow_each_other_without_gap_or_repetition(events: EventLog, source: EventSource) -> None:
    every = [f"t{i}" for i in range(23)]
    await note(events, *every)
    await note(events, "foreign", connection="con_b")

    seen: list[str | None] = []
    after: str | None = "0"
    pages = 0
    while True:
        page = await source.page(ALL, after=after, limit=5)
        seen += names(page.events)
        after, pages = page.next_after, pages + 1
        if not page.has_more:
            break
    assert seen == every
    assert pages == 5


async def test_a_caller_sees_its_connections_and_projects_only(events: EventLog, bus: EventBus) -> None:
    await note(events, "mine")
    await note(events, "other project", project="lanes")
    await note(events, "no project", project=None)
    await note(events, "other account", connection="con_b")

    def source(connections: list[str], projects: list[str]) -> EventSource:
        return EventSource(events, bus, connections=connections, projects=projects)

    async def sees(one: EventSource, wanted: EventFilter = ALL) -> list[str | None]:
        page, later = await one.page(wanted, limit=100), await one.page(wanted, after="0", limit=100)
        assert page.events == later.events
        assert all(one.sees(event) for event in page.events)
        return names(page.events)

    assert await sees(source(["con_a"], [])) == ["mine", "other project", "no project"]
    assert await sees(source(["con_a"], ["streets"])) == ["mine"]
    assert await sees(source(["con_b"], [])) == ["other account"]
    assert await sees(source([], [])) == []
    # Asking for it by name shows no more than not asking.
    assert await sees(source(["con_a"], ["streets"]), EventFilter(project="lanes")) == []
    assert await sees(source(["con_a"], ["streets"]), EventFilter(task_id="other account")) == []


async def test_filters_narrow_and_agree_with_the_database(events: EventLog, source: EventSource, scale: Scale) -> None:
    await events.note("con_a", [Facts("task", "t1", "completed", project="streets", batch="night")])
    await events.note("con_a", [Facts("task", "t2", "error", project="streets", batch="day")])
    await events.note("con_a", [Facts("batch", "night", "completed", project="streets", batch="night")])
    every = (await source.page(ALL)).events
    filters = [
        EventFilter(kinds=("error", "batch_completed")),
        EventFilter(batch="night"),
        EventFilter(task_id="t2"),
        EventFilter(project="lanes"),
        EventFilter(kinds=("completed",), batch="night", project="streets"),
    ]
    for wanted in filters:
        found = (await source.page(wanted)).events
        assert found == tuple(event for event in every if wanted.admits(event))
    assert len(every) == 3


async def test_since_shows_what_was_noted_from_then_on(events: EventLog, source: EventSource, scale: Scale) -> None:
    await note(events, "early")
    await scale.sandbox.advance(60)
    then = scale.now().isoformat()
    await note(events, "late")

    assert names((await source.page(ALL, since=then)).events) == ["late"]
    assert names((await source.page(ALL, since="2020-01-01")).events) == ["early", "late"]


@pytest.mark.parametrize("after", ["", "x", "-1", "1; DROP TABLE events", "9" * 40, "１"])
async def test_a_made_up_cursor_is_refused_with_the_cure(source: EventSource, after: str) -> None:
    with pytest.raises(ToolFailure, match="give the next_after"):
        await source.page(ALL, after=after)
    with pytest.raises(ToolFailure, match="give the next_after"):
        await source.wait(ALL, after=after, seconds=0.01)


async def wait_for(
    source: EventSource, events: EventLog, bus: EventBus, *then: str, after: str | None = None, **how: str
) -> EventPage:
    """Begin to wait, and only then let something happen."""
    found: list[EventPage] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bus.run, 60)

        async def wait() -> None:
            found.append(await source.wait(ALL, after=after, seconds=30))
            tasks.cancel_scope.cancel()

        tasks.start_soon(wait)
        while not bus.listening:
            await anyio.lowlevel.checkpoint()
        await events.head()  # whoever waits has asked where things stand
        await note(events, *then, **how)
    return found[0]


async def test_waiting_ends_at_once_when_something_happened_since_the_cursor(
    events: EventLog, source: EventSource
) -> None:
    cursor = (await source.page(ALL)).next_after
    await note(events, "meanwhile")

    assert names((await source.wait(ALL, after=cursor, seconds=30)).events) == ["meanwhile"]


async def test_a_waiting_caller_is_woken_by_an_event(events: EventLog, source: EventSource, bus: EventBus) -> None:
    cursor = (await source.page(ALL)).next_after

    page = await wait_for(source, events, bus, "now", after=cursor)

    assert names(page.events) == ["now"]
    assert not bus.listening


async def test_an_event_of_another_replica_wakes_too(
    database_url: str, events: EventLog, source: EventSource, bus: EventBus, scale: Scale
) -> None:
    async with Database.opened(database_url) as another:
        others = EventLog(another, clock=scale.now)
        found: list[EventPage] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bus.run, 0.01)

            async def wait() -> None:
                found.append(await source.wait(ALL, after="0", seconds=30))
                tasks.cancel_scope.cancel()

            tasks.start_soon(wait)
            while not bus.listening:
                await anyio.lowlevel.checkpoint()
            await note(others, "elsewhere")
    assert names(found[0].events) == ["elsewhere"]


async def test_what_others_may_see_wakes_nobody_else(events: EventLog, bus: EventBus) -> None:
    source = EventSource(events, bus, connections=["con_a"], projects=["streets"])
    looked = 0
    page = source.page

    async def counted(*args: object, **kwargs: object) -> EventPage:
        nonlocal looked
        looked += 1
        return await page(*args, **kwargs)  # type: ignore[arg-type]

    source.page = counted  # type: ignore[method-assign]
    async with anyio.create_task_group() as tasks:

        async def wait() -> None:
            await source.wait(ALL, after="0", seconds=30)
            tasks.cancel_scope.cancel()

        tasks.start_soon(wait)
        while not bus.listening or not looked:
            await anyio.lowlevel.checkpoint()
        await bus.look()
        await note(events, "foreign", connection="con_b")
        await note(events, "forbidden", project="lanes")
        await bus.look()
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        assert looked == 1
        await note(events, "mine")
        await bus.look()
    assert looked == 2


async def test_waiting_in_vain_ends_with_a_cursor_to_go_on_from(events: EventLog, source: EventSource) -> None:
    await note(events, "before")

    page = await source.wait(ALL, seconds=0.01)

    assert page.events == ()
    await note(events, "after")
    assert names((await source.page(ALL, after=page.next_after)).events) == ["after"]


async def test_a_listener_that_fails_keeps_the_news_from_nobody(
    events: EventLog, bus: EventBus, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str | None] = []

    def fail(event: Event) -> None:
        raise RuntimeError("deaf")

    for listener in (fail, lambda event: heard.append(event.task_id)):
        bus.subscribe(listener)
    await bus.look()
    await note(events, "t1", "t2")
    await bus.look()

    assert heard == ["t1", "t2"]
    assert "A listener to events failed" in caplog.text


async def test_positions_show_in_their_order_while_many_write(
    database_url: str, events: EventLog, scale: Scale
) -> None:
    """Whoever has seen a position has seen all before it: a reader that goes on from there misses nothing."""
    seen: list[int] = []
    async with Database.opened(database_url) as another:
        others = EventLog(another, clock=scale.now)

        async def write(log: EventLog, prefix: str) -> None:
            for i in range(15):
                await note(log, f"{prefix}{i}")

        async with anyio.create_task_group() as writers:
            for log, prefix in ((events, "a"), (others, "b"), (events, "c"), (others, "d")):
                writers.start_soon(write, log, prefix)
            while len(seen) < 60:
                seen += [event.position for event in await others.after(seen[-1] if seen else 0, 100)]
    assert seen == list(range(1, 61))

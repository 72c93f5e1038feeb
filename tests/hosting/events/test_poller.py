"""Polling: finds what callbacks missed, tells nothing twice, floods nobody with the past, one replica at a time."""

from __future__ import annotations

from datetime import timedelta

import anyio
import httpx2
import pytest
import sqlalchemy as sa

from scale_mcp.api import ApiOptions, ScaleApi
from scale_mcp.hosting.clock import moment, stamp
from scale_mcp.hosting.events.inbox import Arrival, Inbox
from scale_mcp.hosting.events.log import EventLog
from scale_mcp.hosting.events.poller import LEASE, Poller
from scale_mcp.hosting.events.tables import event_polls
from scale_mcp.hosting.store import Database
from tests.hosting.events.conftest import Scale

pytestmark = pytest.mark.anyio
MINUTE = 60.0


async def told(events: EventLog) -> list[tuple[str, str | None]]:
    return [(event.kind, event.task_id or event.batch) for event in await events.after(0, 1_000)]


async def poll_state(database: Database, connection_id: str = "con_test") -> sa.Row[tuple[object, ...]]:
    async with database.reading() as connection:
        mine = sa.select(event_polls).where(event_polls.c.connection_id == connection_id)
        return (await connection.execute(mine)).one()


async def test_what_was_done_before_the_first_poll_is_no_news(poller: Poller, events: EventLog, scale: Scale) -> None:
    old = await scale.task()
    await scale.sandbox.advance(3_600)
    assert await poller.poll_due() == 2
    await scale.sandbox.advance(MINUTE)
    await scale.test.tasks.add_tags(old, ["seen"])  # updates it, and is nothing to tell
    new = await scale.task()
    await poller.poll_due()

    assert await told(events) == [("completed", new)]


async def test_polls_find_all_that_happens_to_a_task_and_each_once(
    poller: Poller, events: EventLog, scale: Scale
) -> None:
    await poller.poll_due()
    task_id = await scale.task()
    canceled = await scale.task("con_live")
    await scale.live.tasks.cancel(canceled)
    steps = [
        lambda: scale.test.tasks.audit(task_id, accepted=False),
        lambda: scale.test.tasks.set_metadata(task_id, {"scene": 7}),
    ]
    for step in steps:
        await scale.sandbox.advance(MINUTE)
        await poller.poll_due()
        await step()
    await scale.sandbox.advance(MINUTE)
    await poller.poll_due()
    scale.recall(task_id)
    await scale.sandbox.advance(2 * MINUTE)
    await poller.poll_due()
    await scale.sandbox.advance(MINUTE)
    await poller.poll_due()

    found = await told(events)
    assert [kind for kind, name in found if name == task_id] == ["completed", "audited", "recalled"]
    assert [kind for kind, name in found if name == canceled] == ["canceled"]


async def test_a_poll_and_callbacks_tell_the_same_thing_once(
    poller: Poller, inbox: Inbox, events: EventLog, scale: Scale
) -> None:
    await poller.poll_due()
    called_back, lost = await scale.task(), await scale.task()
    await inbox.put("con_test", Arrival("task", called_back, "completed"))
    await inbox.work()
    await scale.sandbox.advance(MINUTE)
    await poller.poll_due()
    late = Arrival("task", lost, "completed")
    await inbox.put("con_test", late)
    await inbox.work()

    assert sorted(await told(events)) == sorted([("completed", called_back), ("completed", lost)])


async def test_a_connection_with_callbacks_is_polled_seldom(poller: Poller, scale: Scale) -> None:
    scale.callbacks = True
    assert await poller.poll_due() == 2
    await scale.sandbox.advance(5 * MINUTE)
    assert await poller.poll_due() == 0
    await scale.sandbox.advance(5 * MINUTE)
    assert await poller.poll_due() == 2


async def test_more_than_a_page_and_a_finished_batch_are_found(poller: Poller, events: EventLog, scale: Scale) -> None:
    await scale.project("lanes", "con_live")
    await scale.live.batches.create("lanes", "rush")
    for _ in range(3):
        await scale.task("con_live", project="lanes", batch="rush")
    await poller.poll_due()
    tasks = [await scale.task() for _ in range(130)]
    await scale.sandbox.advance(86_400)
    await poller.poll_due()

    found = await told(events)
    assert sorted(name or "" for _, name in found if name in tasks) == sorted(tasks)
    assert ("batch_completed", "rush") in found
    assert len(found) == 130 + 3 + 1


async def test_two_replicas_never_poll_a_connection_at_the_same_time(
    database_url: str, poller: Poller, events: EventLog, scale: Scale
) -> None:
    async with Database.opened(database_url) as another:
        other = Poller(another, EventLog(another, clock=scale.now), scale, scale, clock=scale.now)
        polled: list[int] = []

        async def poll(replica: Poller) -> None:
            polled.append(await replica.poll_due())

        for _ in range(3):
            await scale.task()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(poll, poller)
                tasks.start_soon(poll, other)
            await scale.sandbox.advance(MINUTE)
    assert sum(polled) == 2 * 3
    assert len(await told(events)) == 3


async def test_a_poll_that_fails_is_begun_again_where_it_began(
    database: Database, poller: Poller, events: EventLog, scale: Scale
) -> None:
    await poller.poll_due()
    before = (await poll_state(database)).seen_until
    lost = await scale.task()
    working = scale.apis["con_test"]
    down = httpx2.MockTransport(lambda request: httpx2.Response(503, json={"error": "maintenance"}))
    scale.apis["con_test"] = ScaleApi("test_events", transport=down, options=ApiOptions(attempts=1))
    await scale.sandbox.advance(MINUTE)
    await poller.poll_due()
    state = await poll_state(database)
    assert state.seen_until == before
    assert "maintenance" in str(state.problem)

    await scale.apis["con_test"].aclose()
    scale.apis["con_test"] = working
    await scale.sandbox.advance(30 * MINUTE)
    await poller.poll_due()
    assert await told(events) == [("completed", lost)]
    assert (await poll_state(database)).problem is None


async def test_the_connection_of_a_crashed_poller_is_taken_over(
    database: Database, poller: Poller, scale: Scale
) -> None:
    await poller.poll_due()
    async with database.writing() as connection:
        until = scale.now() + LEASE
        await connection.execute(sa.update(event_polls).values(lease="lea_crashed", leased_until=stamp(until)))
    await scale.sandbox.advance(2 * MINUTE)
    assert await poller.poll_due() == 0
    await scale.sandbox.advance(LEASE.total_seconds())
    assert await poller.poll_due() == 2


async def test_a_task_from_the_far_future_does_not_hide_what_comes_before(
    database: Database, poller: Poller, scale: Scale
) -> None:
    task = {"task_id": "t1", "status": "completed", "updated_at": "9999-01-01T00:00:00Z"}

    def answer(request: httpx2.Request) -> httpx2.Response:
        docs = [task] if request.url.path.endswith("/tasks") else []
        return httpx2.Response(200, json={"docs": docs, "total": len(docs), "has_more": False})

    scale.apis = {"con_test": ScaleApi("test_events", transport=httpx2.MockTransport(answer))}
    await poller.poll_due()

    assert moment(str((await poll_state(database)).seen_until)) <= scale.now() + timedelta(seconds=1)

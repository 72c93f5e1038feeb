"""Callbacks in the inbox: taken once, believed never, worked off by one replica, and not lost with a crashed one."""

from __future__ import annotations

from datetime import timedelta

import anyio
import httpx2
import pytest
import sqlalchemy as sa

from scale_mcp.api import ApiOptions, ScaleApi
from scale_mcp.hosting.events.inbox import LEASE, Arrival, Inbox
from scale_mcp.hosting.events.leases import Leases
from scale_mcp.hosting.events.log import EventLog
from scale_mcp.hosting.events.tables import inbox as inbox_table
from scale_mcp.hosting.store import Database
from tests.hosting.events.conftest import Scale

pytestmark = pytest.mark.anyio


class Killed(BaseException):
    """The end of a process, in the middle of something."""


async def kinds(events: EventLog) -> list[str]:
    return [event.kind for event in await events.after(0, 100)]


async def rows(database: Database) -> list[sa.Row[tuple[object, ...]]]:
    async with database.reading() as connection:
        return list(await connection.execute(sa.select(inbox_table).order_by(inbox_table.c.id)))


async def drain(inbox: Inbox) -> None:
    while await inbox.work():
        pass


async def test_a_callback_becomes_an_event_with_what_scale_says(inbox: Inbox, events: EventLog, scale: Scale) -> None:
    await scale.project()
    await scale.test.batches.create("streets", "night")
    task_id = await scale.task(project="streets", batch="night")

    assert await inbox.put("con_test", Arrival("task", task_id, "completed", "2026-01-01T00:00:00Z"))
    await drain(inbox)

    (event,) = await events.after(0, 10)
    task = await scale.test.tasks.get(task_id)
    assert (event.kind, event.status, event.task_id) == ("completed", "completed", task_id)
    assert (event.project, event.batch, event.connection) == ("streets", "night", "con_test")
    assert event.at == task.completed_at


async def test_the_same_callback_again_is_one_row_and_one_event(
    inbox: Inbox, events: EventLog, scale: Scale, database: Database
) -> None:
    task_id = await scale.task()
    same = Arrival("task", task_id, "completed", "2026-01-01T00:00:00Z")

    assert [await inbox.put("con_test", same) for _ in range(3)] == [True, False, False]
    await drain(inbox)
    assert await inbox.put("con_test", same) is False
    await drain(inbox)

    assert len(await rows(database)) == 1
    assert await kinds(events) == ["completed"]


async def test_callbacks_of_other_times_and_connections_are_no_duplicates(inbox: Inbox, database: Database) -> None:
    for connection in ("con_test", "con_live"):
        for updated in ("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"):
            assert await inbox.put(connection, Arrival("task", "t1", "completed", updated))

    assert len(await rows(database)) == 4


async def test_callbacks_without_a_time_merge_only_while_they_wait(
    inbox: Inbox, events: EventLog, scale: Scale, database: Database
) -> None:
    task_id = await scale.task()
    untold = Arrival("task", task_id, "completed")

    assert [await inbox.put("con_test", untold) for _ in range(2)] == [True, False]
    await drain(inbox)
    assert await inbox.put("con_test", untold)  # it may be about something newer
    await drain(inbox)

    assert await kinds(events) == ["completed"]
    assert {row.state for row in await rows(database)} == {"done"}


async def test_a_callback_that_lies_is_overruled_by_the_task(inbox: Inbox, events: EventLog, scale: Scale) -> None:
    pending = await scale.task("con_live")
    completed = await scale.task("con_test")

    await inbox.put("con_live", Arrival("task", pending, "completed"))
    await inbox.put("con_live", Arrival("task", pending, "error", "2030-01-01T00:00:00Z"))
    await inbox.put("con_test", Arrival("task", completed, "error"))
    await drain(inbox)

    assert [(event.kind, event.task_id) for event in await events.after(0, 10)] == [("completed", completed)]


async def test_a_task_of_another_account_is_not_found_there(
    inbox: Inbox, events: EventLog, scale: Scale, database: Database
) -> None:
    others = await scale.task("con_test")

    await inbox.put("con_live", Arrival("task", others, "completed"))
    await inbox.put("con_live", Arrival("batch", "no such batch", "completed"))
    await inbox.put("con_gone", Arrival("task", others, "completed"))
    await drain(inbox)

    assert await kinds(events) == []
    assert {(row.state, row.problem) for row in await rows(database)} == {
        ("done", "there is no such task, batch or connection")
    }


async def test_a_life_of_a_task_is_told_in_order(inbox: Inbox, events: EventLog, scale: Scale) -> None:
    task_id = await scale.task()

    async def call_back(said: str) -> None:
        await inbox.put("con_test", Arrival("task", task_id, said))
        await drain(inbox)

    await call_back("completed")
    await scale.sandbox.advance(10)
    await scale.test.tasks.audit(task_id, accepted=False)
    await call_back("completed")
    await call_back("completed")
    scale.recall(task_id)
    await scale.sandbox.advance(10)
    await call_back("pending")
    await call_back("pending")

    found = await events.after(0, 10)
    assert [event.kind for event in found] == ["completed", "audited", "recalled"]
    assert [event.review for event in found] == [None, "rejected", None]
    assert [event.position for event in found] == [1, 2, 3]


async def test_a_recall_of_a_task_nobody_knew_is_told_when_the_callback_says_so(
    inbox: Inbox, events: EventLog, scale: Scale
) -> None:
    pending = await scale.task("con_live")

    await inbox.put("con_live", Arrival("task", pending, "pending"))
    await drain(inbox)

    assert await kinds(events) == ["recalled"]


async def test_a_batch_that_is_done_is_told_once(inbox: Inbox, events: EventLog, scale: Scale) -> None:
    await scale.project("lanes", "con_live")
    await scale.live.batches.create("lanes", "rush")
    await scale.task("con_live", project="lanes", batch="rush")
    await inbox.put("con_live", Arrival("batch", "rush", "completed"))
    await drain(inbox)
    assert await kinds(events) == []  # it says so, but it is not

    await scale.sandbox.advance(86_400)
    for _ in range(2):
        await inbox.put("con_live", Arrival("batch", "rush", "completed"))
        await drain(inbox)

    (event,) = await events.after(0, 10)
    assert (event.kind, event.batch, event.project, event.task_id) == ("batch_completed", "rush", "lanes", None)


async def test_two_replicas_share_one_inbox_without_working_twice(
    database: Database, database_url: str, inbox: Inbox, events: EventLog, scale: Scale
) -> None:
    async with Database.opened(database_url) as another:
        other = Inbox(another, EventLog(another, clock=scale.now), scale, clock=scale.now)
        tasks = [await scale.task() for _ in range(30)]
        for task_id in tasks:
            await inbox.put("con_test", Arrival("task", task_id, "completed", "2026-01-01T00:00:00Z"))
        async with anyio.create_task_group() as group:
            for replica in (inbox, other, inbox, other):
                group.start_soon(drain, replica)

    found = await events.after(0, 100)
    assert sorted(str(event.task_id) for event in found) == sorted(tasks)
    assert [event.position for event in found] == list(range(1, 31))
    assert scale.reads == 30  # each was read by one replica alone


async def test_what_a_crashed_replica_had_claimed_is_taken_over_when_its_lease_ends(
    database: Database, inbox: Inbox, events: EventLog, scale: Scale
) -> None:
    task_id = await scale.task()
    await inbox.put("con_test", Arrival("task", task_id, "completed"))
    crashed = Leases(database, inbox_table, length=LEASE, clock=scale.now)
    token, claimed = await crashed.claim(10)
    assert len(claimed) == 1

    await drain(inbox)
    assert await kinds(events) == []
    await scale.sandbox.advance(LEASE.total_seconds() + 1)
    await drain(inbox)
    assert await kinds(events) == ["completed"]

    # It was only slow, and comes back: its claim is gone, and what it has to say changes nothing.
    assert await crashed.release(claimed[0].id, token, state="waiting") is False
    await drain(inbox)
    assert await kinds(events) == ["completed"]


async def test_a_crash_between_the_event_and_its_row_tells_nothing_twice(
    database: Database, inbox: Inbox, events: EventLog, scale: Scale, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = await scale.task()
    await inbox.put("con_test", Arrival("task", task_id, "completed"))
    with monkeypatch.context() as patched:

        async def crash(*_: object, **__: object) -> bool:
            raise Killed

        patched.setattr(Leases, "release", crash)
        with pytest.raises(BaseExceptionGroup):
            await inbox.work()
    assert await kinds(events) == ["completed"]

    await scale.sandbox.advance(LEASE.total_seconds() + 1)
    await drain(inbox)

    assert await kinds(events) == ["completed"]
    assert [row.state for row in await rows(database)] == ["done"]


async def test_while_scale_does_not_answer_a_callback_waits_longer_each_time(
    database: Database, inbox: Inbox, events: EventLog, scale: Scale
) -> None:
    task_id = await scale.task()
    await inbox.put("con_test", Arrival("task", task_id, "completed"))
    working, scale.apis["con_test"] = scale.test, broken_api()

    waits = []
    for _ in range(4):
        await drain(inbox)
        (row,) = await rows(database)
        waits.append(row.attempts)
        await scale.sandbox.advance(2**row.attempts - 1)
        assert await inbox.work() == 0
        await scale.sandbox.advance(1.5)
    assert waits == [1, 2, 3, 4]
    assert "out of order" in str((await rows(database))[0].problem)

    await scale.test.aclose()
    scale.apis["con_test"] = working
    await drain(inbox)
    assert await kinds(events) == ["completed"]


def broken_api() -> ScaleApi:
    broken = httpx2.MockTransport(lambda request: httpx2.Response(500, json={"error": "out of order"}))
    return ScaleApi("test_events", transport=broken, options=ApiOptions(attempts=1))


async def test_old_news_is_forgotten_and_the_positions_go_on(inbox: Inbox, events: EventLog, scale: Scale) -> None:
    await inbox.put("con_test", Arrival("task", await scale.task(), "completed"))
    await drain(inbox)
    await scale.sandbox.advance(86_400)
    await inbox.put("con_test", Arrival("task", await scale.task(), "completed"))
    await drain(inbox)

    assert await events.prune(timedelta(hours=12)) == 1
    assert [event.position for event in await events.after(0, 10)] == [2]
    assert await events.head() == 2

"""A sandbox in a file goes on where it stopped, however it stopped; clocks of every kind."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import anyio
import httpx2
import pytest

from scale_mcp.sandbox import SANDBOX_URL, Sandbox, SandboxOptions
from scale_mcp.sandbox.agenda import Event
from scale_mcp.sandbox.clock import from_iso, to_iso
from scale_mcp.sandbox.store import Store, StoreError
from tests.sandbox.calls import batch, ok, project, task
from tests.sandbox.receiver import receiving

pytestmark = pytest.mark.anyio
DAY = 86_400.0


def client_of(sandbox: Sandbox, key: str = "live_restart") -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=sandbox.transport(), base_url=SANDBOX_URL, auth=(key, ""))


async def test_work_goes_on_after_a_restart(tmp_path: Path) -> None:
    options = SandboxOptions(db=str(tmp_path / "box.db"), clock="manual", workers=1)
    async with Sandbox(options) as sandbox, client_of(sandbox) as live:
        await project(live)
        await batch(live)
        made = [(await task(live, batch="first"))["task_id"] for _ in range(3)]
        await sandbox.advance(90)
        stopped_at = sandbox.clock.now()
    async with Sandbox(options) as sandbox, client_of(sandbox) as live:
        assert sandbox.clock.now() == stopped_at
        assert [each["work_started"] for each in (await ok(live.get("/tasks")))["docs"]] == [False, False, True]
        await sandbox.advance(DAY)
        page = await ok(live.get("/tasks"))
        assert [each["task_id"] for each in page["docs"]] == made[::-1]
        assert {each["status"] for each in page["docs"]} == {"completed"}
        assert await ok(live.get("/batches/first/status")) == {"status": "completed", "completed": 3}


async def test_a_kill_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    options = SandboxOptions(db=str(tmp_path / "box.db"), clock="fast", speed=1000.0)
    killed = Sandbox(options)  # never closed: what is in the file now is what a kill leaves
    async with client_of(killed) as live:
        made = await task(live)
    again = Sandbox(options)
    async with client_of(again) as live:
        later = await task(live)
        assert [each["task_id"] for each in (await ok(live.get("/tasks")))["docs"]] == [
            later["task_id"],
            made["task_id"],
        ]
        assert later["created_at"] >= made["created_at"]
    for sandbox in (killed, again):
        await sandbox.close()


async def test_a_callback_under_way_is_tried_again_after_a_restart(tmp_path: Path) -> None:
    options = SandboxOptions(db=str(tmp_path / "box.db"), clock="manual")
    async with receiving() as receiver:
        async with Sandbox(options) as sandbox, client_of(sandbox, "test_restart") as tester:
            await task(tester, callback_url=receiver.url)
            sandbox.store.execute("UPDATE deliveries SET state = 'sending'")
        async with Sandbox(options) as sandbox:
            await sandbox.settle()
            assert receiver.bodies


async def test_a_fast_clock_lets_people_work_while_nobody_asks() -> None:
    async with receiving() as receiver, Sandbox(SandboxOptions(clock="fast", speed=1_000_000.0)) as sandbox:
        async with client_of(sandbox) as live:
            made = await task(live, callback_url=receiver.url)
            with anyio.fail_after(20):
                while not receiver.bodies:
                    await anyio.lowlevel.checkpoint()
        assert receiver.bodies[0]["task"]["task_id"] == made["task_id"]


async def test_a_sandbox_that_was_not_started_works_when_it_is_asked() -> None:
    sandbox = Sandbox(SandboxOptions(clock="fast", speed=1e9))
    async with client_of(sandbox) as live:
        made = await task(live)
        with anyio.fail_after(20):
            while (await ok(live.get(f"/task/{made['task_id']}")))["status"] != "completed":
                await anyio.lowlevel.checkpoint()
    await sandbox.close()


async def test_a_clock_never_runs_backwards_over_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "box.db")
    async with Sandbox(SandboxOptions(db=path, clock="manual")) as sandbox:
        future = await sandbox.advance(365 * DAY)
        with pytest.raises(ValueError):
            await sandbox.advance(-1)
    async with Sandbox(SandboxOptions(db=path, clock="real")) as sandbox:
        assert sandbox.clock.now() >= future


async def test_events_happen_in_the_order_of_time_and_a_broken_one_stops_nothing(sandbox: Sandbox) -> None:
    seen: list[str] = []

    def note(event: Event) -> None:
        seen.append(event.payload["name"])
        if event.payload["name"] == "broken":
            sandbox.store.execute("DELETE FROM agenda")
            raise ValueError("on purpose")

    sandbox.agenda.on("note", note)
    now = sandbox.clock.now()
    for name, after in (("late", 30), ("broken", 20), ("early", 10), ("never", 99)):
        sandbox.agenda.schedule(now + after, "note", {"name": name}, key=name)
    sandbox.agenda.schedule(now + 5, "note", {"name": "second"}, key="late")
    sandbox.agenda.cancel("never")
    await sandbox.advance(100)
    assert seen == ["early", "broken", "late"]
    assert sandbox.agenda.next_due() is None


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2021-04-25", "2021-04-25T00:00:00.000Z"),
        ("2021-04-25T03:14:15-07:00", "2021-04-25T10:14:15.000Z"),
        ("2021-04-25T03:14:15 07:00", "2021-04-24T20:14:15.000Z"),
        ("2021-04-25 03:14:15.123456", "2021-04-25T03:14:15.123Z"),
        ("2021-04-25T03:14:15.1Z", "2021-04-25T03:14:15.100Z"),
    ],
)
async def test_times_are_read_as_clients_write_them(text: str, same: str) -> None:
    assert to_iso(from_iso(text)) == same


@pytest.mark.parametrize("text", ["", "now", "2021-02-30", "2021-04-25T25:00", "1619322255"])
async def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        from_iso(text)


async def test_a_transaction_is_undone_as_a_whole_or_in_its_inner_part() -> None:
    store = Store(":memory:", ["CREATE TABLE t (x UNIQUE)"])

    def insert_twice(x: int) -> None:
        with store.transaction():
            store.execute("INSERT INTO t VALUES (?)", (x,))
            store.execute("INSERT INTO t VALUES (?)", (x,))

    def insert_inside(x: int) -> None:
        with store.transaction():
            with store.transaction():
                store.execute("INSERT INTO t VALUES (?)", (x,))
            insert_twice(x + 1)

    with store.transaction():
        store.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(sqlite3.IntegrityError):
            insert_twice(2)
    with pytest.raises(sqlite3.IntegrityError):
        insert_inside(3)
    assert [row["x"] for row in store.query("SELECT x FROM t")] == [1]
    store.close()


async def test_a_database_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, although it is long enough to be one")
    with pytest.raises(StoreError, match="file is not a database"):
        Store(str(tmp_path / "text.db"))
    newer = Store(str(tmp_path / "newer.db"))
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(StoreError, match="newer version"):
        Store(str(tmp_path / "newer.db"))


async def test_an_event_that_finds_the_file_locked_is_kept(tmp_path: Path) -> None:
    box = Sandbox(SandboxOptions(db=str(tmp_path / "box.db"), clock="manual"))
    seen: list[float] = []

    def handle(event: Event) -> None:
        if not seen:
            seen.append(event.at)
            raise sqlite3.OperationalError("database is locked")
        seen.append(event.at)

    box.agenda.on("noted", handle)
    box.agenda.schedule(box.clock.now(), "noted")
    with pytest.raises(sqlite3.OperationalError):
        await box.agenda.run_due()
    assert await box.agenda.run_due() == 1
    assert len(seen) == 2
    await box.close()


async def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "box.db")
    for version, word in ((1, "older"), (99, "newer")):
        with sqlite3.connect(path) as connection:
            connection.execute(f"PRAGMA user_version = {version}")
        connection.close()
        with pytest.raises(StoreError, match=word):
            Store(path)

"""When the trail cannot be written: writes are refused, reads go on and are counted, nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from scale_mcp.hosting.audit import writer
from scale_mcp.hosting.audit.chain import audit_head, audit_rows
from scale_mcp.hosting.audit.recorder import Intent, Recorder
from scale_mcp.hosting.audit.verification import verify
from scale_mcp.hosting.audit.writer import AuditUnavailable
from scale_mcp.hosting.store import Database
from tests.hosting.postgresql import PostgresqlServer, postgresql

pytestmark = pytest.mark.anyio
READ = Intent(tool="get_task", risk="read", persona="ada")
WRITE = Intent(tool="create_task", risk="spend", persona="ada")


async def contents(database: Database, kind: str) -> list[dict[str, Any]]:
    async with database.reading() as connection:
        found = await connection.scalars(
            sa.select(audit_rows.c.content).where(audit_rows.c.kind == kind).order_by(audit_rows.c.seq)
        )
        return [json.loads(content) for content in found]


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.opened(f"sqlite:///{tmp_path / 'hosted.db'}") as database:
        yield database


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    """A server of these tests' own, to be stopped."""
    with postgresql() as started:
        yield started


async def set_pragma(database: Database, pragma: str) -> None:
    """For all connections from now on."""

    @sa.event.listens_for(database.engine.sync_engine, "connect")
    def _set(connection: Any, _: Any) -> None:
        connection.cursor().execute(f"PRAGMA {pragma}")

    await database.engine.dispose()


async def fill(recorder: Recorder) -> None:
    """Until it fails. The rows are small, so that nothing is left of the last page."""
    while True:
        await recorder.append("test.row", {})


async def refuses_writes_and_goes_on_with_reads(recorder: Recorder) -> None:
    with pytest.raises(AuditUnavailable) as refusal:
        await recorder.begin(WRITE)
    assert refusal.value.code == "audit_unavailable"
    assert "nothing was sent" in str(refusal.value)
    before = recorder.unrecorded_reads
    entry = await recorder.begin(READ)
    assert not entry.recorded
    await entry.finish("ok")
    assert recorder.unrecorded_reads == before + 1
    assert recorder.failing


async def test_a_full_disk_refuses_writes_and_lets_reads_go_on(sqlite: Database) -> None:
    recorder = Recorder(sqlite)
    running = await recorder.begin(WRITE)
    async with sqlite.reading() as connection:
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
    await set_pragma(sqlite, f"max_page_count = {pages}")
    with pytest.raises(AuditUnavailable, match="cannot be written") as refusal:
        await fill(recorder)
    assert "full" in refusal.value.reason
    await refuses_writes_and_goes_on_with_reads(recorder)
    await running.finish("ok")  # its answer goes to the agent all the same
    assert recorder.unfinished == 1
    await set_pragma(sqlite, "max_page_count = 1000000")
    await recorder.append("test.row", {})
    assert not recorder.failing
    assert [outcome["outcome"] for outcome in await contents(sqlite, "call.outcome")] == ["ok"]
    assert (await contents(sqlite, "audit.gap")) == [{"actor": "audit", "reads": 1, "outcomes": 0}]
    found = await verify(sqlite)
    assert (found.holds, found.open_count) == (True, 0)


async def test_a_file_that_may_only_be_read_refuses_writes_and_lets_reads_go_on(sqlite: Database) -> None:
    await set_pragma(sqlite, "query_only = ON")
    await refuses_writes_and_goes_on_with_reads(Recorder(sqlite))


async def test_a_server_stopped_in_the_middle_refuses_writes_and_is_used_again_when_it_is_back(
    server: PostgresqlServer,
) -> None:
    async with Database.opened(server.url) as database:
        recorder = Recorder(database)
        finished, running = await recorder.begin(WRITE), await recorder.begin(WRITE)
        await finished.finish("ok")
        server.stop()
        try:
            await refuses_writes_and_goes_on_with_reads(recorder)
            await running.finish("ok", connection="main")
        finally:
            server.start()
        assert await recorder.append("test.row", {}) == 6
        assert len(await contents(database, "call.outcome")) == 2
        assert [gap["reads"] for gap in await contents(database, "audit.gap")] == [1]
        found = await verify(database)
        assert (found.holds, found.open_count) == (True, 0)


async def test_waiting_for_the_chain_has_an_end_and_leaves_nothing_behind(database: Database) -> None:
    """Somebody else holds the chain for longer than a call can wait."""
    other, recorder = Recorder(database), Recorder(database, patience=0.2)
    async with database.writing() as connection:
        await other.append("persona.added", {}, connection=connection)
        await refuses_writes_and_goes_on_with_reads(recorder)
    await recorder.settled()
    assert await other.append("test.row", {}) >= 2
    said = {(outcome["tool"], outcome["outcome"]) for outcome in await contents(database, "call.outcome")}
    assert said <= {("create_task", "abandoned"), ("get_task", "unrecorded")}
    entry = await Recorder(database).begin(WRITE)
    await entry.finish("ok")
    found = await verify(database)
    assert (found.holds, found.open_count) == (True, 0)


async def test_a_failed_transaction_is_told_to_each_who_had_a_row_in_it(database: Database) -> None:
    recorder = Recorder(database)
    async with database.writing() as connection:
        await connection.execute(sa.update(audit_head).values(id=2))
    results = await asyncio.gather(*(recorder.append("test.row", {}) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(result, AuditUnavailable) for result in results)
    async with database.writing() as connection:
        await connection.execute(sa.update(audit_head).values(id=1))
    assert await recorder.append("test.row", {}) == 1


class LosesAnswers(Database):
    """Commits, and then the answer is lost on its way."""

    lost = False

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        async with super().writing() as connection:
            yield connection
        if self.lost:
            raise ConnectionResetError


async def test_a_commit_whose_answer_was_lost_doubles_nothing(database: Database) -> None:
    fragile = LosesAnswers(database.engine)
    recorder = Recorder(fragile)
    entry = await recorder.begin(WRITE)
    fragile.lost = True
    await entry.finish("ok")
    with pytest.raises(AuditUnavailable):
        await recorder.begin(WRITE)
    fragile.lost = False
    await recorder.append("test.row", {})
    assert len(await contents(database, "call.intent")) == 2
    # The first call was finished once, and the one that was refused says that it was not done.
    assert [content["outcome"] for content in await contents(database, "call.outcome")] == ["ok", "abandoned"]
    found = await verify(database)
    assert (found.holds, found.open_count) == (True, 0)


async def test_outcomes_are_kept_while_the_database_is_away_up_to_a_limit(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MOST_OWED", 3)
    recorder = Recorder(database)
    entries = [await recorder.begin(WRITE) for _ in range(5)]
    async with database.writing() as connection:
        await connection.execute(sa.update(audit_head).values(id=2))
    for entry in entries:
        await entry.finish("ok")
    async with database.writing() as connection:
        await connection.execute(sa.update(audit_head).values(id=1))
    await recorder.append("test.row", {})
    assert len(await contents(database, "call.outcome")) == 3
    assert (await contents(database, "audit.gap")) == [{"actor": "audit", "reads": 0, "outcomes": 2}]
    assert (await verify(database)).open_count == 2


async def test_reads_do_not_wait_for_what_is_known_to_fail(database: Database) -> None:
    recorder = Recorder(database)
    async with database.writing() as connection:
        await connection.execute(sa.update(audit_head).values(id=2))
    assert not (await recorder.begin(READ)).recorded
    async with database.writing():  # on SQLite nobody could write now, not even to find out that it fails
        with anyio.fail_after(5):
            for _ in range(10):
                assert not (await recorder.begin(READ)).recorded
    assert recorder.unrecorded_reads == 11


async def test_the_end_of_the_process_is_told_to_those_who_wait(sqlite: Database) -> None:
    recorder = Recorder(sqlite)
    async with sqlite.writing() as connection:
        await recorder.append("test.row", {}, connection=connection)
        waiting = asyncio.create_task(recorder.append("test.row", {}))
        await anyio.wait_all_tasks_blocked()
        (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "audit writer")
        task.cancel()
        await anyio.wait_all_tasks_blocked()
    with pytest.raises(AuditUnavailable) as refusal:
        await waiting
    assert "stopping" in refusal.value.reason
    assert await recorder.append("test.row", {}) >= 2

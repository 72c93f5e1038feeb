"""Several processes write one chain, and those that are killed leave a trail that says so."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import anyio
import pytest
import sqlalchemy as sa

from scale_mcp.hosting.audit.chain import audit_rows
from scale_mcp.hosting.audit.recorder import Recorder
from scale_mcp.hosting.audit.search import Query, Trail
from scale_mcp.hosting.audit.verification import verify
from scale_mcp.hosting.store import Database

pytestmark = pytest.mark.anyio
TREE = Path(__file__).parents[3]


async def replica(url: str, name: str, *what: str) -> Process:
    command = (sys.executable, "-m", "tests.hosting.audit.replica", url, name, *what)
    return await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, cwd=TREE)


async def test_five_processes_write_one_chain(database: Database, database_url: str) -> None:
    processes = [await replica(database_url, f"replica-{number}", "calls", "60") for number in range(5)]
    with anyio.fail_after(120):
        outputs = [await process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * 5, outputs
    found = await verify(database)
    assert (found.holds, found.rows, found.open_count) == (True, 5 * (60 * 2 + 3), 0)
    async with database.reading() as connection:
        counts = await connection.execute(
            sa.select(audit_rows.c.replica, sa.func.count()).group_by(audit_rows.c.replica)
        )
        assert {row[0]: row[1] for row in counts} == {f"replica-{number}": 123 for number in range(5)}


async def test_a_process_killed_between_intent_and_outcome_leaves_an_unknown_outcome(
    database: Database, database_url: str
) -> None:
    process = await replica(database_url, "killed", "hang")
    assert process.stdout is not None
    entry = (await process.stdout.readline()).decode().strip()
    process.kill()
    await process.communicate()
    assert process.returncode == -9
    found = await verify(database)
    assert found.holds
    assert [(call.entry, call.replica) for call in found.open_calls] == [(entry, "killed")]
    (call,) = await Trail(database).calls(Query(outcome="unknown"))
    assert (call.entry, call.outcome, call.persona) == (entry, "unknown", "ada")
    await Recorder(database).append("test.row", {})
    assert (await verify(database)).holds


async def test_a_process_killed_under_load_leaves_a_chain_that_others_go_on_with(
    database: Database, database_url: str
) -> None:
    killed, other = await replica(database_url, "killed", "storm"), await replica(database_url, "other", "storm")
    for process in (killed, other):
        assert process.stdout is not None
        await process.stdout.readline()
    killed.kill()
    await killed.communicate()
    after = (await verify(database)).last
    with anyio.fail_after(60):
        while not [
            row for row in await Trail(database).rows(Query(kind="call.outcome"), after=after) if row.replica == "other"
        ]:
            pass
    other.kill()
    await other.communicate()
    found = await verify(database)
    assert found.holds
    assert found.open_count <= 40

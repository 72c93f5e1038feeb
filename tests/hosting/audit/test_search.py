"""Calls with their outcomes, rows in pages, and rows that somebody damaged."""

from __future__ import annotations

import tracemalloc

import pytest
import sqlalchemy as sa

from scale_mcp.hosting.audit import verification
from scale_mcp.hosting.audit.chain import audit_rows, draft, extend
from scale_mcp.hosting.audit.recorder import Intent, Recorder
from scale_mcp.hosting.audit.recording import Recording
from scale_mcp.hosting.audit.search import Query, Trail
from scale_mcp.hosting.audit.verification import verify
from scale_mcp.hosting.store import Database

pytestmark = pytest.mark.anyio


async def test_calls_come_newest_first_with_their_outcomes(database: Database) -> None:
    recorder = Recorder(database)
    ok = await recorder.begin(Intent(tool="get_task", risk="read", persona="ada", user="u", arguments={"n": 1}))
    failed = await recorder.begin(Intent(tool="get_task", risk="read", persona="eve"))
    await failed.finish("error", connection="main", latency_ms=5)
    await ok.finish("ok", connection="other", body={"id": "t"})
    running = await recorder.begin(Intent(tool="create_task", risk="spend", persona="ada"))
    trail = Trail(database)
    calls = await trail.calls(Query())
    assert [(call.entry, call.outcome) for call in calls] == [
        (running.id, "unknown"),
        (failed.id, "error"),
        (ok.id, "ok"),
    ]
    assert (calls[2].intent["arguments"], calls[2].result["body"], calls[2].connection) == (
        {"n": 1},
        {"id": "t"},
        "other",
    )
    assert (calls[0].finished_at, calls[0].result) == (None, {})
    for query, found in [
        (Query(persona="ada"), [running.id, ok.id]),
        (Query(user="u"), [ok.id]),
        (Query(tool="get_task", outcome="error"), [failed.id]),
        (Query(outcome="unknown"), [running.id]),
        (Query(connection="other"), [ok.id]),
        (Query(entry=failed.id), [failed.id]),
    ]:
        assert [call.entry for call in await trail.calls(query)] == found
    assert [call.entry for call in await trail.calls(Query(), before=calls[0].seq, limit=1)] == [failed.id]


@pytest.mark.parametrize("text", ["\x00", "\ud800", "%", "_", "'", "\\", "x" * 100_000])
async def test_any_text_may_be_looked_for(database: Database, text: str) -> None:
    await Recorder(database).append("test.row", {"actor": "cli:root"})
    for name in ("persona", "user", "tool", "outcome", "actor", "connection", "kind", "entry", "contains"):
        query = Query(**{name: text})
        assert name == "contains" or await Trail(database).rows(query) == []
        assert await Trail(database).calls(query) == []


async def test_all_rows_come_once_in_pages(database: Database) -> None:
    recorder: Recording = Recorder(database)
    for number in range(7):
        await recorder.append("test.row", {"number": number})
    trail = Trail(database)
    for page in (1, 3, 7, 100):
        assert [row.content["number"] async for row in trail.all(Query(), page=page)] == list(range(7))
    assert [row.seq for row in await trail.rows(Query(), after=2, before=6, limit=2)] == [5, 4]
    assert await trail.last() == 7


@pytest.mark.parametrize("content", ["", "not json", "[1]", "[" * 100_000])
async def test_a_damaged_row_is_shown_as_it_is(database: Database, content: str) -> None:
    recorder = Recorder(database)
    await recorder.append("test.row", {})
    async with database.writing() as connection:
        await connection.execute(sa.update(audit_rows).values(content=content))
    (row,) = await Trail(database).rows(Query())
    assert row.content == {"unreadable": content[:1_000]}
    assert [fault.seq for fault in (await verify(database)).faults] == [1]


async def test_verify_takes_the_same_memory_for_a_long_chain(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "PAGE", 100)
    drafts = [
        draft("2026-11-22T00:00:00.000000Z", "r", "test.row", {"n": n, "text": "x" * 5_000}) for n in range(2_000)
    ]
    async with database.writing() as connection:
        await extend(connection, drafts)
    del drafts
    tracemalloc.start()
    try:
        assert (await verify(database)).rows == 2_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000  # of ten million characters

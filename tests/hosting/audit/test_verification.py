"""Whatever is done to the trail by hand, verify names the row."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from scale_mcp.hosting.approvals import Approvals
from scale_mcp.hosting.audit import verification
from scale_mcp.hosting.audit.chain import GENESIS, audit_head, audit_rows, canonical, row_hash
from scale_mcp.hosting.audit.recorder import Intent, Recorder
from scale_mcp.hosting.audit.retention import NotPruned, prune
from scale_mcp.hosting.audit.verification import verify
from scale_mcp.hosting.store import Database

pytestmark = pytest.mark.anyio
Tamper = Callable[[AsyncConnection], Awaitable[None]]
ROWS = 12


class Calendar:
    """A clock that is a minute later each time it is looked at."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


@pytest.fixture
async def recorder(database: Database) -> Recorder:
    recorder = Recorder(database, Calendar())
    for number in range(ROWS):
        await recorder.append("test.row", {"actor": "cli:root", "persona": "ada", "number": number})
    return recorder


def row(seq: int, **values: Any) -> Tamper:
    async def tamper(connection: AsyncConnection) -> None:
        await connection.execute(sa.update(audit_rows).where(audit_rows.c.seq == seq).values(**values))

    return tamper


def without(first: int, last: int, *, head: bool = False) -> Tamper:
    async def tamper(connection: AsyncConnection) -> None:
        await connection.execute(sa.delete(audit_rows).where(audit_rows.c.seq.between(first, last)))
        if head:
            await connection.execute(sa.delete(audit_head))

    return tamper


async def swapped(connection: AsyncConnection) -> None:
    for old, new in ((5, 105), (6, 5), (105, 6)):
        await connection.execute(sa.update(audit_rows).where(audit_rows.c.seq == old).values(seq=new))


async def rewritten(connection: AsyncConnection) -> None:
    """A row replaced by a careful hand, with the hash that belongs to it."""
    there = (await connection.execute(sa.select(audit_rows).where(audit_rows.c.seq == 5))).mappings().one()
    content = canonical({**json.loads(there["content"]), "number": 99})
    digest = row_hash(there["prev_hash"], 5, there["time"], there["replica"], there["kind"], content)
    await row(5, content=content, hash=digest)(connection)


async def rewritten_at_the_end(connection: AsyncConnection) -> None:
    there = (await connection.execute(sa.select(audit_rows).where(audit_rows.c.seq == ROWS))).mappings().one()
    digest = row_hash(there["prev_hash"], ROWS, there["time"], there["replica"], there["kind"], "{}")
    await row(ROWS, content="{}", hash=digest, actor=None, persona=None)(connection)


async def added(connection: AsyncConnection) -> None:
    there = (await connection.execute(sa.select(audit_rows).where(audit_rows.c.seq == ROWS))).mappings().one()
    digest = row_hash(there["hash"], ROWS + 1, there["time"], "x", "test.row", "{}")
    made = {**there, "seq": ROWS + 1, "prev_hash": there["hash"], "hash": digest, "replica": "x", "content": "{}"}
    await connection.execute(sa.insert(audit_rows).values({**made, "actor": None, "persona": None}))


async def test_an_empty_chain_and_an_untouched_one_hold(database: Database) -> None:
    found = await verify(database)
    assert (found.holds, found.rows, found.last, found.head_hash) == (True, 0, 0, GENESIS)
    await Recorder(database).append("test.row", {})
    found = await verify(database)
    assert (found.holds, found.rows, found.first, found.last) == (True, 1, 1, 1)


@pytest.mark.parametrize(
    ("tamper", "seq", "told"),
    [
        (row(5, content='{"number":99}'), 5, "was edited"),
        (row(5, content="not json"), 5, "was edited"),
        (row(5, time="2020-01-01T00:00:00.000000Z"), 5, "was edited"),
        (row(5, replica="other"), 5, "was edited"),
        (row(5, kind="test.other"), 5, "was edited"),
        (row(5, hash="0" * 64), 5, "was edited"),
        (row(5, prev_hash="0" * 64), 5, "was edited"),
        (row(1, prev_hash="1" * 64), 1, "was edited"),
        (row(5, persona="eve"), 5, "was edited: it is searched by another persona"),
        (row(5, persona=None, actor="cli:eve"), 5, "was edited: it is searched by another actor and persona"),
        (row(ROWS, content="{}"), ROWS, "was edited"),
        (rewritten, 5, "was replaced: row 6"),
        (rewritten_at_the_end, ROWS, "was replaced: the head"),
        (swapped, 5, "was edited"),
        (without(5, 5), 5, "is missing"),
        (without(5, 7), 5, "and all up to 7 are missing"),
        (without(1, 3), 1, "and all up to 3 are missing"),
        (without(10, ROWS), 10, f"and all up to {ROWS} are missing"),
        (without(1, ROWS), 1, f"and all up to {ROWS} are missing"),
        (without(0, 0, head=True), ROWS, "the head of the chain is missing"),
        (added, ROWS + 1, "was added behind the head"),
    ],
)
@pytest.mark.usefixtures("recorder")
async def test_the_first_wrong_row_is_named_with_what_is_wrong(
    database: Database, tamper: Tamper, seq: int, told: str
) -> None:
    assert (await verify(database)).holds
    async with database.writing() as connection:
        await tamper(connection)
    found = await verify(database)
    assert not found.holds
    assert found.faults[0].seq == seq
    assert told in found.faults[0].what


@pytest.mark.usefixtures("recorder")
async def test_every_wrong_row_is_told_once(database: Database) -> None:
    async with database.writing() as connection:
        for seq in (3, 7, 8):
            await row(seq, content="{}")(connection)
    assert [fault.seq for fault in (await verify(database)).faults] == [3, 7, 8]


@pytest.mark.usefixtures("recorder")
async def test_many_faults_are_counted_and_the_first_ones_told(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "MOST_FAULTS", 2)
    async with database.writing() as connection:
        await connection.execute(sa.update(audit_rows).values(content="{}"))
    found = await verify(database)
    assert ([fault.seq for fault in found.faults], found.fault_count) == ([1, 2], ROWS)


@pytest.mark.usefixtures("recorder")
async def test_pages_follow_each_other_without_a_seam(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for page in (1, 3, 4, ROWS):
        monkeypatch.setattr(verification, "PAGE", page)
        found = await verify(database)
        assert (found.holds, found.rows) == (True, ROWS)


async def test_an_end_cut_off_with_its_head_is_seen_by_what_was_noted(database: Database, recorder: Recorder) -> None:
    before = await verify(database)
    noted = {before.last: before.head_hash}
    async with database.writing() as connection:
        last = (await connection.execute(sa.select(audit_rows).where(audit_rows.c.seq == 8))).mappings().one()
        await without(9, ROWS)(connection)
        await connection.execute(sa.update(audit_head).values(seq=8, hash=last["hash"]))
    assert (await verify(database)).holds  # by itself the chain looks whole
    (fault,) = (await verify(database, noted=noted)).faults
    assert (fault.seq, "noted" in fault.what) == (ROWS, True)
    for number in range(5):
        await recorder.append("test.row", {"number": number})
    (fault,) = (await verify(database, noted=noted)).faults
    assert fault.what == "was replaced: it has another hash than was noted."


async def test_calls_without_an_outcome_are_told_and_are_no_faults(database: Database, recorder: Recorder) -> None:
    finished = await recorder.begin(Intent(tool="get_task", risk="read", persona="ada"))
    open_call = await recorder.begin(Intent(tool="create_task", risk="spend", persona="eve"))
    await finished.finish("ok")
    found = await verify(database)
    assert found.holds
    assert (found.open_count, [call.entry for call in found.open_calls]) == (1, [open_call.id])
    assert (found.open_calls[0].persona, found.open_calls[0].tool) == ("eve", "create_task")


class TestPruning:
    async def test_what_remains_verifies_and_says_what_was_taken_out(
        self, database: Database, recorder: Recorder
    ) -> None:
        border = datetime(2026, 11, 22, 0, 6, tzinfo=UTC)  # the sixth row is of this moment
        planned = await prune(database, recorder, border, actor="cli:root", dry_run=True)
        assert (planned.rows, planned.through) == (5, 5)
        assert (await verify(database)).rows == ROWS
        assert await prune(database, recorder, border, actor="cli:root") == planned
        found = await verify(database)
        assert (found.holds, found.first, found.pruned, found.last) == (True, 6, 5, ROWS + 1)
        again = await prune(database, recorder, border, actor="cli:root")
        assert (again.rows, again.through) == (0, 0)
        assert (await verify(database)).last == ROWS + 1

    async def test_approvals_that_ended_are_taken_out_too(self, database: Database, recorder: Recorder) -> None:
        waiting = Approvals(database, recorder, recorder.clock)
        asked = {"persona": "ada", "tool": "cancel_task", "arguments": {}, "why": "", "persona_id": "per_ada"}
        await waiting.request(**asked, digest="sha256:1")
        await prune(database, recorder, datetime(2026, 11, 22, 0, 20, tzinfo=UTC), actor="cli:root")
        assert len(await waiting.list(closed=True)) == 1  # an hour has not passed since
        await recorder.append("test.row", {})
        await prune(database, recorder, datetime(2026, 11, 23, tzinfo=UTC), actor="cli:root")
        assert await waiting.list(closed=True) == []
        assert (await verify(database)).holds

    async def test_pruning_goes_on_from_pruned(
        self, database: Database, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("scale_mcp.hosting.audit.retention.AT_ONCE", 2)
        for minute in (6, 9, 11):
            await prune(database, recorder, datetime(2026, 11, 22, 0, minute, tzinfo=UTC), actor="cli:root")
            assert (await verify(database)).holds
        assert (await verify(database)).first == 11

    async def test_everything_may_be_pruned(self, database: Database, recorder: Recorder) -> None:
        assert (await prune(database, recorder, datetime(2027, 1, 1, tzinfo=UTC), actor="cli:root")).rows == ROWS
        found = await verify(database)
        assert (found.holds, found.rows, found.first) == (True, 1, ROWS + 1)
        await recorder.append("test.row", {})
        assert (await verify(database)).holds

    @pytest.mark.parametrize(
        ("tamper", "seq"), [(without(6, 6), 6), (row(6, content="{}"), 6), (without(ROWS + 1, ROWS + 1), ROWS + 1)]
    )
    async def test_what_is_taken_out_by_hand_behind_it_is_still_seen(
        self, database: Database, recorder: Recorder, tamper: Tamper, seq: int
    ) -> None:
        await prune(database, recorder, datetime(2026, 11, 22, 0, 6, tzinfo=UTC), actor="cli:root")
        async with database.writing() as connection:
            await tamper(connection)
        assert seq in {fault.seq for fault in (await verify(database)).faults}

    async def test_a_pruned_row_that_is_put_back_is_seen(self, database: Database, recorder: Recorder) -> None:
        async with database.reading() as connection:
            fifth = (await connection.execute(sa.select(audit_rows).where(audit_rows.c.seq == 5))).mappings().one()
        await prune(database, recorder, datetime(2026, 11, 22, 0, 6, tzinfo=UTC), actor="cli:root")
        async with database.writing() as connection:
            await connection.execute(sa.insert(audit_rows).values(dict(fifth)))
        assert (await verify(database)).faults[0].what == "was put back: it had been pruned."

    async def test_a_trail_that_does_not_verify_is_not_pruned(self, database: Database, recorder: Recorder) -> None:
        async with database.writing() as connection:
            await row(3, content="{}")(connection)
        with pytest.raises(NotPruned, match="row 3 was edited"):
            await prune(database, recorder, datetime(2026, 11, 22, 0, 6, tzinfo=UTC), actor="cli:root")
        assert (await verify(database)).rows == ROWS

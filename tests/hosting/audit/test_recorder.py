"""The recorder: durable before it returns, one chain for all, nobody's row lost or doubled by somebody else."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from scale_mcp.hosting.audit.chain import GENESIS, audit_head, audit_rows, row_hash
from scale_mcp.hosting.audit.recorder import Intent, Recorder, digest_of
from scale_mcp.hosting.audit.writer import AuditUnavailable
from scale_mcp.hosting.store import Database

pytestmark = pytest.mark.anyio


async def rows(database: Database) -> list[Any]:
    async with database.reading() as connection:
        return list((await connection.execute(sa.select(audit_rows).order_by(audit_rows.c.seq))).mappings())


async def contents(database: Database, kind: str) -> list[dict[str, Any]]:
    return [json.loads(row["content"]) for row in await rows(database) if row["kind"] == kind]


async def test_rows_are_numbered_and_each_holds_the_hash_of_the_one_before(database: Database) -> None:
    recorder = Recorder(database, replica="one")
    assert [await recorder.append("persona.added", {"actor": "cli:root", "name": f"n{n}"}) for n in range(3)] == [
        1,
        2,
        3,
    ]
    before = GENESIS
    for row in await rows(database):
        assert row["prev_hash"] == before
        before = row_hash(before, row["seq"], row["time"], row["replica"], row["kind"], row["content"])
        assert row["hash"] == before
        assert (row["replica"], row["actor"]) == ("one", "cli:root")
    async with database.reading() as connection:
        head = (await connection.execute(sa.select(audit_head))).one()
    assert (head.seq, head.hash) == (3, before)


async def test_a_call_leaves_an_intent_before_and_an_outcome_after(database: Database) -> None:
    recorder = Recorder(database)
    entry = await recorder.begin(
        Intent(
            tool="create_task",
            risk="spend",
            arguments={"project": "streets", "api_key": "live_5up3rs3cr3tv4lu3"},
            persona="ada",
            persona_id="per_aaaaaaaaaaaaaaaa",
            user="ada@example.com",
            token_id="tok_aaaaaaaaaaaaaaaa",
            client="claude-code/2.1",
            session="a-session-id",
            reason="label the streets",
            peer="192.0.2.7",
            request_id="r1",
        )
    )
    (intent,) = await rows(database)
    assert (intent["kind"], intent["entry"], intent["persona"]) == ("call.intent", entry.id, "ada")
    assert (intent["tool"], intent["user_name"]) == ("create_task", "ada@example.com")
    said = json.loads(intent["content"])
    assert said["arguments"] == {"project": "streets", "api_key": "[redacted]"}
    assert said["reason"] == "label the streets"
    assert "a-session-id" not in intent["content"]

    entry.decision("allowed", "scope tasks:spend")
    await entry.finish(
        "ok",
        connection="main",
        upstream=[{"method": "POST", "template": "/task/{type}", "status": 200, "request_id": "abc"}],
        retries=1,
        latency_ms=12.34567,
        digest="sha256:0",
        body={"task_id": "t1"},
    )
    await entry.finish("error")  # the second time it does nothing
    _, outcome = await rows(database)
    assert (outcome["kind"], outcome["entry"], outcome["outcome"]) == ("call.outcome", entry.id, "ok")
    assert (outcome["connection"], outcome["tool"], outcome["persona"]) == ("main", "create_task", "ada")
    told = json.loads(outcome["content"])
    assert told["upstream"][0]["request_id"] == "abc"
    assert told["digest"] == "sha256:0"
    assert (told["retries"], told["latency_ms"], told["body"]) == (1, 12.346, {"task_id": "t1"})
    assert told["decisions"][0]["decision"] == "allowed"


async def test_a_large_body_leaves_room_for_everything_else(database: Database) -> None:
    recorder = Recorder(database)
    entry = await recorder.begin(
        Intent(tool="t", risk="write", arguments={"text": ["word " * 150] * 100}, reason="why")
    )
    entry.decision("allowed", "because")
    requests = [{"method": "GET", "template": "/tasks", "statuses": [200], "request_ids": [f"r{n}"]} for n in range(70)]
    body = {"text": ["word " * 150] * 100, "token": "abc"}
    await entry.finish("ok", connection="main", upstream=requests, body=body, served={"by": "main"})
    (intent,), (outcome,) = await contents(database, "call.intent"), await contents(database, "call.outcome")
    assert intent["reason"] == "why"
    assert len(json.dumps(intent)) < 15_000
    assert (outcome["digest"], outcome["served"]) == (digest_of(body), {"by": "main"})
    assert outcome["decisions"][0]["why"] == "because"
    assert [request["request_ids"] for request in outcome["upstream"]] == [[f"r{n}"] for n in range(6, 70)]
    assert outcome["requests"] == 70
    assert len(json.dumps(outcome["body"])) < 15_000


async def test_a_change_is_kept_whole(database: Database) -> None:
    projects = [f"project-{number}" for number in range(300)]
    await Recorder(database).append(
        "persona.added", {"actor": "cli:root", "persona": {"name": "a", "projects": projects}}
    )
    (change,) = await contents(database, "persona.added")
    assert change["persona"]["projects"] == projects


async def test_what_many_write_at_once_is_few_transactions(database: Database) -> None:
    recorder = Recorder(database)
    numbers: list[int] = []

    async def one() -> None:
        numbers.append(await recorder.append("test.done", {}))

    async with anyio.create_task_group() as tasks:
        for _ in range(200):
            tasks.start_soon(one)
    assert sorted(numbers) == list(range(1, 201))
    assert recorder.transactions < 10


async def test_a_row_of_a_transaction_is_committed_or_undone_with_it(database: Database) -> None:
    recorder = Recorder(database)
    async with database.writing() as connection:
        assert await recorder.append("persona.added", {"name": "ada"}, connection=connection) == 1

    async def fails() -> None:
        async with database.writing() as connection:
            await recorder.append("persona.added", {"name": "eve"}, connection=connection)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fails()
    assert await recorder.append("persona.added", {"name": "bob"}) == 2
    assert [json.loads(row["content"])["name"] for row in await rows(database)] == ["ada", "bob"]


async def test_a_row_cannot_be_put_into_a_transaction_that_only_reads(database: Database) -> None:
    async with database.reading() as connection:
        with pytest.raises(ValueError, match=r"Database\.writing"):
            await Recorder(database).append("persona.added", {}, connection=connection)


async def test_transactions_of_others_and_the_group_do_not_block_each_other(database: Database) -> None:
    """Changes of policy hold the chain while groups are written: all of it comes through."""
    recorder = Recorder(database)

    async def call(number: int) -> None:
        entry = await recorder.begin(Intent(tool="get_task", risk="write", arguments={"number": number}))
        await entry.finish("ok")

    async def change(number: int) -> None:
        async with database.writing() as connection:
            await database.changed(connection)
            await recorder.append("persona.edited", {"number": number}, connection=connection)
            await anyio.lowlevel.checkpoint()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for number in range(40):
                tasks.start_soon(call, number)
                if number % 4 == 0:
                    tasks.start_soon(change, number)
    written = await rows(database)
    assert [row["seq"] for row in written] == list(range(1, 91))
    assert sum(row["kind"] == "persona.edited" for row in written) == 10


async def test_a_cancelled_caller_takes_nobodys_row_along(database: Database) -> None:
    recorder = Recorder(database)
    async with database.writing() as blocked:  # nothing can be written until this is over
        await recorder.append("test.first", {}, connection=blocked)
        others = [asyncio.create_task(recorder.append("test.row", {"number": n})) for n in range(5)]
        await anyio.wait_all_tasks_blocked()
        others[0].cancel()  # its row is under way already
        others[3].cancel()
        await anyio.wait_all_tasks_blocked()
    done = await asyncio.gather(*others, return_exceptions=True)
    assert [isinstance(result, asyncio.CancelledError) for result in done] == [True, False, False, True, False]
    await recorder.settled()
    written = [content["number"] for content in await contents(database, "test.row")]
    assert sorted(written) == sorted(set(written))
    assert {1, 2, 4} <= set(written)


async def test_a_call_cancelled_before_it_began_leaves_no_unknown_outcome(database: Database) -> None:
    recorder = Recorder(database)
    async with database.writing() as blocked:
        await recorder.append("test.first", {}, connection=blocked)
        under_way = asyncio.create_task(recorder.begin(Intent(tool="create_task", risk="write")))
        await anyio.wait_all_tasks_blocked()
        queued = asyncio.create_task(recorder.begin(Intent(tool="cancel_task", risk="write")))
        await anyio.wait_all_tasks_blocked()
        under_way.cancel()
        queued.cancel()
        await anyio.wait_all_tasks_blocked()
    await asyncio.gather(under_way, queued, return_exceptions=True)
    await recorder.settled()
    assert [content["tool"] for content in await contents(database, "call.intent")] == ["create_task"]
    (outcome,) = await contents(database, "call.outcome")
    assert (outcome["tool"], outcome["outcome"]) == ("create_task", "abandoned")


async def test_the_outcome_of_a_cancelled_call_is_written(database: Database) -> None:
    recorder = Recorder(database)

    async def call() -> None:
        entry = await recorder.begin(Intent(tool="create_task", risk="spend"))
        try:
            scope.cancel()
            await anyio.sleep_forever()
        finally:
            await entry.finish("cancelled")

    with anyio.CancelScope() as scope:
        await call()
    (outcome,) = await contents(database, "call.outcome")
    assert outcome["outcome"] == "cancelled"


async def test_the_outcome_is_written_also_when_the_task_itself_is_cancelled_in_the_middle_of_it(
    database: Database,
) -> None:
    recorder = Recorder(database)
    entry = await recorder.begin(Intent(tool="create_task", risk="spend"))
    async with database.writing() as blocked:
        await recorder.append("test.first", {}, connection=blocked)
        finishing = asyncio.create_task(entry.finish("ok"))
        await anyio.wait_all_tasks_blocked()
        finishing.cancel()
        await asyncio.gather(finishing, return_exceptions=True)
    await recorder.settled()
    assert [content["outcome"] for content in await contents(database, "call.outcome")] == ["ok"]


async def test_content_that_is_no_json_harms_its_own_caller_only(database: Database) -> None:
    recorder = Recorder(database)
    hostile = {
        "nul": "\x00",
        "surrogate": "\ud800",
        "nan": float("nan"),
        "huge": 10**5000,
        "object": object(),
        "s": {1},
    }
    await recorder.append("test.row", hostile)
    await (await recorder.begin(Intent(tool="a\x00b\ud800\n", risk="write", user="\x00"))).finish("ok\n", body=hostile)
    with pytest.raises(ValueError, match="no kind"):
        await recorder.append("not a kind\n", {})
    assert len(await rows(database)) == 3


def test_what_is_nested_too_deeply_has_no_digest_rather_than_another_s() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="too deeply"):
        digest_of(deep)
    assert digest_of({"b": 1, "a": 2}) == digest_of({"a": 2, "b": 1})
    assert digest_of({"a": 1}) != digest_of({"a": "1"})


async def test_a_chain_without_a_head_is_not_written_to(database: Database) -> None:
    async with database.writing() as connection:
        await connection.execute(sa.delete(audit_head))
    recorder = Recorder(database)
    with pytest.raises(AuditUnavailable) as refusal:
        await recorder.begin(Intent(tool="create_task", risk="write"))
    assert "audit verify" in refusal.value.reason
    async with database.writing() as connection:
        with pytest.raises(AuditUnavailable):
            await recorder.append("persona.added", {}, connection=connection)

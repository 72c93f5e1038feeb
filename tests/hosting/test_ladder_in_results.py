"""On a whole hosted server: what Scale's limits lead to is seen in results, refusals and the trail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from mcp import Client
from mcp.types import CallToolResult

from scale_mcp.hosting.audit.chain import OUTCOME
from scale_mcp.hosting.health import read_health
from scale_mcp.hosting.personas import Route
from tests.hosting.hosted import Hosted, hosted, rows_of
from tests.hosting.routed import PICTURE

pytestmark = pytest.mark.anyio

MAIN, SPARE = "live_0main0main0main0main0main", "live_0spare0spare0spare0spare"


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[Hosted]:
    async with hosted(database_url) as running:
        await running.connection("main", MAIN)
        await running.house.connections.add_key("main", f"{MAIN}+2", actor="test")
        await running.connection("spare", SPARE)
        yield running


CALLED = ("list_projects", "list_teams", "create_task")  # and nothing that the server asks of its own


def limit(server: Hosted, *keys: str) -> None:
    """Longer than any call waits."""
    rule = {"kind": "rate_limit", "retry_after": 600}
    server.sandbox.faults.put([{**rule, "key": key, "route": route} for key in keys for route in CALLED])


async def served(client: Client, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result
    assert result.meta is not None
    told: dict[str, Any] = result.meta["scale-mcp/served"]
    return told


def refusal(result: CallToolResult) -> dict[str, Any]:
    assert result.is_error
    assert result.meta is not None
    told: dict[str, Any] = result.meta["scale-mcp/error"]
    return told


async def test_each_step_is_seen_in_the_result_and_in_the_trail(server: Hosted) -> None:
    token = await server.persona("ada", routes=(Route("main", fallback=True), Route("spare")))
    base = {"persona": "ada", "connection": "main", "kind": "sandbox"}
    async with server.client(token) as client:
        assert await served(client, "list_projects", {}) == base
        limit(server, MAIN, f"{MAIN}+2")
        stale = await served(client, "list_projects", {})
        moved = await served(client, "create_image_annotation_task", PICTURE)
        refused = await client.call_tool("list_teammates", {})

    assert set(stale) == {*base, "stale_seconds"}
    assert 0 <= stale["stale_seconds"] < 600
    assert moved == {**base, "connection": "spare", "moved_from": ["main"]}
    told = refusal(refused)
    assert (told["code"], told["retryable"]) == ("rate_limited", True)
    assert 500 < told["retry_after_s"] < 602
    assert "connection main; nothing was done. Wait" in str(refused.content)

    rows = [row for row in await rows_of(server.house, OUTCOME) if row["tool"] != "find_tools"]
    assert [row["outcome"] for row in rows] == ["ok", "ok", "ok", "rate_limited"]
    assert [row["connection"] for row in rows[:3]] == ["main", "main", "spare"]
    assert rows[2]["served"]["moved_from"] == ["main"]
    assert [(each["method"], each["statuses"]) for each in rows[2]["upstream"]] == [("POST", []), ("POST", [200])]


async def test_a_call_goes_on_with_the_next_key_and_people_see_how_keys_fare(server: Hosted) -> None:
    token = await server.persona("ada", "main")
    limit(server, MAIN)
    async with server.client(token) as client:
        told = [await served(client, tool, {}) for tool in ("list_projects", "list_teammates") * 3]
    assert [each["key_changes"] for each in told if "key_changes" in each] == [1]  # then the limited key rests
    await server.house.accounts.note_health(last=True)
    ours = [key.id for key in (await server.house.connections.get("main")).active_keys]
    states = {health.key_id: health.state for health in await read_health(server.house.database)}
    assert [states[key_id] for key_id in ours] == ["cooling", "ready"]


async def test_two_personas_share_nothing_under_pressure(server: Hosted) -> None:
    tokens = [await server.persona(name, "main") for name in ("ada", "bob")]
    async with server.client(tokens[0]) as client:
        await served(client, "list_projects", {})
        limit(server, MAIN, f"{MAIN}+2")
        assert "stale_seconds" in await served(client, "list_projects", {})
    async with server.client(tokens[1]) as client:
        assert refusal(await client.call_tool("list_projects", {}))["code"] == "rate_limited"


async def test_a_key_that_was_retired_serves_no_next_call(server: Hosted) -> None:
    token = await server.persona("ada", "main")
    async with server.client(token) as client:
        await served(client, "list_projects", {})
        old = (await server.house.connections.get("main")).active_keys[0]
        await server.house.connections.retire_key("main", old.id, actor="test")
        server.sandbox.log.clear()
        server.sandbox.faults.put([{"kind": "unauthorized", "key": MAIN}])
        for tool in ("list_projects", "list_teammates", "list_projects"):
            await served(client, tool, {})
    called = [entry for entry in server.sandbox.log.entries() if entry["operation"] in CALLED]
    assert [entry["status"] for entry in called] == [200] * 3

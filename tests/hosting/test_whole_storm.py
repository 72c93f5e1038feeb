"""One key in a storm of 429s: its own callers go down the ladder, and nobody else notices."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.types import CallToolResult

from scale_mcp.api import ScaleApi
from scale_mcp.hosting.personas import Route
from scale_mcp.models.tasks import TaskFilter
from tests.hosting.hosted import Hosted, hosted, many_callers

pytestmark = pytest.mark.anyio

OTHERS = 20
ROUNDS = 6
STORMY, POOLED, FURTHER = "live_0stormy0stormy0stormy0", "live_0pooled0pooled0pooled0", "live_0pooled0pooled0pooled0+2"
TASK: dict[str, Any] = {
    "project": "notes",
    "instruction": "Read it.",
    "attachments": [{"type": "text", "content": "words"}],
    "fields": [{"type": "text", "field_id": "f", "title": "T", "description": "D"}],
}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Hosted]:
    async with hosted(f"sqlite:///{tmp_path / 'hosted.db'}") as running:
        yield running


def error_of(result: CallToolResult) -> dict[str, Any]:
    found: dict[str, Any] = (result.meta or {}).get("scale-mcp/error", {})
    return found


def served(result: CallToolResult) -> dict[str, Any]:
    assert not result.is_error, result
    assert result.meta is not None
    told: dict[str, Any] = result.meta["scale-mcp/served"]
    return told


async def settle(server: Hosted) -> tuple[str, str, list[str]]:
    """Tokens of the stormy persona, of the one with several keys, and of those with a connection each."""
    await server.connection("stormy", STORMY)
    await server.connection("pooled", POOLED)
    await server.house.connections.add_key("pooled", FURTHER, actor="test")
    others = []
    for number in range(OTHERS):
        key = await server.connection(f"other{number}")
        # A way out that nobody must take, as nothing is wrong with the first.
        others.append(
            await server.persona(f"p{number}", routes=(Route(f"other{number}", fallback=True), Route("pooled")))
        )
        async with ScaleApi(key, base_url=f"{server.sandbox_url}/v1") as api:
            await api.projects.create("notes", "textcollection")
    for key in (STORMY, POOLED):
        async with ScaleApi(key, base_url=f"{server.sandbox_url}/v1") as api:
            await api.projects.create("notes", "textcollection")
    return await server.persona("storm", "stormy"), await server.persona("pool", "pooled"), others


async def test_a_storm_on_one_key_touches_nobody_else_and_pooled_keys_carry_on(server: Hosted) -> None:
    storm, pool, others = await settle(server)
    async with many_callers(server.url) as callers:
        assert served(await callers.call(storm, "list_projects", {}))["connection"] == "stormy"
        rule = {"kind": "rate_limit", "retry_after": 600}
        server.sandbox.faults.put([{**rule, "key": STORMY}, {**rule, "key": POOLED}])
        told: dict[str, list[dict[str, Any]]] = {name: [] for name in ("others", "pool", "stale", "refused")}

        async def other(number: int) -> None:
            token = others[number]
            for _ in range(ROUNDS):
                for tool, arguments in (("list_projects", {}), ("create_text_collection_task", TASK)):
                    told["others"].append(
                        {"expected": f"other{number}", **served(await callers.call(token, tool, arguments))}
                    )

        async def pooled() -> None:
            for _ in range(ROUNDS):
                for tool, arguments in (("list_teammates", {}), ("create_text_collection_task", TASK)):
                    told["pool"].append(served(await callers.call(pool, tool, arguments)))

        async def stormy() -> None:
            told["stale"].append(served(await callers.call(storm, "list_projects", {})))
            for tool, arguments in (("list_teammates", {}), ("create_text_collection_task", TASK)):
                told["refused"].append(error_of(await callers.call(storm, tool, arguments)))

        with anyio.fail_after(120):
            async with anyio.create_task_group() as tasks:
                for number in range(OTHERS):
                    tasks.start_soon(other, number)
                for _ in range(10):
                    tasks.start_soon(stormy)
                tasks.start_soon(pooled)

    assert len(told["others"]) == OTHERS * ROUNDS * 2
    for each in told["others"]:  # by their own, with nothing moved, cached, stale or shared
        expected = each.pop("expected")
        assert each == {"persona": f"p{expected[5:]}", "connection": expected, "kind": "sandbox"}
    assert len(told["pool"]) == ROUNDS * 2
    assert {each["connection"] for each in told["pool"]} == {"pooled"}
    assert sum("key_changes" in each for each in told["pool"]) <= 2  # then the limited key rests
    assert len(told["stale"]) == 10
    assert all("stale_seconds" in each or each.get("coalesced") for each in told["stale"])
    assert len(told["refused"]) == 20
    assert {each["code"] for each in told["refused"]} == {"rate_limited"}
    assert all(500 < each["retry_after_s"] < 602 for each in told["refused"])
    async with ScaleApi(STORMY, base_url=f"{server.sandbox_url}/v1") as api:
        server.sandbox.faults.put([])
        assert [task async for task in api.tasks.iterate(TaskFilter())] == []  # what was refused was not done

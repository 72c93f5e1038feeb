"""What is not a persona's is answered like what does not exist: in words, and in what is asked of Scale for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError

from scale_mcp.api import ScaleApi
from scale_mcp.hosting.personas import Route
from scale_mcp.models.task_requests import TextCollectionRequest
from tests.hosting.hosted import Hosted, hosted
from tests.hosting.test_isolation import plain

pytestmark = pytest.mark.anyio

TASK: dict[str, Any] = {
    "instruction": "Read it.",
    "attachments": [{"type": "text", "content": "words"}],
    "fields": [{"type": "text", "field_id": "f", "title": "T", "description": "D"}],
}
NOBODYS = "65f0c1d2e3a4b5c6d7e8f901"
FIRST, SECOND = "live_0first0first0first0first", "live_0second0second0second0"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Hosted]:
    async with hosted(f"sqlite:///{tmp_path / 'hosted.db'}") as running:
        await running.connection("first", FIRST)
        await running.connection("second", SECOND)
        yield running


async def fill(server: Hosted, key: str) -> tuple[str, str]:
    """A task of another project in the account of ``key``, and a batch."""
    async with ScaleApi(key, base_url=f"{server.sandbox_url}/v1") as api:
        for project in ("mine", "theirs"):
            await api.projects.create(project, "textcollection")
        batch = f"theirs-{key[6:11]}"
        await api.batches.create("theirs", batch)
        created = await api.tasks.create(TextCollectionRequest.model_validate({"project": "theirs", **TASK}))
        return created.task.task_id, batch


CALLS = [
    ("get_task", "task_id"),
    ("get_task_response", "task_id"),
    ("cancel_task", "task_id"),
    ("set_task_metadata", "task_id"),
    ("get_batch", "batch_name"),
    ("get_batch_status", "batch_name"),
    ("list_tasks", "batch"),
    ("finalize_batch", "batch_name"),
    ("get_fixless_audits", "task_id"),
]
FURTHER: dict[str, dict[str, Any]] = {"set_task_metadata": {"metadata": {"a": 1}}, "get_task_response": {"uuid": "u"}}


async def asked(server: Hosted, client: Client, tool: str, argument: str, name: str) -> list[tuple[Any, int]]:
    """What three calls in a row answer, and how many requests each took."""

    def about_it() -> int:
        return sum(name in str(entry) for entry in server.sandbox.log.entries(limit=10_000))

    seen = []
    for _ in range(3):
        before = about_it()
        result = await client.call_tool(tool, {argument: name, **FURTHER.get(tool, {})})
        assert result.is_error, result
        seen.append((str(plain(result)).replace(name, "NAME"), about_it() - before))
    return seen


@pytest.mark.parametrize("routes", [("first",), ("first", "second"), ("second", "first")])
async def test_a_task_or_batch_of_others_takes_as_many_requests_as_one_that_is_not_there(
    server: Hosted, routes: tuple[str, ...]
) -> None:
    theirs, their_batch = await fill(server, FIRST)
    others, _ = await fill(server, SECOND)
    everything = await server.persona("all", "first")
    token = await server.persona("kept", projects=("mine",), routes=tuple(Route(name) for name in routes))
    async with server.client(everything) as client:  # so that this process knows where the task is
        assert not (await client.call_tool("get_task", {"task_id": theirs})).is_error
    await server.house.homes.remember(
        theirs, (await server.house.connections.get("first")).id, "theirs", "textcollection"
    )
    async with server.client(token) as client:
        for tool, argument in CALLS:
            of_task = argument == "task_id"
            forbidden = await asked(server, client, tool, argument, theirs if of_task else their_batch)
            missing = await asked(server, client, tool, argument, NOBODYS if of_task else "theirs-hatch")
            assert forbidden == missing, tool
            if of_task:
                assert await asked(server, client, tool, argument, others) == missing, tool
        for address in (f"scale://task/{theirs}", f"scale://task/{NOBODYS}"):
            with pytest.raises(MCPError) as refused:
                await client.read_resource(address)
            told = refused.value.message.replace(theirs, "NAME").replace(NOBODYS, "NAME")
            assert told == 'There is no task "NAME" here. Check its id.'


async def test_what_scale_limits_tells_a_forbidden_task_from_a_missing_one_no_more_than_before(server: Hosted) -> None:
    theirs, _ = await fill(server, FIRST)
    token = await server.persona("kept", "first", projects=("mine",))
    async with server.client(token) as client:
        before = [await asked(server, client, "get_task", "task_id", name) for name in (theirs, NOBODYS)]
        assert before[0] == before[1]
        server.sandbox.faults.put([{"kind": "rate_limit", "retry_after": 600}])
        for name in (theirs, NOBODYS):
            result = await client.call_tool("get_task", {"task_id": name})
            assert result.meta is not None
            assert result.meta["scale-mcp/error"]["code"] == "rate_limited"

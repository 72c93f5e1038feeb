"""Two hundred personas at once: nobody's key, project, cursor, cached answer or event reaches anybody else."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from mcp import MCPError
from mcp.types import CallToolResult

from scale_mcp.api import ScaleApi
from scale_mcp.sandbox.accounts import account_for
from tests.hosting.hosted import Hosted, hosted, many_callers

pytestmark = pytest.mark.anyio

CONNECTIONS = 20
PERSONAS_EACH = 10


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[Hosted]:
    async with hosted(database_url) as running:
        yield running


@dataclass
class Member:
    """A persona with a project of its own in an account that it shares with others."""

    name: str
    connection: str
    key: str
    project: str
    token: str
    tasks: list[str]


async def settle(server: Hosted) -> list[Member]:
    """The connections, their projects with two tasks each, and the personas."""
    members = []
    for number in range(CONNECTIONS):
        connection = f"account{number}"
        key = await server.connection(connection)
        async with ScaleApi(key, base_url=f"{server.sandbox_url}/v1") as api:
            for index in range(PERSONAS_EACH):
                name = f"p{number}-{index}"
                project = f"of-{name}"
                token = await server.persona(name, connection, projects=(project,))
                await api.projects.create(project, "textcollection")
                members.append(Member(name, connection, key, project, token, []))
    return members


def text_of(result: CallToolResult) -> str:
    """The words of a result, without the marks, which are new each time."""
    words = " ".join(block.text for block in result.content if block.type == "text")
    return re.sub(r"scale-data [0-9a-f]+", "scale-data", words)


def plain(result: CallToolResult) -> dict[str, Any]:
    """What a caller can tell one answer from another by: all but ids and marks that are new each time."""
    meta = json.loads(json.dumps(result.meta or {}))
    for value in meta.values():
        if isinstance(value, dict):
            value.pop("call_id", None)
    return {"error": result.is_error, "text": text_of(result), "structured": result.structured_content, "meta": meta}


async def test_two_hundred_personas_at_once_see_and_touch_only_what_is_theirs(server: Hosted) -> None:
    members = await settle(server)
    begin, met = anyio.Event(), anyio.Event()
    arrived = 0
    cursors: dict[str, str] = {}

    async def live(member: Member, other: Member) -> None:
        nonlocal arrived
        await begin.wait()
        for index in range(2):
            created = await callers.call(
                member.token,
                "create_text_collection_task",
                {
                    "project": member.project,
                    "instruction": "Read it.",
                    "attachments": [{"type": "text", "content": f"{member.name} {index}"}],
                    "fields": [{"type": "text", "field_id": "f", "title": "T", "description": "D"}],
                },
            )
            assert not created.is_error, text_of(created)
            assert created.structured_content is not None
            member.tasks.append(created.structured_content["task_id"])
        page = await callers.call(member.token, "list_tasks", {"project": member.project, "limit": 1})
        assert page.structured_content is not None, text_of(page)
        cursors[member.name] = page.structured_content["next_token"]
        arrived += 1
        if arrived == len(members):
            met.set()
        await met.wait()  # from here on everything there is exists
        await look_around(member, other, cursors)

    async def look_around(member: Member, other: Member, cursors: dict[str, str]) -> None:
        assert other.connection == member.connection
        listed = await callers.call(member.token, "list_projects", {})
        assert listed.structured_content is not None
        assert [project["name"] for project in listed.structured_content["docs"]] == [member.project]
        mine = await callers.call(member.token, "list_tasks", {})
        assert mine.structured_content is not None, text_of(mine)
        assert {task["task_id"] for task in mine.structured_content["docs"]} == set(member.tasks)
        theirs = await callers.call(member.token, "get_task", {"task_id": other.tasks[0]})
        nobodys = await callers.call(member.token, "get_task", {"task_id": "0" * 24})
        assert text_of(theirs) == text_of(nobodys).replace("0" * 24, other.tasks[0])
        stolen = await callers.call(
            member.token, "list_tasks", {"project": member.project, "next_token": cursors[other.name]}
        )
        made_up = await callers.call(member.token, "list_tasks", {"project": member.project, "next_token": "abcdef"})
        assert plain(stolen) == plain(made_up)
        own = await callers.call(
            member.token, "list_tasks", {"project": member.project, "limit": 1, "next_token": cursors[member.name]}
        )
        assert not own.is_error, text_of(own)
        events = await callers.call(member.token, "list_events", {})
        assert not events.is_error, text_of(events)
        assert other.project not in str(events.structured_content)

    async with many_callers(server.url) as callers, anyio.create_task_group() as tasks:
        for index, member in enumerate(members):
            block = index // PERSONAS_EACH * PERSONAS_EACH
            tasks.start_soon(live, member, members[block + (index + 1) % PERSONAS_EACH])
        begin.set()

    account_of = {member.project: account_for(member.key) for member in members}
    log = server.sandbox.log
    created = [entry for entry in log.entries(limit=10_000, path="/task/") if entry["method"] == "POST"]
    assert len(created) == 2 * len(members)
    for entry in created:
        account = account_of[entry["body"]["project"]]
        assert account is not None
        assert entry["key"] == account.key_id


@pytest.mark.parametrize("discovery", [False, True])
async def test_what_is_hidden_and_what_does_not_exist_are_answered_alike(tmp_path: Any, discovery: bool) -> None:
    async with hosted(f"sqlite:///{tmp_path / 'hosted.db'}", discovery=discovery) as server:
        key = await server.connection("main")
        token = await server.persona("ada", "main", projects=("mine",), scopes=("*:read",))
        async with ScaleApi(key, base_url=f"{server.sandbox_url}/v1") as api:
            await api.projects.create("mine", "categorization")
            await api.projects.create("theirs", "categorization")
            await api.batches.create("theirs", "their-batch")
        sent_before = len(server.sandbox.log.entries(limit=1_000, path="project"))
        async with server.client(token) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            if discovery:
                assert names == ["find_tools", "describe_tool", "run_tool"]
                found = await client.call_tool("find_tools", {"query": "finalize a batch"})
                assert "finalize_batch" not in text_of(found)
                for tool in ("describe_tool", "run_tool"):
                    further = {"arguments": {}} if tool == "run_tool" else {}
                    hidden = await client.call_tool(tool, {"name": "finalize_batch", **further})
                    invented = await client.call_tool(tool, {"name": "finalize_hatch", **further})
                    assert plain(hidden) == json.loads(
                        json.dumps(plain(invented)).replace("finalize_hatch", "finalize_batch")
                    )
            else:
                assert "get_task" in names
                assert not {"finalize_batch", "cancel_task", "list_teammates"} & set(names)
                errors = []
                for name in ("finalize_batch", "list_teammates", "finalize_hatch"):
                    with pytest.raises(MCPError) as refused:
                        await client.call_tool(name, {})
                    data = {key: value for key, value in refused.value.data.items() if key != "request_id"}
                    errors.append((refused.value.code, refused.value.message.replace(name, "NAME"), data))
                assert len(set(map(str, errors))) == 1
            resources = []
            for address in ("scale://project/theirs", "scale://project/nobodys"):
                with pytest.raises(MCPError) as missing:
                    await client.read_resource(address)
                told = missing.value
                resources.append((told.code, told.message.replace("theirs", "nobodys")))
            assert resources[0] == resources[1]
            # Nothing was asked to tell them apart.
            assert len(server.sandbox.log.entries(limit=1_000, path="project")) == sent_before
            completed = await client.complete(
                {"type": "ref/resource", "uri": "scale://project/{name}"},  # type: ignore[arg-type]
                {"name": "name", "value": ""},
            )
            assert completed.completion.values == ["mine"]
            batches = await client.complete(
                {"type": "ref/resource", "uri": "scale://batch/{name}"},  # type: ignore[arg-type]
                {"name": "name", "value": ""},
            )
            assert batches.completion.values == []


@pytest.mark.parametrize(("era", "door"), [("legacy", "/mcp"), ("2026-07-28", "/mcp"), ("legacy", "/sse")])
async def test_a_changed_or_revoked_persona_is_so_on_its_next_call(tmp_path: Any, era: str, door: str) -> None:
    async with hosted(f"sqlite:///{tmp_path / 'hosted.db'}") as server:
        await server.connection("main")
        token = await server.persona("ada", "main")
        async with server.client(token, era, door) as client:
            assert not (await client.call_tool("list_projects", {})).is_error
            await server.edit("ada", deny=("list_projects",))
            with pytest.raises(MCPError, match="Unknown tool: list_projects"):
                await client.call_tool("list_projects", {})
            assert "list_projects" not in [tool.name for tool in (await client.list_tools()).tools]
            await server.edit("ada", deny=(), read_only=True)
            assert not (await client.call_tool("list_projects", {})).is_error
            with pytest.raises(MCPError, match="Unknown tool: create_batch"):
                await client.call_tool("create_batch", {"project": "x", "name": "y"})
            await server.edit("ada", disabled=True)
            with anyio.fail_after(10), pytest.raises(Exception):  # noqa: B017  # each door ends in its own way
                await client.call_tool("list_projects", {})

"""What is the same for everybody, what is each persona's own, and how long others may keep it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPError

from scale_mcp.api import ScaleApi
from scale_mcp.models.task_requests import TextCollectionRequest
from tests.hosting.hosted import DOORS, Hosted, hosted

pytestmark = pytest.mark.anyio

VERSION = "2026-07-28"
LISTS = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Hosted]:
    async with hosted(f"sqlite:///{tmp_path / 'hosted.db'}") as running:
        await running.connection("main", "live_0surface0surface0surface")
        yield running


async def three(server: Hosted) -> list[str]:
    """Tokens: of one who may do everything, one who only reads one project, and one who may do nothing at all."""
    async with ScaleApi("live_0surface0surface0surface", base_url=f"{server.sandbox_url}/v1") as api:
        for project in ("mine", "theirs"):
            await api.projects.create(project, "textcollection")
            await api.batches.create(project, f"batch-of-{project}")
    return [
        await server.persona("all", "main"),
        await server.persona("kept", "main", scopes=("*:read",), projects=("mine",)),
        await server.persona("nothing", "main", scopes=()),
    ]


async def ask(server: Hosted, token: str, method: str, **params: Any) -> dict[str, Any]:
    """A request of the newer era as it is on the wire."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "somebody", "version": "1"},
    }
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": VERSION,
        "Mcp-Method": method,
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    async with httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"{server.url}/mcp", json=body, headers=headers)
    told: dict[str, Any] = answer.json()
    return told


async def test_discovery_says_the_same_to_everybody_and_no_list_may_be_shared(server: Hosted) -> None:
    tokens = await three(server)
    discovered = [await ask(server, token, "server/discover") for token in tokens]
    assert discovered[0]["result"]["supportedVersions"]
    assert discovered[0] == discovered[1] == discovered[2]
    for method in LISTS:
        for token in tokens:
            result = (await ask(server, token, method))["result"]
            assert result["cacheScope"] == "private", method


@pytest.mark.parametrize("door", ["/mcp", "/sse"])
async def test_the_handshake_says_the_same_to_everybody(server: Hosted, door: str) -> None:
    told = []
    for token in await three(server):
        async with server.client(token, "legacy", door) as client:
            told.append((client.server_info, client.server_capabilities, client.instructions, client.protocol_version))
    assert told[0] == told[1] == told[2]


async def names(client: Client, kind: str, prefix: str = "") -> list[str]:
    reference = {"type": "ref/resource", "uri": f"scale://{kind}/{{name}}"}
    found = await client.complete(reference, {"name": "name", "value": prefix})  # type: ignore[arg-type]
    return sorted(found.completion.values)


@pytest.mark.parametrize(("era", "door"), DOORS)
async def test_resources_completion_and_tools_are_those_of_the_persona(server: Hosted, era: str, door: str) -> None:
    everything, kept, nothing = await three(server)
    async with server.client(everything, era, door) as client:
        assert await names(client, "project") == ["mine", "theirs"]
        assert await names(client, "batch") == ["batch-of-mine", "batch-of-theirs"]
        assert len((await client.list_resource_templates()).resource_templates) >= 3
        assert "theirs" in str(await client.read_resource("scale://project/theirs"))
    async with server.client(kept, era, door) as client:
        assert await names(client, "project") == ["mine"]
        assert await names(client, "batch") == ["batch-of-mine"]
        assert "mine" in str(await client.read_resource("scale://project/mine"))
        assert not any(
            tool.annotations and tool.annotations.destructive_hint for tool in (await client.list_tools()).tools
        )
    async with server.client(nothing, era, door) as client:
        assert (await client.list_tools()).tools == []
        assert (await client.list_resources()).resources == []
        assert (await client.list_resource_templates()).resource_templates == []
        assert await names(client, "project") == []
        refusals = []
        for address in ("scale://project/mine", "scale://project/nobodys", "scale://nothing/mine"):
            with pytest.raises(MCPError) as refused:
                await client.read_resource(address)
            refusals.append((refused.value.code, refused.value.message))
        assert len(set(refusals)) == 1


async def test_prompts_and_their_completion_tell_nothing_of_other_projects(server: Hosted) -> None:
    everything, kept, nothing = await three(server)
    async with server.client(everything) as client:
        prompts = (await client.list_prompts()).prompts
        of_project = next(
            prompt.name for prompt in prompts if any(each.name == "project" for each in prompt.arguments or ())
        )
    for token, expected in ((everything, ["mine", "theirs"]), (kept, ["mine"]), (nothing, [])):
        async with server.client(token) as client:
            found = await client.complete(
                {"type": "ref/prompt", "name": of_project},  # type: ignore[arg-type]
                {"name": "project", "value": ""},
            )
            assert sorted(found.completion.values) == expected


async def test_a_task_of_another_project_is_no_resource(server: Hosted) -> None:
    _, kept, _ = await three(server)
    async with ScaleApi("live_0surface0surface0surface", base_url=f"{server.sandbox_url}/v1") as api:
        wanted = {
            "instruction": "Read it.",
            "attachments": [{"type": "text", "content": "words"}],
            "fields": [{"type": "text", "field_id": "f", "title": "T", "description": "D"}],
        }
        ids = []
        for project in ("mine", "theirs"):
            created = await api.tasks.create(TextCollectionRequest.model_validate({"project": project, **wanted}))
            ids.append(created.task.task_id)
    async with server.client(kept) as client:
        assert ids[0] in str(await client.read_resource(f"scale://task/{ids[0]}"))
        refusals = []
        for task in (ids[1], "65f0c1d2e3a4b5c6d7e8f901"):
            with pytest.raises(MCPError) as refused:
                await client.read_resource(f"scale://task/{task}")
            refusals.append((refused.value.code, refused.value.message.replace(task, "ID")))
        assert refusals[0] == refusals[1]

"""Every tool through the official client at every door, in both eras, down to the sandbox and back."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from jsonschema import Draft202012Validator
from mcp import Client

from scale_mcp.tools.registry import cards
from tests.doors import ERAS, EVERY_DOOR, REAL, ROOT, at, environment, listening, over_stdio
from tests.tools import test_on_the_sandbox as scenario

pytestmark = pytest.mark.anyio


class Remote:
    """Stands where the scenario expects a session: calls go through an MCP client."""

    def __init__(self, client: Client, mode: str) -> None:
        self.client = client
        self.called: set[str] = set()
        self.call = SimpleNamespace(api=SimpleNamespace(mode=mode))
        self.schemas: dict[str, Any] = {}

    async def __call__(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        if not self.schemas:
            self.schemas = {tool.name: tool.output_schema for tool in (await self.client.list_tools()).tools}
        result = await self.client.call_tool(name, arguments)
        assert not result.is_error, (name, result)
        self.called.add(name)
        structure: dict[str, Any] = result.structured_content
        Draft202012Validator(self.schemas[name]).validate(structure)
        assert result.content
        return structure


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    """The sandbox as a server of its own; each key is an account of its own there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scale_mcp", "sandbox", "--port", "0", "--clock", "manual"],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    address = None
    for line in process.stderr:
        if address := re.search(r"http://127\.0\.0\.1:\d+", line):
            break
    assert address
    yield f"{address[0]}/v1"
    process.terminate()
    process.wait(timeout=10)
    process.stderr.close()


@EVERY_DOOR
@pytest.mark.parametrize("mode", ["test", "live"])
async def test_every_tool_works(door: str, era: str, mode: str, sandbox: str) -> None:
    key = f"{mode}_0123456789abcdef{door}{ERAS.index(era)}"
    variables = {"SCALE_API_KEY": key, "SCALE_API_URL": sandbox, "SCALE_MCP_LOG_LEVEL": "warning"}
    with anyio.fail_after(120):
        if door == "stdio":
            async with over_stdio(REAL, era, variables) as client:
                await scenario.test_every_tool_works_on_the_sandbox(Remote(client, mode))  # type: ignore[arg-type]
            return
        del variables["SCALE_MCP_LOG_LEVEL"]
        with listening([*REAL, "--transport", "http", "--port", "0"], variables) as server:
            async with at(server.base, door, era) as client:
                await scenario.test_every_tool_works_on_the_sandbox(Remote(client, mode))  # type: ignore[arg-type]
            assert server.stop() == 0


async def test_the_embedded_sandbox_needs_no_key_and_no_socket() -> None:
    with anyio.fail_after(60):
        async with over_stdio([*REAL, "--sandbox", "--sandbox-clock", "manual"], "2026-07-28") as client:
            session = Remote(client, "live")
            await scenario.test_every_tool_works_on_the_sandbox(session)  # type: ignore[arg-type]

    assert len(session.called) == len(cards()) - 2


async def test_resources_prompts_and_completion_speak_of_what_is_there() -> None:
    from mcp.types import PromptReference, ResourceTemplateReference, TextContent, TextResourceContents

    with anyio.fail_after(60):
        async with over_stdio([*REAL, "--sandbox"], "2026-07-28") as client:
            await client.call_tool("create_project", {"name": "a b/c", "type": "imageannotation"})
            await client.call_tool("create_batch", {"project": "a b/c", "name": "march 1"})
            templates = (await client.list_resource_templates()).resource_templates
            project = (await client.read_resource("scale://project/a%20b%2Fc")).contents[0]
            batch = (await client.read_resource("scale://batch/march%201")).contents[0]
            completed = await client.complete(
                ResourceTemplateReference(uri="scale://project/{name}"), {"name": "name", "value": "A"}
            )
            prompted = await client.complete(
                PromptReference(name="check_batch_before_finalizing"), {"name": "batch", "value": "ma"}
            )
            prompt = await client.get_prompt("check_batch_before_finalizing", {"batch": "march 1"})

    assert [template.uri_template for template in templates] == [
        "scale://project/{name}",
        "scale://batch/{name}",
        "scale://task/{id}",
    ]
    assert isinstance(project, TextResourceContents)
    assert isinstance(batch, TextResourceContents)
    assert '"a b/c"' in project.text
    assert '"march 1"' in batch.text
    assert completed.completion.values == ["a b/c"]
    assert prompted.completion.values == ["march 1"]
    assert isinstance(prompt.messages[0].content, TextContent)
    assert "march 1" in prompt.messages[0].content.text

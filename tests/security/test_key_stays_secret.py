"""A canary key goes through every way to fail, over stdio and HTTP, and appears nowhere but in its own header."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError

from tests.doors import REAL, ROOT, at, environment, listening, over_stdio
from tests.security.recorder import Recorder, recording

CANARY = "live_c4n4ryc4n4ryc4n4ry00"
BASIC = base64.b64encode(f"{CANARY}:".encode()).decode()
# Any part of it that would help somebody, plain, encoded, or in a URL.
FORMS = (CANARY, CANARY[5:], CANARY[:13], BASIC, BASIC[:16], base64.b64encode(CANARY.encode()).decode()[:16])
CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("get_task", {"task_id": "65f0c1d2e3a4b5c6d7e8f901"}),
    ("list_tasks", {}),
    ("list_projects", {}),
    ("get_batch", {"batch_name": "a/b c"}),
    ("create_batch", {"project": "p", "name": "b"}),
    ("add_task_tags", {"task_id": "65f0c1d2e3a4b5c6d7e8f901", "tags": ["x"]}),
    ("get_task", {"task_id": 3}),
    ("get_batch", {"batch_name": ".."}),
    ("get_batch", {"name": "x"}),
)
MODES = ("ok", "401", "403", "404", "409", "418", "429", "500", "503", "drop", "garbage", "redirect")


@pytest.fixture(scope="module")
def scale() -> Iterator[Recorder]:
    with recording() as recorder:
        yield recorder


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Recorder]:
    with recording() as recorder:
        yield recorder


def keyed(url: str) -> dict[str, str]:
    return {
        "SCALE_API_KEY": CANARY,
        "SCALE_API_URL": url,
        "SCALE_MCP_LOG_LEVEL": "debug",
        "SCALE_MCP_CONFIRM": "never",
        "SCALE_MCP_CALL_TIMEOUT": "0.15",  # retries end with the call, so a storm of failures is soon over
    }


def leaks(text: str) -> list[str]:
    return [form for form in FORMS if form in text]


async def everything_said(client: Client, scale: Recorder | None) -> str:
    """What a client gets to see from all calls in all modes."""
    said = [json.dumps([tool.model_dump() for tool in (await client.list_tools()).tools])]
    for mode in MODES if scale else ("dns",):
        if scale:
            scale.mode = mode
        for name, arguments in CALLS:
            with anyio.fail_after(30):
                result = await client.session.call_tool(name, arguments)
                said.append(result.model_dump_json())
        for uri in ("scale://task/65f0c1d2e3a4b5c6d7e8f901", "scale://project/x", "scale://nothing"):
            try:
                said.append((await client.read_resource(uri)).model_dump_json())
            except MCPError as error:
                said.append(error.error.model_dump_json())
    return "\n".join(said)


@pytest.mark.anyio
@pytest.mark.parametrize("era", ["legacy", "2026-07-28"])
async def test_over_http_no_failure_shows_the_key(scale: Recorder, elsewhere: Recorder, era: str) -> None:
    scale.redirect_to = elsewhere.base
    with listening([*REAL, "--transport", "http", "--port", "0"], keyed(f"{scale.base}/v1")) as server:
        async with at(server.base, "mcp", era) as client:
            said = await everything_said(client, scale)
        server.stop()

    assert "Scale answered 401" in said
    assert leaks(said) == []
    assert leaks("".join(server.log)) == []
    assert all(request.headers["authorization"] == f"Basic {BASIC}" for request in scale.seen)
    assert all(not leaks(request.path) for request in scale.seen)
    assert all("authorization" not in request.headers for request in elsewhere.seen)
    assert all(not leaks(str(request)) for request in elsewhere.seen)


@pytest.mark.anyio
@pytest.mark.parametrize("era", ["legacy", "2026-07-28"])
async def test_over_stdio_no_failure_shows_the_key(
    scale: Recorder, elsewhere: Recorder, era: str, tmp_path: Any
) -> None:
    scale.redirect_to = elsewhere.base
    log = tmp_path / "stderr"
    command = [
        "-c",
        f"import os,sys; sys.stderr = open({str(log)!r}, 'w', buffering=1); os.dup2(sys.stderr.fileno(), 2);"
        " sys.argv = ['scale-mcp', 'serve']; import runpy; runpy.run_module('scale_mcp', run_name='__main__')",
    ]
    async with over_stdio(command, era, keyed(f"{scale.base}/v1")) as client:
        said = await everything_said(client, scale)

    logged = log.read_text()
    assert '"tool_call"' in logged
    assert leaks(said) == []
    assert leaks(logged) == []


@pytest.mark.anyio
async def test_a_name_that_does_not_resolve_shows_no_key() -> None:
    with listening([*REAL, "--transport", "http", "--port", "0"], keyed("https://no-such-host.invalid/v1")) as server:
        async with at(server.base, "mcp", "legacy") as client:
            with anyio.fail_after(60):
                result = await client.session.call_tool("list_projects", {})
        server.stop()

    assert result.is_error
    assert leaks(result.model_dump_json() + "".join(server.log)) == []


@pytest.mark.parametrize(
    "key", [f"{CANARY} ", f"{CANARY}\nx", f'"{CANARY}"', f"{CANARY}é"], ids=["space", "newline", "quotes", "accent"]
)
def test_a_key_that_is_refused_at_the_start_is_not_shown(key: str) -> None:
    finished = subprocess.run(
        [sys.executable, *REAL],
        cwd=ROOT,
        env=environment({"SCALE_API_KEY": key}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert finished.returncode != 0
    assert "SCALE_API_KEY" in finished.stderr
    assert leaks(finished.stdout + finished.stderr) == []


def test_no_caller_chooses_where_the_key_goes(scale: Recorder, elsewhere: Recorder) -> None:
    """Headers, queries, arguments and metadata that name another host change nothing."""
    import httpx2

    scale.mode = "ok"
    before = len(elsewhere.seen)
    with listening([*REAL, "--transport", "http", "--port", "0"], keyed(f"{scale.base}/v1")) as server:
        for arguments in ({}, {"base_url": elsewhere.base}, {"api_url": elsewhere.base}):
            answer = httpx2.post(
                f"{server.base}/mcp?SCALE_API_URL={elsewhere.base}&base_url={elsewhere.base}",
                headers={
                    "Accept": "application/json, text/event-stream",
                    "MCP-Protocol-Version": "2026-07-28",
                    "Mcp-Method": "tools/call",
                    "Mcp-Name": "list_projects",
                    "X-Scale-Api-Url": elsewhere.base,
                    "X-Forwarded-Host": elsewhere.base.removeprefix("http://"),
                    "Authorization": "Bearer inbound-token",
                    "Cookie": "inbound=1",
                },
                json={
                    "jsonrpc": "2.0",
                    "id": 1,
                    "method": "tools/call",
                    "params": {
                        "name": "list_projects",
                        "arguments": arguments,
                        "_meta": {
                            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                            "io.modelcontextprotocol/clientCapabilities": {},
                            "scale-mcp/api_url": elsewhere.base,
                        },
                    },
                },
            )
            assert answer.status_code == 200

    assert len(elsewhere.seen) == before
    upstream = scale.seen[-1]
    assert upstream.headers["authorization"] == f"Basic {BASIC}"
    assert "inbound" not in str(upstream)


@pytest.mark.anyio
async def test_a_no_of_the_person_reaches_nobody(scale: Recorder) -> None:
    """The real tools and the real client of Scale behind a declined question: not one request is made."""
    from mcp.types import ElicitResult

    async def person(ctx: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="decline")

    scale.mode = "ok"
    before = len(scale.seen)
    destroying: tuple[tuple[str, dict[str, Any]], ...] = (
        ("finalize_batch", {"batch_name": "b"}),
        ("cancel_task", {"task_id": "65f0c1d2e3a4b5c6d7e8f901"}),
        ("delete_task_tags", {"task_id": "65f0c1d2e3a4b5c6d7e8f901", "tags": ["x"]}),
        ("delete_task_unique_id", {"task_id": "65f0c1d2e3a4b5c6d7e8f901"}),
        ("set_project_params", {"name": "p", "instruction": "new"}),
        ("reset_studio_batch_priorities", {}),
    )
    environment_ = {**keyed(f"{scale.base}/v1"), "SCALE_MCP_CONFIRM": "auto"}
    with listening([*REAL, "--transport", "http", "--port", "0"], environment_) as server:
        for era in ("legacy", "2026-07-28"):
            async with at(server.base, "mcp", era, elicitation_callback=person) as client:
                for name, arguments in destroying:
                    result = await client.call_tool(name, arguments)
                    assert result.is_error, name
                    assert "did not agree" in result.model_dump_json(), result

    assert len(scale.seen) == before

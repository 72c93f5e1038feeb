"""Every answer of a hosted server has an id; what fails is under it in the log, and in the trail if it was a call."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import structlog
from mcp import MCPError
from mcp.types import (
    CLIENT_CAPABILITIES_META_KEY,
    HEADER_MISMATCH,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    PROTOCOL_VERSION_META_KEY,
    ErrorData,
)

from scale_mcp.hosting.audit.chain import INTENT
from scale_mcp.hosting.audit.writer import AuditUnavailable
from scale_mcp.server.hosted.named_answers import DOORS as PATHS
from scale_mcp.server.hosted.named_answers import ELSEWHERE, NamedAnswers, door_of
from scale_mcp.server.request_ids import identified, named, request_id
from tests.hosting.hosted import DOORS, Hosted, hosted, rows_of

pytestmark = pytest.mark.anyio

ID = re.compile(r"[0-9a-f]{16}")


@pytest.fixture
async def server(tmp_path: Any) -> AsyncIterator[Hosted]:
    async with hosted(f"sqlite:///{tmp_path / 'hosted.db'}") as running:
        await running.connection("main")
        yield running


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Logged:
    return Logged(caplog)


class Logged:
    """The log's lines by the id of their request."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, logger="scale_mcp")
        self._records = caplog

    def under(self, identity: str) -> list[str]:
        lines = [record.msg for record in self._records.records if isinstance(record.msg, dict)]
        return [line["event"] for line in lines if identity in (line.get("request"), line.get("call"))]


async def intents(server: Hosted) -> dict[str, str]:
    """The tools of the trail's calls, by request id."""
    return {row["request_id"]: row["tool"] for row in await rows_of(server.house, INTENT)}


@pytest.mark.parametrize(("era", "door"), DOORS)
async def test_a_failed_call_is_found_in_trail_and_log_by_the_id_that_it_tells(
    server: Hosted, logged: Logged, era: str, door: str
) -> None:
    token = await server.persona("ada", "main")
    async with server.client(token, era, door) as client:
        failed = await client.call_tool("get_task", {"task_id": "0" * 24})
        misspelt = await client.call_tool("get_task", {"task": "x"})

    for result in (failed, misspelt):
        assert result.meta is not None
        identity = result.meta["scale-mcp/error"]["call_id"]
        assert ID.fullmatch(identity)
        assert (await intents(server))[identity] == "get_task"
        assert "tool_call" in logged.under(identity)


@pytest.mark.parametrize(("era", "door"), DOORS)
async def test_a_protocol_error_tells_the_id_of_its_request(
    server: Hosted, logged: Logged, era: str, door: str
) -> None:
    token = await server.persona("ada", "main", deny=("cancel_task",))
    told = {}
    async with server.client(token, era, door) as client:
        with pytest.raises(MCPError) as unknown:
            await client.call_tool("nosuchtool", {})
        told["tool"] = unknown.value
        with pytest.raises(MCPError) as hidden:
            await client.call_tool("cancel_task", {"task_id": "x"})
        told["hidden"] = hidden.value
        with pytest.raises(MCPError) as missing:
            await client.read_resource(f"scale://task/{'0' * 24}")
        told["resource"] = missing.value
        with pytest.raises(MCPError) as no_prompt:
            await client.get_prompt("nosuchprompt")
        told["prompt"] = no_prompt.value

    ids = {name: error.error.data["request_id"] for name, error in told.items()}
    assert len(set(ids.values())) == len(ids)
    for identity in ids.values():
        assert ID.fullmatch(identity)
        assert "request_failed" in logged.under(identity)
    written = await intents(server)
    assert written[ids["tool"]] == "nosuchtool"
    assert written[ids["hidden"]] == "cancel_task"
    assert written[ids["resource"]] == "get_task"
    assert told["resource"].error.data["uri"] == f"scale://task/{'0' * 24}"


@pytest.mark.parametrize(
    ("method", "params"),
    [("tools/call", {"arguments": {}}), ("tools/call", {"name": ["x"]}), ("no/such/method", {}), ("prompts/get", {})],
)
async def test_a_request_that_is_none_of_the_protocols_tells_its_id_too(
    server: Hosted, logged: Logged, method: str, params: dict[str, Any]
) -> None:
    version = "2026-07-28"
    headers = {
        "Authorization": f"Bearer {await server.persona('ada', 'main')}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": version,
        "Mcp-Method": method,
    }
    envelope = {PROTOCOL_VERSION_META_KEY: version, CLIENT_CAPABILITIES_META_KEY: {}}
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": envelope}}
    async with httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"{server.url}/mcp", json=body, headers=headers)

    identity = answer.headers["x-request-id"]
    assert answer.json()["error"]["code"] in (INVALID_PARAMS, METHOD_NOT_FOUND, HEADER_MISMATCH)
    assert {"request_failed", "request_refused"} & set(logged.under(identity))


async def test_the_three_tools_of_discovery_tell_it_too(tmp_path: Any, logged: Logged) -> None:
    async with hosted(f"sqlite:///{tmp_path / 'hosted.db'}", discovery=True) as server:
        await server.connection("main")
        token = await server.persona("ada", "main")
        async with server.client(token) as client:
            results = [
                await client.call_tool("run_tool", {"name": "nosuchtool", "arguments": {}}),
                await client.call_tool("describe_tool", {"name": "nosuchtool"}),
                await client.call_tool("find_tools", {}),
                await client.call_tool("run_tool", {"name": "get_task", "arguments": {"task_id": "0" * 24}}),
            ]
        written = await intents(server)

    ids = []
    for result in results:
        assert result.meta is not None
        ids.append(result.meta["scale-mcp/error"]["call_id"])
        assert logged.under(ids[-1])
    assert (written[ids[0]], written[ids[3]]) == ("nosuchtool", "get_task")


async def test_a_write_that_the_trail_refuses_tells_the_id_of_the_log(
    server: Hosted, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(intent: Any) -> Any:
        raise AuditUnavailable("the disk is full")

    token = await server.persona("ada", "main")
    monkeypatch.setattr(server.house.recorder, "begin", fail)
    async with server.client(token) as client:
        refused = await client.call_tool("create_project", {"name": "x", "type": "imageannotation"})

    assert refused.meta is not None
    assert "tool_call" in logged.under(refused.meta["scale-mcp/error"]["call_id"])


async def test_each_http_answer_has_an_id_of_ours_and_each_refusal_is_in_the_log(
    server: Hosted, logged: Logged
) -> None:
    given = {"X-Request-Id": "f" * 16}
    persona = {"Authorization": f"Bearer {await server.persona('ada', 'main')}"}
    key = {"Authorization": f"Bearer live_{'0' * 32}"}
    async with httpx2.AsyncClient(base_url=server.url, trust_env=False, headers=given) as http:
        fine = [await http.get("/healthz"), await http.get("/metrics")]
        refused = {
            "no token": await http.post("/mcp", json={}),
            "wrong token": await http.post("/mcp", json={}, headers={"Authorization": "Bearer x"}),
            "a Scale key": await http.post("/mcp", json={}, headers=key),
            "a foreign host": await http.get("/healthz", headers={"Host": "evil.example"}),
            "a foreign origin": await http.get("/healthz", headers={"Origin": "https://evil.example"}),
            "no such path": await http.get("/.well-known/nothing"),
            "no such path inside": await http.get("/nothing", headers=persona),
            "a callback": await http.post("/callbacks/con_nobody", json={}),
            "no such session": await http.post(
                "/mcp", json={}, headers={**persona, "Mcp-Session-Id": "x", "Accept": "application/json"}
            ),
            "no JSON": await http.post("/mcp", content=b"{", headers={**persona, "Content-Type": "application/json"}),
            "another method": await http.put("/mcp", headers=persona),
        }

    ids = [answer.headers["x-request-id"] for answer in (*fine, *refused.values())]
    assert all(ID.fullmatch(identity) for identity in ids)
    assert "f" * 16 not in ids
    assert len(set(ids)) == len(ids)
    for why, answer in refused.items():
        assert answer.status_code >= 400, why
        assert "request_refused" in logged.under(answer.headers["x-request-id"]), why
    assert refused["no token"].json()["request_id"] == refused["no token"].headers["x-request-id"]
    assert "sign_in_refused" in logged.under(refused["no token"].headers["x-request-id"])
    assert "callback_refused" in logged.under(refused["a callback"].headers["x-request-id"])


async def test_the_id_of_a_call_is_that_of_its_http_answer(server: Hosted) -> None:
    token = await server.persona("ada", "main")
    async with server.client(token) as client:
        await client.call_tool("list_projects", {})
    (only,) = await intents(server)
    assert ID.fullmatch(only)


async def test_a_crash_outside_of_all_handlers_is_answered_with_an_id(logged: Logged) -> None:
    seen = []

    async def crash(scope: Any, receive: Any, send: Any) -> None:
        seen.append(request_id())
        raise RuntimeError("the canary is in here")

    transport = httpx2.ASGITransport(NamedAnswers(crash))
    async with httpx2.AsyncClient(transport=transport, base_url="http://server.test") as http:
        answer = await http.get("/mcp")

    assert answer.status_code == 500
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == seen[0]
    assert "canary" not in answer.text
    assert "request_crashed" in logged.under(seen[0])
    assert not structlog.contextvars.get_contextvars()


def test_a_protocol_error_keeps_what_it_told_beside_the_id() -> None:
    with identified() as identity:
        told = [named(ErrorData(code=1, message="m", data=data)).data for data in (None, "", "x", {"uri": "y"})]
    assert told == [
        {"request_id": identity},
        {"request_id": identity},
        {"request_id": identity, "detail": "x"},
        {"request_id": identity, "uri": "y"},
    ]
    outside = ErrorData(code=1, message="m")
    assert named(outside) is outside


@pytest.mark.parametrize(
    ("path", "door"),
    [
        *[(path, path) for path in PATHS],
        ("/sse/", "/sse"),
        ("/callbacks/con_1", "/callbacks/"),
        ("/messages", "/messages/"),
        ("/mcpx", ELSEWHERE),
        ("/", ELSEWHERE),
        ("/live_0123456789abcdef", ELSEWHERE),
    ],
)
def test_paths_are_counted_by_the_door_that_they_lead_to(path: str, door: str) -> None:
    assert door_of(path) == door

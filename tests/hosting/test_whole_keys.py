"""Scale's keys stay where they belong: a Scale that echoes its caller's key in all it says gets it nowhere."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import mcp.types as t
import pytest
from mcp import Client, MCPError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from scale_mcp.cli.loopback import serving
from tests.hosting.hosted import DOORS, connected
from tests.hosting.processes import Operator, replicas

pytestmark = pytest.mark.anyio

# One that looks like a key of Scale, and one by which nothing is recognised.
KEYS = ["live_canary0canary0canary0canary0", "live_quiet-canary-in-its-cage"]
TASK_ID = "65f0c1d2e3a4b5c6d7e8f901"
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("list_projects", {}),
    ("get_task", {"task_id": TASK_ID}),
    ("list_tasks", {"project": "streets"}),
    ("create_project", {"name": "streets", "type": "imageannotation"}),
    ("cancel_task", {"task_id": TASK_ID}),
    ("remove_studio_assignments", {"emails": ["ada@example.com"], "projects": ["streets"]}),
    ("import_file", {"file_url": "https://example.com/a.png", "project_name": "streets"}),
    ("get_task_response", {"task_id": TASK_ID, "uuid": "u"}),
]
ECHOES = ("unauthorized", "bad request", "missing", "server error", "not json", "elsewhere", "data", "limited")


class EchoingScale:
    """Says back who calls, in every place an answer has."""

    def __init__(self) -> None:
        self.manner = "fine"
        self.app = Starlette(
            routes=[Route("/{path:path}", self.answer, methods=["GET", "POST", "PUT", "DELETE", "PATCH"])]
        )

    async def answer(self, request: Request) -> Response:
        if self.manner == "fine":
            return JSONResponse([])
        given = request.headers.get("authorization", "")
        key = base64.b64decode(given.partition(" ")[2]).decode().rstrip(":")
        words = f"key {key} ({given}) of {key}: is no good; see https://{key}@example.com/?api_key={key}"
        body = {"message": words, "error": key, key: {"api_key": key}, "status_code": 400, "docs": [{"name": key}]}
        headers = {"x-request-id": key, "x-key": given}
        match self.manner:
            case "not json":
                return PlainTextResponse(f"<html>{words}</html>", headers=headers)
            case "elsewhere":
                return Response(status_code=302, headers={"location": f"http://127.0.0.1:9/?key={key}", **headers})
            case "data":
                return JSONResponse({**body, "name": words, "task_id": TASK_ID, "status": key}, headers=headers)
            case "limited":
                return JSONResponse(body, 429, headers={**headers, "retry-after": "600"})
        status = {"unauthorized": 401, "bad request": 400, "missing": 404, "server error": 500}[self.manner]
        return JSONResponse(body, status, headers=headers)


@pytest.fixture
async def scale() -> AsyncIterator[tuple[EchoingScale, str]]:
    upstream = EchoingScale()
    async with serving(upstream.app) as address:
        yield upstream, address


def forms(key: str) -> list[str]:
    plain, basic = key.encode(), f"{key}:".encode()
    return [key, key[5:], base64.b64encode(plain).decode().rstrip("="), base64.b64encode(basic).decode()]


async def told(call: Any) -> str:
    """All that a caller hears of a request, failed or not."""
    try:
        answer = await call
    except MCPError as error:
        return json.dumps([error.code, error.message, error.data], default=str)
    dumped: str = answer.model_dump_json()
    return dumped


async def everything(client: Client) -> list[str]:
    """All that is heard of one call each, at once: failures are tried again for a while."""
    heard: list[str] = []

    async def hear(call: Any) -> None:
        heard.append(await told(call))

    reference = t.ResourceTemplateReference(type="ref/resource", uri="scale://project/{name}")
    with anyio.fail_after(120):
        async with anyio.create_task_group() as tasks:
            for tool, arguments in CALLS:
                tasks.start_soon(hear, client.call_tool(tool, arguments))
            for address in ("scale://project/streets", f"scale://task/{TASK_ID}"):
                tasks.start_soon(hear, client.read_resource(address))
            tasks.start_soon(hear, client.complete(reference, {"name": "name", "value": ""}))
    return heard


@pytest.mark.parametrize(("key", "manners"), [(KEYS[0], ECHOES), (KEYS[1], ("bad request", "not json", "data"))])
async def test_an_echoed_key_is_in_no_answer_row_log_page_or_file(
    scale: tuple[EchoingScale, str], key: str, manners: tuple[str, ...], tmp_path: Path
) -> None:
    upstream, address = scale
    store = tmp_path / "store" / "hosted.db"
    store.parent.mkdir()
    operator = Operator(f"sqlite:///{store}", f"{address}/v1", {"SCALE_MCP_LOG_LEVEL": "debug"})
    heard: list[str] = []
    async with replicas(operator, 1) as [server]:
        heard.append(await operator.run("connection", "add", "main", given=key))
        heard.append(await operator.run("persona", "add", "ada", "--scope", "*", "--route", "main"))
        asking = ("--confirm", "operator", "--confirm-risk", "write")
        heard.append(await operator.run("persona", "add", "bob", "--scope", "*", "--route", "main", *asking))
        tokens = [(await operator.run("persona", "token", name)).strip() for name in ("ada", "bob")]
        for manner in manners:
            upstream.manner = manner
            era, door = DOORS[len(manner) % len(DOORS)]
            async with connected(server.url, tokens[0], era, door) as client:
                heard += await everything(client)
        async with connected(server.url, tokens[1]) as client:  # a key among the arguments of a call that waits
            note = {"name": "streets", "type": "imageannotation", "params": {"note": f"use {key}"}}
            heard.append(await told(client.call_tool("create_project", note)))
        upstream.manner = "unauthorized"
        heard.append(await operator.run("connection", "test", expect=4))
        async with httpx2.AsyncClient(trust_env=False) as http:
            for path in ("/metrics", "/healthz", "/console", "/callbacks/con_x"):
                heard.append((await http.get(f"{server.url}{path}")).text)
            refused = await http.post(f"{server.url}/mcp", headers={"Authorization": f"Bearer {key}"}, json={})
            assert refused.status_code == 401
            heard.append(refused.text)
        for command in (
            ("audit", "export"),
            ("approvals", "--all", "--json"),
            ("connection", "list", "--json"),
        ):
            heard.append(await operator.run(*command))
        server.kill()
        await server.process.wait()
        heard.append(json.dumps(server.log))
    files = {path.name: path.read_bytes() for path in store.parent.iterdir()}
    assert any(len(content) > 10_000 for content in files.values())
    assert any("tool_call" in each for each in heard)  # the log was there to be searched
    for form in forms(key):
        for each in heard:
            at = each.find(form)
            assert at < 0, each[max(0, at - 300) : at + 100]
        for name, content in files.items():
            at = content.find(form.encode())
            assert at < 0, (name, content[max(0, at - 300) : at + 100])

"""What nobody with good intentions sends: the server refuses it, says no more than it must, and goes on serving."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2
import pytest
from mcp import MCPError

from tests.hosting.hosted import Hosted, hosted, many_callers

pytestmark = pytest.mark.anyio

ASK = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
OPENING = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "somebody", "version": "1"},
}
WRONG_TOKENS = 2_000


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Hosted]:
    async with hosted(f"sqlite:///{tmp_path / 'hosted.db'}") as running:
        await running.connection("main")
        yield running


def client() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(trust_env=False, timeout=60)


async def raw(server: Hosted, sent: bytes) -> bytes:
    """What the server says to these bytes before it closes the connection, or has said all of an answer."""
    address = urlsplit(server.url)
    assert address.hostname is not None
    assert address.port is not None
    async with await anyio.connect_tcp(address.hostname, address.port) as stream:
        await stream.send(sent)
        told = b""
        with anyio.fail_after(20):
            try:
                while b"\r\n\r\n" not in told:
                    told += await stream.receive()
            except anyio.EndOfStream:
                pass
        return told


async def serves(server: Hosted, token: str) -> None:
    async with many_callers(server.url) as callers:
        assert not (await callers.call(token, "list_projects", {})).is_error


async def test_thousands_of_wrong_tokens_are_refused_alike_and_do_not_fill_the_log(
    server: Hosted, caplog: pytest.LogCaptureFixture
) -> None:
    token = await server.persona("ada", "main")
    bodies = set()
    async with client() as http:

        async def guess(number: int) -> None:
            for attempt in range(WRONG_TOKENS // 20):
                wrong = f"{token[:-4]}{number:02d}{attempt % 100:02d}" if attempt % 2 else f"smcp_{attempt:043d}"
                signed_in = {**HEADERS, "Authorization": f"Bearer {wrong}"}
                answer = await http.post(f"{server.url}/mcp", json=ASK, headers=signed_in)
                told = answer.json()
                told.pop("request_id", None)
                bodies.add((answer.status_code, json.dumps(told), answer.headers["www-authenticate"]))

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(guess, number)
    assert [status for status, _, _ in bodies] == [401]
    refused = [record for record in caplog.records if "sign_in_refused" in str(record.msg)]
    assert 20 <= len(refused) <= 200
    assert token[:20] not in caplog.text
    await serves(server, token)


@pytest.mark.parametrize(
    "path",
    [
        *("//mcp", "/mcp/", "/mcp/../mcp", "/MCP", "/%6dcp", "/mcp%2f", "/mcp%00", "/mcp;a=b", "/./mcp"),
        *("/callbacks/../mcp", "/callbacks/%2e%2e/mcp", "/.well-known/../mcp", "/.well-known/%2e%2e/sse"),
        *("/healthz/../mcp", "/healthz%2f..%2fmcp", "/metrics/../mcp", "/console/../mcp", "/console/%2e%2e/mcp"),
        *("/messages/?session_id=00000000000000000000000000000000", "/sse", "http://127.0.0.1/mcp"),
    ],
)
async def test_no_spelling_of_a_path_leads_past_the_gate(server: Hosted, path: str) -> None:
    body = json.dumps(ASK).encode()
    for method in ("POST", "GET", "DELETE"):
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json, text/event-stream\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        told = await raw(server, head.encode() + body)
        status = int(told.split(b" ", 2)[1])
        assert 400 <= status < 500 or (status == 303 and b"/console/sign-in" in told), told
        assert b"tools" not in told.partition(b"\r\n\r\n")[2]


async def test_two_tellings_of_who_calls_or_how_long_a_body_is_are_refused(server: Hosted) -> None:
    good = await server.persona("ada", "main")
    body = json.dumps(ASK).encode()
    common = "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json, text/event-stream\r\n"
    common += "Content-Type: application/json\r\nConnection: close\r\n"
    length = f"Content-Length: {len(body)}\r\n"
    bearer = f"Authorization: Bearer {good}\r\n"
    for headers in (
        f"{bearer}Authorization: Bearer smcp_other\r\n{length}",
        f"Authorization: Basic eDp5\r\n{bearer}{length}",
        f"{bearer}{length}Content-Length: 3\r\n",
        f"{bearer}{length}Transfer-Encoding: chunked\r\n",
        f"Authorization: Bearer smcp_other, Bearer {good}\r\n{length}",
        f"Authorization : Bearer {good}\r\n{length}",
        f"X-Forwarded-Authorization: Bearer {good}\r\n{length}",
    ):
        told = await raw(server, f"{common}{headers}\r\n".encode() + body)
        assert told.startswith((b"HTTP/1.1 400", b"HTTP/1.1 401")), (headers, told)
    await serves(server, good)


async def test_sessions_of_others_can_be_neither_used_nor_read_nor_ended(server: Hosted) -> None:
    ada, bob = [await server.persona(name, "main") for name in ("ada", "bob")]
    opening = {**ASK, "method": "initialize", "params": OPENING}
    async with client() as http:

        async def send(method: str, token: str, session: str | None, content: Any = None) -> httpx2.Response:
            headers = {**HEADERS, "Authorization": f"Bearer {token}"}
            if session is not None:
                headers |= {"Mcp-Session-Id": session, "Mcp-Protocol-Version": "2025-06-18"}
            return await http.request(method, f"{server.url}/mcp", json=content, headers=headers)

        session = (await send("POST", ada, None, opening)).headers["mcp-session-id"]
        for method, content in (("POST", ASK), ("GET", None), ("DELETE", None)):
            theirs = await send(method, bob, session, content)
            nobodys = await send(method, bob, "0" * 32, content)
            assert theirs.status_code == nobodys.status_code == 404
            assert _same(theirs) == _same(nobodys)
        assert (await send("POST", ada, session, ASK)).status_code == 200
        assert (await send("DELETE", ada, session)).status_code == 200


def _same(answer: httpx2.Response) -> Any:
    told = answer.json()
    (told.get("error") or {}).pop("data", None)
    return told


async def test_huge_and_deep_bodies_are_refused_and_others_go_on(server: Hosted) -> None:
    token = await server.persona("ada", "main", confirm="operator", confirm_risk="write")
    signed_in = {**HEADERS, "Authorization": f"Bearer {token}"}
    huge = b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"x":"' + b"a" * 10_000_000 + b'"}}'
    deep = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}"
    async with client() as http:
        for headers, expected in ((HEADERS, {401}), (signed_in, {413})):
            answer = await http.post(f"{server.url}/mcp", content=huge, headers=headers)
            assert answer.status_code in expected, answer.text
        for content in (deep, b"[" * 100_000, b'{"jsonrpc":"2.0","id":' + b"9" * 10_000 + b',"method":"tools/list"}'):
            answer = await http.post(f"{server.url}/mcp", content=content, headers=signed_in)
            assert answer.status_code == 400, answer.text
        for path in ("/callbacks/con_x", "/callbacks/" + "x" * 5_000):
            try:
                assert (await http.post(f"{server.url}{path}", content=huge)).status_code == 401
            except httpx2.TransportError:
                continue  # the connection was closed before all of it was sent
    for depth in (30, 150, 400):
        nested: Any = "x"
        for _ in range(depth):
            nested = {"a": [nested]}
        arguments = {"name": "streets", "type": "imageannotation", "params": nested}
        async with many_callers(server.url) as callers:
            try:
                told = str(await callers.call(token, "create_project", arguments))
            except MCPError as error:
                told = str(error)
        assert "internal" not in told.lower(), told
        assert "unexpectedly" not in told, told
    await serves(server, token)


async def test_senders_that_never_finish_are_refused_before_their_body_and_keep_nobody_waiting(server: Hosted) -> None:
    token = await server.persona("ada", "main")
    address = urlsplit(server.url)
    slow = []
    try:
        for number in range(200):
            each = socket.create_connection((str(address.hostname), int(address.port or 0)))
            slow.append(each)
            if number % 2:
                each.sendall(b"POST /callbacks/con_x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n{")
            else:
                each.sendall(b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: a")
        with anyio.fail_after(20):
            await serves(server, token)
    finally:
        for each in slow:
            each.close()

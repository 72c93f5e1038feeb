"""Who may talk to the HTTP doors, how much may be said, and how they close."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.sse import sse_client

from tests.doors import REAL, ROOT, SMALL, Running, at, environment, listening

ROUTES = (
    ("POST", "/mcp"),
    ("GET", "/mcp"),
    ("GET", "/sse"),
    ("POST", "/messages/"),
    ("GET", "/healthz"),
    ("GET", "/x"),
)
EVERY_ROUTE = pytest.mark.parametrize(("method", "path"), ROUTES)
MODERN = {
    "Accept": "application/json, text/event-stream",
    "Content-Type": "application/json",
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/call",
    "Mcp-Name": "look",
}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with listening(
        [
            *SMALL,
            "transport=http",
            "port=0",
            "allowed_hosts=tools.example.com",
            "allowed_origins=https://tools.example.com",
        ]
    ) as server:
        yield server


def status(running: Running, method: str, path: str, **headers: str) -> int:
    """The status alone; a stream that opens is closed at once."""
    with httpx2.stream(method, f"{running.base}{path}", headers={"Accept": "*/*", **headers}, timeout=10) as answer:
        return answer.status_code


def call(tool: str = "look", **arguments: Any) -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": tool, "arguments": arguments, "_meta": ENVELOPE},
    }


@EVERY_ROUTE
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "localhost@evil.example",
        "0.0.0.0",
        "",
    ],
)
def test_a_foreign_host_is_turned_away_on_every_route(running: Running, method: str, path: str, host: str) -> None:
    assert status(running, method, path, Host=host) == 421


@EVERY_ROUTE
@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://localhost.evil.example",
        "null",
        "http://localhost@evil.example",
        "file://",
        "http://",
    ],
)
def test_a_foreign_origin_is_turned_away_on_every_route(running: Running, method: str, path: str, origin: str) -> None:
    assert status(running, method, path, Origin=origin) == 403


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:1234", "127.0.0.1", "[::1]:99", "tools.example.com", "TOOLS.example.com:443"]
)
def test_loopback_and_the_operators_hosts_are_let_in(running: Running, host: str) -> None:
    assert status(running, "GET", "/healthz", Host=host) == 200


@pytest.mark.parametrize(
    "origin", ["http://localhost:6274", "http://127.0.0.1", "http://[::1]:3", "https://tools.example.com"]
)
def test_loopback_and_the_operators_origins_are_let_in(running: Running, origin: str) -> None:
    assert status(running, "GET", "/healthz", Origin=origin) == 200


def test_blanks_around_a_header_are_no_part_of_it(running: Running) -> None:
    host, port = running.base.removeprefix("http://").split(":")
    body = json.dumps(call("look", name="x")).encode()
    lines = [
        "POST /mcp HTTP/1.1",
        "Host: localhost \t",
        *(f"{name}: {value}" for name, value in MODERN.items() if name != "Mcp-Name"),
        "Mcp-Name:   look  \t ",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        answer = connection.makefile("rb").read()

    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"said":"x"' in answer


def test_the_operators_origin_is_meant_exactly(running: Running) -> None:
    assert status(running, "GET", "/healthz", Origin="http://tools.example.com") == 403
    assert status(running, "GET", "/healthz", Origin="https://tools.example.com:444") == 403


@pytest.mark.parametrize("headers", [[], ["Host: localhost", "Host: evil.example"]], ids=["none", "two"])
def test_no_host_or_two_hosts_are_turned_away(running: Running, headers: list[str]) -> None:
    address = running.base.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1])), timeout=10) as connection:
        connection.sendall("\r\n".join(["GET /healthz HTTP/1.1", *headers, "Connection: close", "", ""]).encode())
        answer = connection.makefile("rb").readline()

    assert answer.split()[1] in (b"400", b"421")


@EVERY_ROUTE
@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer live_0123456789abcdef",
        "Basic bGl2ZV8wMTIzNDU2Nzg5OmFiYw==",
        "live_0123456789abcdef",
        "bearer TEST_0123456789",
    ],
)
def test_a_scale_key_in_a_request_is_refused_and_not_logged(
    running: Running, method: str, path: str, authorization: str
) -> None:
    assert status(running, method, path, Authorization=authorization) == 401
    assert "0123456789" not in "".join(running.log)
    assert "bGl2ZV8w" not in "".join(running.log)


@pytest.mark.parametrize("path", ["/authorize", "/register", "/token", "/.well-known/oauth-authorization-server"])
def test_it_is_no_authorization_server(running: Running, path: str) -> None:
    assert status(running, "GET", path) == 404
    assert status(running, "POST", path) == 404


@pytest.mark.parametrize("path", ["/mcp", "/messages/?session_id=0123456789abcdef0123456789abcdef"])
@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "in chunks"])
def test_a_body_above_four_megabytes_is_refused(running: Running, path: str, chunked: bool) -> None:
    body = b'"' + b"x" * 10_000_000 + b'"'
    content: Any = iter([body[start : start + 65_536] for start in range(0, len(body), 65_536)]) if chunked else body

    try:
        answer = httpx2.post(f"{running.base}{path}", headers=MODERN, content=content, timeout=20)
    except (httpx2.WriteError, httpx2.ReadError):  # refused so early that the rest could not be sent
        assert status(running, "GET", "/healthz") == 200
    else:
        assert answer.status_code == 413


def test_a_body_just_below_four_megabytes_is_taken(running: Running) -> None:
    answer = httpx2.post(
        f"{running.base}/mcp", headers={**MODERN, "Mcp-Name": "say"}, json=call("say", text="x" * 4_000_000)
    )

    assert answer.status_code == 200
    assert "Shortened" in answer.text


@pytest.mark.parametrize("depth", [1_000, 100_000])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_deep_json_is_an_error_and_no_crash(running: Running, depth: int, brackets: str) -> None:
    opening = "[" if brackets == "[]" else '{"a":'
    nested = opening * depth + "1" + brackets[1] * depth
    body = json.dumps(call("look", name="DEEP")).replace('"DEEP"', nested)

    answer = httpx2.post(f"{running.base}/mcp", headers=MODERN, content=body.encode(), timeout=20)

    assert answer.status_code in (200, 400)
    assert "Traceback" not in answer.text
    assert '"isError":true' in answer.text or '"error"' in answer.text
    assert status(running, "GET", "/healthz") == 200


def test_unknown_sessions_are_answered_alike_whatever_they_look_like(running: Running) -> None:
    hello = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    answers = {
        (answer.status_code, answer.text)
        for session in ("0" * 32, "x", "../../etc/passwd", "a" * 5000)
        if (answer := httpx2.post(f"{running.base}/mcp", headers={**headers, "Mcp-Session-Id": session}, json=hello))
    }

    assert {code for code, _ in answers} == {404}
    assert len(answers) == 1
    assert (
        httpx2.post(f"{running.base}/messages/?session_id={'0' * 32}", headers=headers, json=hello).status_code == 404
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_it_refuses_to_start_where_others_could_reach_it(host: str) -> None:
    finished = subprocess.run(
        [sys.executable, *REAL, "--sandbox", "--transport", "http", "--host", host, "--port", "0"],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert finished.returncode == 2
    assert "no authentication" in finished.stderr.replace("\n", " ")
    assert finished.stdout == ""


def test_a_port_that_is_taken_is_explained(running: Running) -> None:
    port = running.base.rsplit(":", 1)[1]
    finished = subprocess.run(
        [sys.executable, *REAL, "--sandbox", "--transport", "http", "--port", port],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert finished.returncode != 0
    assert "Cannot listen on" in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_zero(number: int) -> None:
    with listening([*SMALL, "transport=http", "port=0"]) as server:
        assert status(server, "GET", "/healthz") == 200
        assert server.stop(number) == 0


@pytest.mark.anyio
@pytest.mark.parametrize("door", ["mcp", "sse"])
async def test_a_signal_ends_it_while_clients_are_connected_and_calls_are_running(door: str) -> None:
    started = anyio.Event()

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        started.set()

    with listening([*SMALL, "transport=http", "port=0"]) as server, anyio.fail_after(30):

        async def client() -> None:
            try:
                async with at(server.base, door, "legacy") as connected:
                    await connected.call_tool("wait", {}, progress_callback=on_progress)
            except Exception:  # whatever the SDK makes of a server that goes away
                started.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client)
            await started.wait()
            assert await anyio.to_thread.run_sync(server.stop) == 0
            tasks.cancel_scope.cancel()

    assert not [line for line in server.log if "Traceback" in line]


@pytest.mark.anyio
async def test_clients_that_come_and_go_leave_nothing_behind_in_the_log(running: Running) -> None:
    before = len(running.log)
    for _ in range(5):
        async with Client(sse_client(f"{running.base}/sse"), mode="legacy") as client:
            await client.call_tool("look", {"name": "x"})
        async with at(running.base, "mcp", "legacy") as client:
            await client.call_tool("look", {"name": "x"})

    events = [json.loads(line) for line in running.log[before:]]
    assert {event["level"] for event in events} <= {"info"}, events


def test_a_half_sent_request_blocks_nobody(running: Running) -> None:
    host, port = running.base.removeprefix("http://").split(":")
    slow = http.client.HTTPConnection(host, int(port), timeout=10)
    slow.putrequest("POST", "/mcp")
    slow.putheader("Content-Length", "1000")
    slow.endheaders()
    slow.send(b"{")

    assert status(running, "GET", "/healthz") == 200
    slow.close()


def test_no_header_or_query_loosens_what_the_operator_chose() -> None:
    with listening([*SMALL, "transport=http", "port=0", "read_only=true"]) as server:
        loose = {"X-MCP-Readonly": "false", "X-MCP-Toolsets": "all", "X-MCP-Tools": "change"}
        headers = {**MODERN, **loose, "Mcp-Name": "change"}
        answer = httpx2.post(
            f"{server.base}/mcp?read_only=false&tools=change", headers=headers, json=call("change", name="x")
        )

    assert answer.json()["error"] == {"code": -32602, "message": "Unknown tool: change"}

"""Plain calls on /mcp: whose session they belong to, what ends them, and which requests are left to the SDK."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from scale_mcp.server.conformance import EventLog
from scale_mcp.server.shortcut import ShortcutServer
from scale_mcp.server.transports import http_reply
from scale_mcp.server.transports.draining import InFlight
from scale_mcp.server.transports.http import web_app
from scale_mcp.server.transports.sessions import TRUSTED, KnownSessions
from tests.both_ways import (
    ENVELOPE,
    MODERN,
    Response,
    Site,
    at_http,
    cancelled,
    initialize,
    recorded,
    request,
    same,
    without,
)
from tests.small_cards import FakeApi, built, settings

pytestmark = pytest.mark.anyio

OLD = "2025-11-25"
BOTH_ERAS = pytest.mark.parametrize("version", [OLD, MODERN])
BOTH_WAYS = pytest.mark.parametrize("short", [True, False], ids=["short way", "SDK's way"])
Headers = list[tuple[str, str]]
LOOK = {"name": "x"}


def server_for(api: FakeApi, *, short: bool) -> ShortcutServer:
    server = built(api=api)
    return server if short else without(server)


def told(response: Response) -> tuple[int, str, Any]:
    """An answer's status and content, however it is framed."""
    kind = response.headers.get("content-type", "").partition(";")[0]
    if kind in ("application/json", "text/event-stream"):
        return response.status, "", same(response.messages)
    return response.status, kind, response.body.decode()


@BOTH_ERAS
async def test_a_plain_call_is_answered_with_a_json_document(version: str) -> None:
    async with at_http(built(), version) as client:
        response = await client.post(client.call("look", LOOK))

    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["content-length"] == str(len(response.body))
    assert response.headers.get("mcp-session-id", "") == client.session
    assert response.messages[0]["result"]["structuredContent"] == {"said": "x"}


@BOTH_ERAS
async def test_a_body_that_comes_in_pieces_is_put_together(version: str) -> None:
    server = built()
    taken = recorded(server)
    async with at_http(server, version) as client:
        response = await client.post(client.call("look", LOOK), pieces=7)
        not_a_call = await client.post(request(1, "tools/list", _meta=ENVELOPE if version == MODERN else {}), pieces=7)

    assert response.messages[0]["result"]["structuredContent"] == {"said": "x"}
    assert len(not_a_call.messages[0]["result"]["tools"]) == 9
    assert len(taken) == 1


def leave_out(*names: str) -> Callable[[Headers], Headers]:
    return lambda headers: [pair for pair in headers if pair[0] not in names]


def put(name: str, value: str) -> Callable[[Headers], Headers]:
    return lambda headers: [*leave_out(name)(headers), (name, value)]


def add(name: str, value: str) -> Callable[[Headers], Headers]:
    return lambda headers: [*headers, (name, value)]


@pytest.mark.parametrize(
    ("version", "change"),
    [
        *[
            (version, change)
            for version in (OLD, MODERN)
            for change in (
                leave_out("Accept"),
                put("Accept", "application/json"),
                put("Accept", "text/event-stream"),
                put("Accept", "text/html, application/jsonx"),
                leave_out("Content-Type"),
                put("Content-Type", "text/plain"),
                put("Content-Length", "4194305"),
                put("MCP-Protocol-Version", "2027-01-01"),
                put("MCP-Protocol-Version", "x"),
            )
        ],
        *[
            (MODERN, change)
            for change in (
                put("MCP-Protocol-Version", OLD),
                leave_out("MCP-Protocol-Version"),
                add("MCP-Protocol-Version", MODERN),
                leave_out("Mcp-Method"),
                put("Mcp-Method", "tools/list"),
                add("Mcp-Method", "tools/call"),
                leave_out("Mcp-Name"),
                put("Mcp-Name", "fail"),
                add("Mcp-Name", "look"),
            )
        ],
        *[
            (OLD, change)
            for change in (
                put("MCP-Protocol-Version", MODERN),
                put("Content-Type", "application/jsonx"),
                put("Mcp-Session-Id", "0" * 32),
                put("Mcp-Session-Id", ""),
            )
        ],
    ],
)
async def test_a_head_that_the_sdk_refuses_is_refused_alike(version: str, change: Callable[[Headers], Headers]) -> None:
    found = []
    for server in (built(), without(built())):
        taken = recorded(server) if server.shortcut else []
        async with at_http(server, version) as client:
            message = client.call("look", LOOK, 5)
            body = json.dumps(message).encode()
            found.append(told(await client.send(body, change(client.headers(body, message)))))
        assert not taken

    assert found[0] == found[1]
    assert found[0][0] >= 400


@pytest.mark.parametrize(
    ("version", "change"),
    [
        *[
            (version, change)
            for version in (OLD, MODERN)
            for change in (
                put("Accept", "text/event-stream;q=0.5 , application/json;q=0.9"),
                put("Accept", "*/*"),
                put("Content-Type", "application/json; charset=utf-8"),
                leave_out("Content-Length"),
                add("X-Twice", "1"),
                add("Last-Event-ID", "1"),
            )
        ],
        (OLD, leave_out("MCP-Protocol-Version")),
        (OLD, put("MCP-Protocol-Version", "2024-11-05")),
        (MODERN, put("Mcp-Name", "=?base64?bG9vaw==?=")),
        (MODERN, put("Mcp-Session-Id", "x")),
        (MODERN, put("Content-Type", "application/jsonx")),
    ],
)
async def test_a_head_that_the_sdk_takes_is_taken_alike(version: str, change: Callable[[Headers], Headers]) -> None:
    found = []
    for server in (built(), without(built())):
        async with at_http(server, version) as client:
            message = client.call("look", LOOK, 5)
            body = json.dumps(message).encode()
            found.append(told(await client.send(body, change(client.headers(body, message)))))

    assert found[0] == found[1]
    assert found[0][0] == 200


@BOTH_ERAS
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"jsonrpc":"2.0","id":5,"method":"tools/call"}',
        b'{"jsonrpc":"1.0","id":5,"method":"tools/call","params":{"name":"look","arguments":{"name":"x"}}}',
        b'{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"look","arguments":{"name":"x"}}}',
        b'{"jsonrpc":"2.0","id":5.5,"method":"tools/call","params":{"name":"look","arguments":{"name":"x"}}}',
        b'{"jsonrpc":"2.0","method":"tools/call","params":{"name":"look","arguments":{"name":"x"}}}',
        b'[{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"look","arguments":{"name":"x"}}}]',
        b'{"jsonrpc":"2.0","id":5,"result":{"method":"tools/call"}}',
        b'{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"look","arguments":{"name":"\xff"}}}',
        b'{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"look","arguments":{"name":"\\ud800"}}}',
        b'{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"look","arguments":' + b"[" * 100_000,
    ],
)
async def test_a_body_that_holds_no_call_is_answered_alike(version: str, body: bytes) -> None:
    found = []
    for server in (built(), without(built())):
        async with at_http(server, version) as client:
            message = {"method": "tools/call", "params": {"name": "look"}}
            response = await client.send(body, client.headers(body, message))
            found.append((response.status, response.body))

    assert found[0] == found[1]


@BOTH_WAYS
async def test_a_note_of_the_same_session_cancels_a_call(short: bool) -> None:
    api = FakeApi()
    async with at_http(server_for(api, short=short), OLD) as client:
        found = []
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                found.append(told(await client.post(client.call("wait", {}, 7))))

            tasks.start_soon(call)
            await api.started.wait()
            note = await client.post(cancelled("7"))
        after = await client.ask("look", LOOK)

    assert note.status == 202
    assert api.cancelled == 1
    error = {"code": -32800, "message": "Request cancelled"}
    assert found == [(200, "", [{"jsonrpc": "2.0", "id": 7, "error": error}])]
    assert not after["result"]["isError"]


async def test_a_note_of_another_session_or_about_another_call_cancels_nothing() -> None:
    api = FakeApi()
    server = built(api=api)
    async with at_http(server, OLD) as client:
        mine = client.session
        await client.open()
        other, client.session = client.session, mine
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.post, client.call("wait", {}, 7))
            await api.started.wait()
            client.session = other
            assert (await client.post(cancelled(7))).status == 202
            client.session = mine
            assert (await client.post(cancelled(8))).status == 202
            await client.ask("look", LOOK)
            still_waiting = not api.cancelled
            await client.post(cancelled(7))

    assert still_waiting
    assert api.cancelled == 1


@BOTH_WAYS
async def test_whoever_hangs_up_cancels_the_call_since_2026_07_28(short: bool) -> None:
    api = FakeApi()
    gone = anyio.Event()
    async with at_http(server_for(api, short=short), MODERN) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: client.post(client.call("wait", {}), gone=gone))
        await api.started.wait()
        gone.set()

    assert api.cancelled == 1


async def test_before_that_a_call_goes_on_without_the_client_that_hung_up() -> None:
    api = FakeApi()
    gone = anyio.Event()
    async with at_http(built(api=api), OLD) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: client.post(client.call("wait", {}, 7), gone=gone))
        await api.started.wait()
        gone.set()
        for _ in range(5):  # turns of the loop in which it could be noticed
            await checkpoint()
        still_running = not api.cancelled
        await client.post(cancelled(7))

    assert still_running


@BOTH_ERAS
@BOTH_WAYS
async def test_a_server_that_stops_gives_its_calls_up_with_an_answer(version: str, short: bool) -> None:
    api, in_flight = FakeApi(), InFlight()
    server = server_for(api, short=short)
    found = []
    async with at_http(server, version, in_flight=in_flight) as client, anyio.create_task_group() as tasks:

        async def call() -> None:
            found.append(told(await client.post(client.call("wait", {}, 7))))

        tasks.start_soon(call)
        await api.started.wait()
        await in_flight.finish(0)

    error = {"code": -32603, "message": "The server is stopping; what this call did is not known."}
    assert found == [(200, "", [{"jsonrpc": "2.0", "id": 7, "error": error}])]


@BOTH_ERAS
async def test_a_server_that_stops_waits_for_calls_that_end_in_time(version: str) -> None:
    in_flight = InFlight()
    async with at_http(built(), version, in_flight=in_flight) as client, anyio.create_task_group() as tasks:
        found = []

        async def call() -> None:
            found.append(await client.ask("look", LOOK))

        tasks.start_soon(call)
        await checkpoint()
        await in_flight.finish(math.inf)

    assert found[0]["result"]["structuredContent"] == {"said": "x"}


async def test_a_session_is_the_sdks_until_it_has_served_it() -> None:
    server = built()
    taken = recorded(server)
    app = web_app(server, settings())
    async with app.router.lifespan_context(app):
        client = Site(app, OLD)
        client.session = (await client.post(initialize(OLD))).headers["mcp-session-id"]
        first = await client.ask("look", LOOK)
        before = len(taken)
        second = await client.ask("look", LOOK)

    assert first["result"] | {"content": []} == second["result"] | {"content": []}
    assert (before, len(taken)) == (0, 1)


async def test_a_session_whose_handshake_failed_answers_no_call() -> None:
    found = []
    for server in (built(), without(built())):
        async with at_http(server, OLD) as client:
            broken = {**initialize(OLD), "params": {"protocolVersion": OLD}}
            client.session = ""
            client.session = (await client.post(broken)).headers["mcp-session-id"]
            await client.post(request("p", "ping"))
            found.append([told(await client.post(client.call("look", LOOK, number))) for number in (1, 2)])

    assert found[0] == found[1]
    assert "error" in found[0][0][2][0]


async def test_a_deleted_session_answers_no_more_and_gives_its_calls_up() -> None:
    api = FakeApi()
    found = []
    async with at_http(built(api=api), OLD) as client:
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                found.append(told(await client.post(client.call("wait", {}, 7))))

            tasks.start_soon(call)
            await api.started.wait()
            deleted = await client.send(b"", client.headers(b"", {}), method="DELETE")
        after = await client.post(client.call("look", LOOK))

    assert deleted.status == 200
    error = {"code": -32603, "message": "Session terminated before the request completed"}
    assert found == [(500, "", [{"jsonrpc": "2.0", "id": 7, "error": error}])]
    assert after.status == 404


async def test_a_session_belongs_to_the_caller_who_opened_it() -> None:
    api = FakeApi()
    server = built(api=api)
    taken = recorded(server)
    async with at_http(server, OLD, person="ann") as client:
        refused = [
            await client.post(client.call("look", LOOK), person=person, **more)
            for person in ("bob", "")
            for more in ({}, {"pieces": 3})
        ]
        deleted = await client.send(b"", client.headers(b"", {}), method="DELETE", person="bob")
        before = len(taken)
        hers = await client.post(client.call("look", LOOK), person="ann")

    assert [answer.status for answer in refused] == [404] * 4
    assert deleted.status == 404
    assert hers.status == 200
    assert (before, len(taken)) == (0, 1)
    assert api.done == ["look x"]


async def test_another_caller_cannot_cancel_a_call_of_a_session() -> None:
    api = FakeApi()
    async with at_http(built(api=api), OLD, person="ann") as client, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: client.post(client.call("wait", {}, 7), person="ann"))
        await api.started.wait()
        assert (await client.post(cancelled(7), person="bob")).status == 404
        await client.post(request(9, "tools/list"), person="ann")
        still_waiting = not api.cancelled
        await client.post(cancelled(7), person="ann")

    assert still_waiting
    assert api.cancelled == 1


async def test_now_and_then_a_call_shows_the_sdk_that_its_session_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("scale_mcp.server.transports.http.KnownSessions", lambda: KnownSessions(lambda: now[0]))
    server = built()
    taken = recorded(server)
    async with at_http(server, OLD) as client:
        ways = []
        for moment in (1.0, TRUSTED - 1, TRUSTED + 1, TRUSTED + 2, 2 * TRUSTED, 2 * TRUSTED + 2):
            now[0] = moment
            before = len(taken)
            assert "result" in await client.ask("look", LOOK)
            ways.append(len(taken) - before)

    assert ways == [1, 1, 0, 1, 1, 0]


@BOTH_ERAS
async def test_a_long_call_becomes_a_stream_that_is_kept_open(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_reply, "PING_EVERY", 0)
    api, in_flight = FakeApi(), InFlight()
    found = []
    async with at_http(built(api=api), version, in_flight=in_flight) as client, anyio.create_task_group() as tasks:

        async def call() -> None:
            found.append(await client.post(client.call("wait", {}, 7)))

        tasks.start_soon(call)
        await api.started.wait()
        for _ in range(10):  # turns of the loop in which it tells the client to be patient
            await checkpoint()
        await in_flight.finish(0)

    (response,) = found
    assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")
    assert response.headers.get("mcp-session-id", "") == client.session
    *pings, last = response.body.split(b"\r\n\r\n")[:-1]
    assert pings
    assert set(pings) == {b": ping"}
    assert last.startswith(b"event: message\r\ndata: {")
    assert response.messages[0]["error"]["code"] == -32603


async def test_a_call_whose_task_is_ended_from_outside_sends_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_reply, "PING_EVERY", 0)
    api = FakeApi()
    async with at_http(built(api=api), OLD) as client:
        response = Response()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: client.post(client.call("wait", {}), response=response))
            await api.started.wait()
            while not response.body:
                await checkpoint()
            tasks.cancel_scope.cancel()
        heard = len(response.body)
        for _ in range(10):  # turns of the loop in which it would send again
            await checkpoint()

    assert api.cancelled == 1
    assert len(response.body) == heard


async def test_where_streams_can_be_resumed_every_call_is_the_sdks() -> None:
    server = built()
    taken = recorded(server)
    app = web_app(server, settings(), EventLog())
    async with app.router.lifespan_context(app):
        client = Site(app, OLD)
        await client.open()
        await client.post(client.call("look", LOOK))

    assert not taken


async def test_other_addresses_and_methods_pass_by() -> None:
    async with at_http(built(), MODERN) as client:
        message = client.call("look", LOOK)
        body = json.dumps(message).encode()
        health = await client.send(b"", [("Host", "127.0.0.1")], method="GET", path="/healthz")
        elsewhere = await client.send(body, client.headers(body, message), path="/elsewhere")
        put_there = await client.send(body, client.headers(body, message), method="PUT")

    assert json.loads(health.body)["status"] == "ok"
    assert elsewhere.status == 404
    assert put_there.status == 405

"""A server inside this process, talked to byte by byte: over a pair of pipes, and through its ASGI application.

Each server is had twice, with the short way for plain calls and without it. What it was asked for on the short way is
kept, so that a test can tell which way an answer came.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.lowlevel import checkpoint
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken

from scale_mcp.front.handover import Handover, leave
from scale_mcp.server.shortcut import PlainCall, Shortcut, ShortcutServer
from scale_mcp.server.transports.draining import InFlight
from scale_mcp.server.transports.http import web_app
from scale_mcp.server.transports.pipes import PipeLines
from scale_mcp.server.transports.stdio import serve_stdio
from tests.small_cards import settings

PATIENCE = 20  # seconds until a test that hangs fails
HANDSHAKE = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN = "2026-07-28"
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
Answer = dict[str, Any]


def request(identity: Any, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identity, "method": method, "params": params}


def initialize(version: str, identity: Any = "init") -> dict[str, Any]:
    client = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    return request(identity, "initialize", **client)


def cancelled(identity: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": identity}}


def same(answer: Any) -> Any:
    """An answer without what is made anew for each: marks around foreign text, the ids of calls and of objects."""
    text = json.dumps(answer, sort_keys=True)
    text = re.sub(r"scale-data [0-9a-f]{8}", "scale-data #", text)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{32}\b", "#", text)
    text = re.sub(r"under [0-9a-f]{8,16}", "under #", text)
    return json.loads(re.sub(r'"request_id": "[0-9a-f]{8,16}"', '"request_id": "#"', text))


class Recorded(Shortcut):
    """The short way of a server, and the calls that went it."""

    def __init__(self, real: Shortcut) -> None:
        self.real = real
        self.taken: list[PlainCall] = []

    def plain_call(self, *arguments: Any) -> PlainCall | None:
        call = self.real.plain_call(*arguments)
        if call is not None:
            self.taken.append(call)
        return call


def recorded(server: ShortcutServer) -> list[PlainCall]:
    """The calls of this server that take the short way, from now on."""
    assert server.shortcut is not None
    server.shortcut = Recorded(server.shortcut)
    return server.shortcut.taken


def without(server: ShortcutServer) -> ShortcutServer:
    server.shortcut = None
    return server


@dataclass
class Wire:
    """A client at the pipes of a server."""

    version: str
    _sink: int
    _lines: AsyncIterator[Answer]
    _ids: Any = field(default_factory=lambda: itertools.count(1))
    closed: bool = False

    async def say(self, message: Mapping[str, Any]) -> None:
        os.write(self._sink, json.dumps(message).encode() + b"\n")
        await checkpoint()

    async def hear(self) -> Answer:
        return await anext(self._lines)

    async def rest(self) -> list[Answer]:
        """What still comes after the client has closed its end."""
        self.close()
        return [answer async for answer in self._lines]

    def close(self) -> None:
        if not self.closed:
            os.close(self._sink)
            self.closed = True

    def call(self, tool: str, arguments: Any = None, identity: Any = None, **more: Any) -> dict[str, Any]:
        params = {"name": tool, **({} if arguments is None else {"arguments": arguments}), **more}
        if self.version == MODERN:
            params["_meta"] = ENVELOPE | params.get("_meta", {})
        return request(identity if identity is not None else next(self._ids), "tools/call", **params)

    async def ask(self, tool: str, arguments: Any = None, **more: Any) -> Answer:
        await self.say(self.call(tool, arguments, **more))
        return await self.hear()


@asynccontextmanager
async def over_pipes(server: ShortcutServer, version: str, *, accepted: bool = True) -> AsyncIterator[Wire]:
    """A client of this version that the server has accepted, or hears of now. The server ends with the block."""
    source, to_server = os.pipe()
    from_server, sink = os.pipe()
    leave(Handover(source, sink, b"", []))
    lines = PipeLines(Handover(from_server, -1, b"", []), 1000, 1 << 24, json.loads)
    wire = Wire(version, to_server, aiter(lines))

    async def serve() -> None:
        try:
            await serve_stdio(server)
        finally:
            os.close(sink)

    try:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(serve)
                if not accepted:
                    pass
                elif version == MODERN:
                    await wire.say(request("first", "server/discover", _meta=ENVELOPE))
                    assert "result" in await wire.hear()
                else:
                    await wire.say(initialize(version))
                    assert (await wire.hear())["result"]["protocolVersion"] == version
                    await wire.say(INITIALIZED)
                yield wire
                wire.close()
    finally:
        wire.close()
        await wire._lines.aclose()  # type: ignore[attr-defined]
        for end in (source, from_server):
            os.close(end)


@dataclass
class Response:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def messages(self) -> list[Answer]:
        """The JSON-RPC messages, of an event stream or of a document."""
        if "event-stream" not in self.headers.get("content-type", ""):
            return [json.loads(self.body)]
        lines = self.body.decode().splitlines()
        return [json.loads(line[5:]) for line in lines if line.startswith("data:") and line[5:].strip()]


class Site:
    """A client of a server's ASGI application."""

    def __init__(self, app: Any, version: str) -> None:
        self.app = app
        self.version = version
        self.session = ""
        self._ids = itertools.count(1)

    async def send(
        self,
        body: bytes,
        headers: list[tuple[str, str]],
        *,
        method: str = "POST",
        path: str = "/mcp",
        gone: anyio.Event | None = None,
        person: str = "",
        pieces: int = 1,
        response: Response | None = None,
    ) -> Response:
        """One exchange. ``gone`` is when the client hangs up, ``person`` whom the application's login has verified.

        ``response`` is what to fill, for whoever looks at it before its end.
        """
        response = response or Response()
        answered = anyio.Event()
        cut = -(-len(body) // pieces) or 1
        parts = [body[start : start + cut] for start in range(0, len(body) or 1, cut)]

        async def receive() -> dict[str, Any]:
            if parts:
                part = parts.pop(0)
                return {"type": "http.request", "body": part, "more_body": bool(parts)}
            await (gone or answered).wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                response.status = message["status"]
                response.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                response.body += message.get("body", b"")
                if not message.get("more_body"):
                    answered.set()

        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "scheme": "http",
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        if person:
            scope["user"] = AuthenticatedUser(AccessToken(token="t", client_id=person, scopes=[]))
        await self.app(scope, receive, send)
        return response

    def headers(self, body: bytes, message: Mapping[str, Any]) -> list[tuple[str, str]]:
        found = [
            ("Host", "127.0.0.1"),
            ("Accept", "application/json, text/event-stream"),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("MCP-Protocol-Version", self.version),
        ]
        if self.version == MODERN:
            found += [("Mcp-Method", str(message.get("method")))]
            if "name" in message.get("params", {}):
                found += [("Mcp-Name", str(message["params"]["name"]))]
        elif self.session:
            found += [("Mcp-Session-Id", self.session)]
        return found

    async def post(self, message: Mapping[str, Any], **more: Any) -> Response:
        body = json.dumps(message).encode()
        return await self.send(body, self.headers(body, message), **more)

    def call(self, tool: str, arguments: Any = None, identity: Any = None, **more: Any) -> dict[str, Any]:
        params = {"name": tool, **({} if arguments is None else {"arguments": arguments}), **more}
        if self.version == MODERN:
            params["_meta"] = ENVELOPE | params.get("_meta", {})
        return request(identity if identity is not None else next(self._ids), "tools/call", **params)

    async def ask(self, tool: str, arguments: Any = None, **more: Any) -> Answer:
        response = await self.post(self.call(tool, arguments, **more))
        (answer,) = response.messages
        return answer

    async def open(self, person: str = "") -> None:
        """Get accepted, and known: the SDK has served this client once."""
        if self.version == MODERN:
            return
        self.session = ""
        response = await self.post(initialize(self.version), person=person)
        self.session = response.headers["mcp-session-id"]
        await self.post(INITIALIZED, person=person)
        assert (await self.post(request("list", "tools/list"), person=person)).status == 200


@asynccontextmanager
async def at_http(
    server: ShortcutServer, version: str, *, in_flight: InFlight | None = None, person: str = ""
) -> AsyncIterator[Site]:
    """A client of this version that the server has accepted."""
    if in_flight is not None:
        server.middleware.insert(0, in_flight)
    app = web_app(server, settings(), in_flight=in_flight)
    with anyio.fail_after(PATIENCE):
        async with app.router.lifespan_context(app):
            site = Site(app, version)
            await site.open(person)
            yield site


@asynccontextmanager
async def at_door(server: ShortcutServer, door: str, version: str) -> AsyncIterator[Wire | Site]:
    async with over_pipes(server, version) if door == "stdio" else at_http(server, version) as client:
        yield client

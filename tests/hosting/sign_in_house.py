"""A hosted server of small cards behind its gate, on a real socket, with personas in a real store."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import httpx2
import uvicorn
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.server import ServerRequestContext
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import principal_components
from mcp.server.context import CallNext, HandlerResult
from mcp.shared._httpx_utils import create_mcp_http_client

from scale_mcp.hosting.clock import Clock, utc_now
from scale_mcp.hosting.directory import Directory
from scale_mcp.hosting.persona_store import Personas
from scale_mcp.hosting.personas import Persona
from scale_mcp.hosting.sign_in import SignIn
from scale_mcp.hosting.store import Database
from scale_mcp.hosting.tokens import TokenRecord, Tokens
from scale_mcp.server.build import build_server
from scale_mcp.server.connection import Connection
from scale_mcp.server.hosted.gate import put_behind_gate
from scale_mcp.server.hosted.oauth import sign_in_for
from scale_mcp.server.hosted.sessions import Sessions
from scale_mcp.server.hosted.streams import EVERY, Streams
from scale_mcp.server.hosted.visit import Visit, current_visit
from scale_mcp.server.transports.http import web_app
from scale_mcp.server.transports.listening import listen
from scale_mcp.tools.card import Call, tool
from tests.small_cards import CARDS, FakeApi, Said, settings

HOSTED: dict[str, Any] = {"hosted": True, "transport": "http"}
ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


class Hands:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class NoTrail:
    """Stands where the audit trail stands."""

    async def append(self, kind: str, content: dict[str, Any], *, connection: Any = None) -> int:
        return 0


@dataclass(frozen=True)
class Seen:
    """One MCP request as its handler saw it."""

    method: str
    visit: Visit | None
    persona: str
    user: str
    principal: str | None
    bearer: str | None
    headers: dict[str, str]


@dataclass
class Watched(FakeApi):
    """The fake api of one house, and what was seen there."""

    seen: list[Seen] = field(default_factory=list)


@tool(title="Say who is calling", toolset="team", risk="read")
async def whoami(call: Call) -> Said:
    """Say who is calling, as the handler knows it."""
    look_around("tools/call", call.api.seen)  # type: ignore[attr-defined]
    visit = current_visit()
    return Said(said=f"{visit.signed_in.caller.persona.name} {visit.signed_in.caller.user}" if visit else "nobody")


def look_around(method: str, seen: list[Seen], ctx: ServerRequestContext[Any, Any] | None = None) -> None:
    visit, access = current_visit(), get_access_token()
    caller = visit.signed_in.caller if visit else None
    seen.append(
        Seen(
            method,
            visit,
            caller.persona.name if caller else "",
            caller.user if caller else "",
            json.dumps(principal_components(access)) if access else None,
            access.token if access else None,
            dict(ctx.request.headers) if ctx is not None and ctx.request is not None else {},
        )
    )


@dataclass
class House:
    """The running server: its address, who may come in, and what its handlers saw."""

    base: str
    personas: Personas
    tokens: Tokens
    sign_in: SignIn
    api: FakeApi
    streams: Streams
    seen: list[Seen]

    async def persona(self, name: str, **policy: Any) -> Persona:
        return await self.personas.add(Persona(id="", name=name, scopes=("*",), **policy), actor="test")

    async def token(self, persona: str, user: str = "", expires_in: timedelta | None = None) -> tuple[TokenRecord, str]:
        record, secret = await self.tokens.issue(persona, user=user, expires_in=expires_in, actor="test")
        return record, secret.get_secret_value()

    async def revoke(self, record: TokenRecord) -> None:
        await self.tokens.revoke(record.id, actor="test")


@asynccontextmanager
async def opened_house(
    database: Database,
    clock: Clock = utc_now,
    *,
    look_every: float = EVERY,
    most_streams: int = 100,
    most_sessions: int = 100,
    **overrides: Any,
) -> AsyncIterator[House]:
    """Serve until the end of the block."""
    listener = listen("127.0.0.1", 0)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    configured = settings(**{**HOSTED, "public_url": address, **overrides})
    directory = Directory(database, clock)
    sign_in = sign_in_for(configured, directory, clock=clock)
    api = Watched()
    cards = {**CARDS, whoami.name: whoami}
    server = build_server(Connection(api, "live"), settings(), cards)  # type: ignore[arg-type]

    async def look(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        look_around(ctx.method, api.seen, ctx)
        return await call_next(ctx)

    server.middleware.append(look)
    app = web_app(server, configured)
    streams = Streams(sign_in, clock, every=look_every, most=most_streams)
    put_behind_gate(app, sign_in, configured, streams=streams, sessions=Sessions(clock, most=most_sessions))
    async with serving(app, listener):
        yield House(
            address,
            Personas(database, NoTrail(), clock),
            Tokens(database, NoTrail(), clock),
            sign_in,
            api,
            streams,
            api.seen,
        )


@asynccontextmanager
async def serving(app: Any, listener: socket.socket) -> AsyncIterator[None]:
    """Serve on a socket that listens, until the end of the block."""
    ready = anyio.Event()

    class Announcing(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            ready.set()

        @contextlib.contextmanager
        def capture_signals(self) -> Any:
            yield

    config = uvicorn.Config(
        app, log_config=None, access_log=False, proxy_headers=False, lifespan="on", timeout_graceful_shutdown=1
    )
    runner = Announcing(config)
    with listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runner.serve, [listener])
            try:
                with anyio.fail_after(20):
                    await ready.wait()
                yield
            finally:
                runner.should_exit = True


def bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token is not None else {}


@asynccontextmanager
async def signed_in(
    base: str, door: str, era: str, token: str | None = None, auth: httpx2.Auth | None = None, **options: Any
) -> AsyncIterator[Client]:
    """A client of the official SDK at one of the HTTP doors, with this token or this way to get one."""
    if door == "sse":
        async with Client(sse_client(f"{base}/sse", headers=bearer(token), auth=auth), mode=era, **options) as client:
            yield client
        return
    async with create_mcp_http_client(headers=bearer(token), auth=auth) as http:
        transport = streamable_http_client(f"{base}/mcp", http_client=http)
        async with Client(transport, mode=era, **options) as client:
            yield client

"""A whole hosted server for tests: the house on a real database, the sandbox and the server on real sockets."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import httpx2
import uvicorn
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.types import CLIENT_CAPABILITIES_META_KEY, PROTOCOL_VERSION_META_KEY, CallToolResult

from scale_mcp.cli.loopback import serving
from scale_mcp.hosting.house import House
from scale_mcp.hosting.persona_store import Personas
from scale_mcp.hosting.personas import Persona, Route
from scale_mcp.hosting.tokens import Tokens
from scale_mcp.sandbox import Sandbox, SandboxOptions
from scale_mcp.server.hosted.hall import hosted_server
from scale_mcp.server.hosted.listening import SessionWatches
from scale_mcp.server.hosted.run import enclose
from scale_mcp.server.transports.http import web_app
from scale_mcp.server.transports.listening import listen
from scale_mcp.settings import Settings, load_settings

MASTER_KEYS = f"tests:{base64.urlsafe_b64encode(b'0123456789abcdef' * 2).decode()}"
DOORS = [("legacy", "/mcp"), ("2026-07-28", "/mcp"), ("legacy", "/sse")]  # SSE is of the older era alone


@dataclass
class Hosted:
    """A running server, and its operator's hands."""

    url: str
    house: House
    sandbox: Sandbox
    sandbox_url: str
    watches: SessionWatches

    async def connection(self, name: str, key: str | None = None, kind: str = "sandbox") -> str:
        """Add a connection to an account of the sandbox of its own; gives its key."""
        key = key or f"live_{secrets.token_hex(16)}"
        await self.house.connections.add(name, key, base_url=f"{self.sandbox_url}/v1", kind=kind, actor="test")  # type: ignore[arg-type]
        return key

    async def persona(self, name: str, *connections: str, **fields: Any) -> str:
        """Add a persona that may do everything unless told otherwise; gives a token."""
        fields.setdefault("scopes", ("*",))
        fields.setdefault("routes", tuple(Route(connection) for connection in connections))
        personas = Personas(self.house.database, self.house.recorder)
        await personas.add(Persona(id="", name=name, **fields), actor="test")
        return await self.token(name)

    async def token(self, persona: str, user: str = "somebody") -> str:
        _, secret = await Tokens(self.house.database, self.house.recorder).issue(
            persona, label="test", user=user, actor="test"
        )
        return secret.get_secret_value()

    async def edit(self, persona: str, **changes: Any) -> None:
        await Personas(self.house.database, self.house.recorder).edit(persona, changes, actor="test")

    @asynccontextmanager
    async def client(
        self, token: str, era: str = "2026-07-28", door: str = "/mcp", **options: Any
    ) -> AsyncIterator[Client]:
        async with connected(self.url, token, era, door, **options) as client:
            yield client


@asynccontextmanager
async def connected(
    url: str, token: str, era: str = "2026-07-28", door: str = "/mcp", **options: Any
) -> AsyncIterator[Client]:
    """A real client, signed in."""
    headers = {"Authorization": f"Bearer {token}"}
    if door == "/sse":
        async with Client(sse_client(f"{url}/sse", headers=headers), mode=era, **options) as client:
            yield client
        return
    async with (
        create_mcp_http_client(headers=headers) as http,
        Client(streamable_http_client(f"{url}{door}", http_client=http), mode=era, **options) as client,
    ):
        yield client


class ManyCallers:
    """Calls tools for many personas over one HTTP client: what hundreds of real clients cost is not of interest."""

    def __init__(self, url: str, http: httpx2.AsyncClient) -> None:
        self._url, self._http = f"{url}/mcp", http

    async def call(self, token: str, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        """Raises ``MCPError`` for a protocol error."""
        version = "2026-07-28"
        meta = {PROTOCOL_VERSION_META_KEY: version, CLIENT_CAPABILITIES_META_KEY: {}}
        headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": version,
            "Mcp-Method": "tools/call",
            "Mcp-Name": tool,
        }
        params = {"name": tool, "arguments": arguments, "_meta": meta}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        answer = await self._http.post(self._url, json=body, headers=headers)
        told = answer.json()
        if "error" in told:
            raise MCPError(told["error"]["code"], told["error"]["message"], told["error"].get("data"))
        return CallToolResult.model_validate(told["result"])


@asynccontextmanager
async def many_callers(url: str) -> AsyncIterator[ManyCallers]:
    limits = httpx2.Limits(max_connections=100)
    async with httpx2.AsyncClient(limits=limits, timeout=60, trust_env=False) as http:
        yield ManyCallers(url, http)


def settings_for(database_url: str, **overrides: Any) -> Settings:
    return load_settings(
        {"hosted": True, "transport": "http", "store": database_url, "master_keys": MASTER_KEYS, **overrides}
    )


@asynccontextmanager
async def hosted(database_url: str, **overrides: Any) -> AsyncIterator[Hosted]:
    """The server and the sandbox, until the context ends. The sandbox's clock stands still."""
    async with (
        Sandbox(SandboxOptions(clock="manual")) as sandbox,
        serving(sandbox.app) as sandbox_url,
        _doors(settings_for(database_url, **overrides)) as (url, house, watches),
    ):
        yield Hosted(url, house, sandbox, sandbox_url, watches)


@asynccontextmanager
async def doors(settings: Settings) -> AsyncIterator[tuple[str, House]]:
    """One server over a house of its own: the address, and the house. Several on one database are replicas."""
    async with _doors(settings) as (url, house, _):
        yield url, house


@asynccontextmanager
async def _doors(settings: Settings) -> AsyncIterator[tuple[str, House, SessionWatches]]:
    async with House.opened(settings) as house, anyio.create_task_group() as tasks:
        tasks.start_soon(house.work, 0.05)
        server, watches = hosted_server(house, settings)
        tasks.start_soon(watches.run)
        app = web_app(server, settings, enclose=partial(enclose, house=house, settings=settings))
        with listen("127.0.0.1", 0) as listener:
            config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=1)
            runner = Runner(config)
            tasks.start_soon(partial(runner.serve, sockets=[listener]))
            await runner.up.wait()
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            try:
                yield url, house, watches
            finally:
                runner.should_exit = True
                await runner.down.wait()
                tasks.cancel_scope.cancel()


class Runner(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up, self.down = anyio.Event(), anyio.Event()

    def capture_signals(self) -> Any:
        from contextlib import nullcontext

        return nullcontext()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def shutdown(self, sockets: Any = None) -> None:
        await super().shutdown(sockets)
        self.down.set()


async def rows_of(house: House, kind: str) -> list[dict[str, Any]]:
    """The contents of the trail's rows of one kind, oldest first."""
    import json

    import sqlalchemy as sa

    from scale_mcp.hosting.audit.chain import audit_rows as rows

    async with house.database.reading() as connection:
        found = await connection.execute(sa.select(rows.c.content).where(rows.c.kind == kind).order_by(rows.c.seq))
        return [json.loads(content) for (content,) in found]

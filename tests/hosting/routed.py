"""What the tests of routing share: connections to accounts of a sandbox, opened as a server opens them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio.lowlevel
import sqlalchemy as sa
from pydantic import SecretStr

from scale_mcp.api import ApiOptions, ScaleApi
from scale_mcp.hosting.accounts import Account, Accounts
from scale_mcp.hosting.connections import Connections
from scale_mcp.hosting.homes import Homes
from scale_mcp.hosting.master_keys import new_master_key
from scale_mcp.hosting.personas import Persona, Route, When
from scale_mcp.hosting.routing import Router, Served
from scale_mcp.hosting.store import Database
from scale_mcp.hosting.store.tables import revision
from scale_mcp.hosting.vault import Vault
from scale_mcp.sandbox import SANDBOX_URL, Sandbox, SandboxOptions
from scale_mcp.sandbox.accounts import account_for
from scale_mcp.tools.arguments import check
from scale_mcp.tools.card import Call, ToolOutput
from scale_mcp.tools.registry import hosted_cards
from tests.hosting.personas import HandClock
from tests.hosting.vaults import Trail, keys_of

PICTURE = {
    "attachment": "https://example.com/a.jpg",
    "geometries": {"box": {"objects_to_annotate": ["car"]}},
}
LETTER = {
    "attachments": [{"type": "text", "content": "Dear Ada"}],
    "fields": [{"type": "text", "field_id": "name", "title": "Name"}],
}


async def at_once(_seconds: float) -> None:
    await anyio.lowlevel.checkpoint()


def persona(name: str, *routes: Route | str, **more: Any) -> Persona:
    """A persona with these routes; a name alone is a route for everything."""
    given = tuple(Route(route) if isinstance(route, str) else route for route in routes)
    return Persona(id=f"per_{name}", name=name, routes=given, **more)


def route(connection: str, *, fallback: bool = False, **when: tuple[str, ...]) -> Route:
    return Route(connection, When(**when), fallback)


@dataclass
class Routed:
    """A sandbox, connections to its accounts, and a router over them."""

    database: Database
    sandbox: Sandbox
    connections: Connections
    clock: HandClock = field(default_factory=HandClock)
    asks: int = 0  # of cards

    def __post_init__(self) -> None:
        self.accounts, self.homes, self.router = self.replica()

    def replica(self, name: str = "first") -> tuple[Accounts, Homes, Router]:
        """What another process over the same database has."""
        accounts = Accounts(
            self.database,
            self.connections,
            ApiOptions(),
            clock=self.clock,
            open_pool=self.open_pool,
            replica=name,
        )
        homes = Homes(self.database, self.clock)
        return accounts, homes, Router(accounts, homes, self.clock)

    def open_pool(self, keys: Mapping[str, SecretStr], base_url: str) -> ScaleApi:
        options = ApiOptions(sleep=at_once, clock=self.seconds, random=lambda: 0.5, max_retry_after=0.0)
        return ScaleApi.pooled(keys, base_url=base_url, transport=self.sandbox.transport(), options=options)

    def seconds(self) -> float:
        return self.clock.now.timestamp()

    async def connect(self, name: str, *keys: str) -> None:
        """A connection of these keys of one account."""
        await self.connections.add(name, keys[0], base_url=SANDBOX_URL, check=False, actor="ada")
        for key in keys[1:]:
            await self.connections.add_key(name, key, check=False, actor="ada")

    async def revision(self) -> int:
        async with self.database.reading() as connection:
            return int((await connection.execute(sa.select(revision.c.number))).scalar_one())

    async def account(self, name: str) -> Account:
        found = await self.accounts.named(name)
        assert found is not None
        return found

    async def call(self, who: Persona, tool: str, arguments: Mapping[str, Any] | None = None, **more: Any) -> Served:
        """Have a tool called as the server does it."""
        card = hosted_cards()[tool]
        request = check(card, dict(arguments or {}))

        async def run(api: ScaleApi) -> ToolOutput:
            self.asks += 1
            return await card.run(Call(api=api), request)

        router: Router = more.pop("router", self.router)
        return await router.run(who, card, request, run, **more)

    async def create(self, who: Persona, **more: Any) -> Served:
        router = {"router": more.pop("router")} if "router" in more else {}
        return await self.call(who, "create_image_annotation_task", {**PICTURE, **more}, **router)

    def limit(self, *keys: str, **more: Any) -> None:
        """Have Scale limit these keys, and no others."""
        rule = {"kind": "rate_limit", "retry_after": 30, **more}
        self.sandbox.faults.put([{**rule, "key": key} for key in keys])

    def asked(self, key: str, **wanted: Any) -> list[int | None]:
        """The statuses of what was asked with a key."""
        account = account_for(key)
        assert account is not None
        return [entry["status"] for entry in self.sandbox.log.entries(limit=10_000, key=account.key_id, **wanted)]

    def creates(self, key: str) -> list[int | None]:
        return self.asked(key, operation="create_task")


@asynccontextmanager
async def routed(url: str) -> AsyncIterator[Routed]:
    async with Database.opened(url) as database, Sandbox(SandboxOptions(clock="manual")) as sandbox:
        vault = await Vault.opened(database, keys_of(new_master_key()))
        world = Routed(database, sandbox, Connections(database, vault, Trail()))
        try:
            yield world
        finally:
            await world.accounts.aclose()


def sqlite(folder: Path) -> str:
    return f"sqlite:///{folder / 'hosted.db'}"

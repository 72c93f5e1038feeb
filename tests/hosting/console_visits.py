"""What tests of the console share: a signed-in operator, and a hosted server on which a lot has happened."""

from __future__ import annotations

import html
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import anyio
import httpx2
import sqlalchemy as sa
from mcp import MCPError

from scale_mcp.hosting.clock import stamp, utc_now
from scale_mcp.hosting.console_tokens import ConsoleToken, ConsoleTokens
from scale_mcp.hosting.events.facts import Facts
from scale_mcp.hosting.events.webhook_records import Webhook
from scale_mcp.hosting.events.webhooks import Webhooks
from scale_mcp.hosting.health import key_health
from scale_mcp.hosting.persona_tables import rates
from scale_mcp.hosting.personas import Budget, Route, When
from scale_mcp.hosting.tokens import Tokens
from tests.hosting.hosted import Hosted

FORM_TOKEN = re.compile(r'name="form_token" value="([0-9a-f]{64})"')
PICTURE = {"attachment": "https://example.com/1.jpg", "geometries": {"box": {"objects_to_annotate": ["car"]}}}
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202egnp.exe\u200b"
"""A name that would run as a script, close an attribute, turn letters around and hide one, if it were not made safe."""
IN_A_QUERY = "s3cr3tInTheQuery"
PAGES = ("", "/calls", "/personas", "/approvals", "/events", "/batches", "/audit")


@dataclass
class Operator:
    """A browser without scripts, signed in or not."""

    http: httpx2.AsyncClient

    async def get(self, path: str, **options: Any) -> httpx2.Response:
        return await self.http.get(f"/console{path}", **options)

    async def form_token(self, path: str = "") -> str:
        found = FORM_TOKEN.search((await self.get(path)).text)
        assert found is not None
        return found[1]

    async def post(self, path: str, **fields: str) -> httpx2.Response:
        """Send a form of one's own page."""
        token = await self.form_token("/audit")
        return await self.http.post(f"/console{path}", data={"form_token": token, **fields})

    async def sign_in(self, secret: str, **fields: str) -> httpx2.Response:
        token = await self.form_token("/sign-in")
        return await self.http.post("/console/sign-in", data={"form_token": token, "token": secret, **fields})

    async def text(self, path: str) -> str:
        """What a person reads on a page, without its markup, on one line."""
        answer = await self.get(path)
        assert answer.status_code == 200, answer.text
        return words(answer.text)


def words(page: str) -> str:
    text = html.unescape(re.sub(r"<[^>]*>", " ", page.partition("<main")[2]))
    return re.sub(r" ([,.;:])", r"\1", " ".join(text.split()))


async def console_token(server: Hosted, name: str = "ada", **life: float) -> tuple[ConsoleToken, str]:
    tokens = ConsoleTokens(server.house.database, server.house.recorder)
    record, secret = await tokens.add(name, expires_in=timedelta(**(life or {"hours": 12})), actor="test")
    return record, secret.get_secret_value()


@asynccontextmanager
async def visitor(server: Hosted) -> AsyncIterator[Operator]:
    async with httpx2.AsyncClient(base_url=server.url) as http:
        yield Operator(http)


@asynccontextmanager
async def operator(server: Hosted, name: str = "ada") -> AsyncIterator[Operator]:
    """An operator who has signed in."""
    async with visitor(server) as found:
        _, secret = await console_token(server, name)
        assert (await found.sign_in(secret)).status_code == 303
        yield found


@dataclass(frozen=True)
class Furniture:
    """What was put into the house that must never be seen on a page, and what happened."""

    secrets: tuple[str, ...]
    approval: str
    token_id: str


async def furnish(server: Hosted) -> Furniture:
    """Let a lot happen: connections in several states, personas, calls that end in all ways, an approval, events."""
    house = server.house
    keys = [await server.connection("production", kind="live"), await server.connection("streets-test")]
    keys.append(f"{keys[0]}+{secrets.token_hex(8)}")  # another key of the same account
    await house.connections.add_key("production", keys[-1], check=False, actor="test")
    callback = secrets.token_hex(16)
    await house.connections.set_callback_secret("production", callback, "test")
    async with house.database.writing() as connection:
        await connection.execute(sa.insert(rates).values(task_type="*", rate=80_000))
    budget = Budget(calls_per_day=2_000, tasks_per_day=40, cost_per_day=Decimal("25.50"), calls_per_minute=600)
    shift = {"purpose": "Creates tasks and watches them", "budget": budget}
    careful = {"confirm": "operator", "confirm_risk": "write", "deny": ("cancel_task",)}
    routes = (Route("production", When(toolsets=("tasks", "projects")), fallback=True), Route("streets-test"))
    tokens = [
        await server.persona("night-shift", "production", "streets-test", **shift),
        await server.persona("auditor", "production", scopes=("*:read",), read_only=True, purpose=EVIL),
        await server.persona("careful", scopes=("tasks:*", "projects:*"), routes=routes, **careful),
        await server.persona("retired", disabled=True),
    ]
    async with server.client(tokens[0]) as client:
        for name in ("streets", "crossings", EVIL):
            await client.call_tool("create_project", {"name": name, "type": "imageannotation"})
        for batch in ("monday", "tuesday", EVIL[:60]):
            await client.call_tool("create_batch", {"project": "streets", "name": batch})
        for batch in ("monday", "tuesday"):
            task = {"project": "streets", "batch": batch, **PICTURE}
            created = await client.call_tool("create_image_annotation_task", task)
            assert not created.is_error, created
        await client.call_tool("get_task", {"task_id": "0" * 24})
        await client.call_tool("list_batches", {}, meta={"scale-mcp/reason": f"What is under way? {EVIL}"})
        await client.call_tool("list_tasks", {"project": f"mind {keys[0]} and {tokens[0]}"})
    async with server.client(tokens[1]) as client:
        with suppress(MCPError):
            await client.call_tool("create_project", {"name": "not for me", "type": "imageannotation"})
        await client.call_tool("list_projects", {})
    async with server.client(tokens[2]) as client:
        await client.call_tool("create_project", {"name": f"{EVIL} {keys[0]}", "type": "imageannotation"})
    (approval,) = await house.approvals.list()
    token_id = (await Tokens(house.database, house.recorder).list("night-shift"))[0].id
    await _events(server)
    await _health(server)
    return Furniture((*keys, *tokens, callback, IN_A_QUERY), approval.id, token_id)


async def _events(server: Hosted) -> None:
    house = server.house
    webhooks = Webhooks(house.database, house.vault, house.recorder)
    address = f"http://127.0.0.1:1/hooks?token={IN_A_QUERY}"
    ops = Webhook("ops", address, kinds=("completed", "error"), private_host="127.0.0.1")
    await webhooks.add(ops, actor="test")
    main = await house.connections.get("production")
    since = utc_now() - timedelta(hours=1)
    for number, status in enumerate(("completed", "error", "completed", "canceled")):
        now, project = stamp(utc_now()), ("streets", EVIL)[number % 2]
        fact = Facts("task", f"{number:024x}", status, now, now, project=project, batch="monday")
        await house.events.note(main.id, [fact], since=since)
    with anyio.fail_after(20):
        while not any(each.attempts for each in await webhooks.recent()):  # the sender tries at once, and in vain
            await house.sender.send_due()


async def _health(server: Hosted) -> None:
    """As if two more servers had written how the keys fare."""
    record = await server.house.connections.get("production")
    rows = [
        ("replica-b:7", "cooling", stamp(utc_now() + timedelta(minutes=4)), 1_204, 31, 2),
        ("replica-c:7", "ready", None, 980, 0, 1),
    ]
    async with server.house.database.writing() as connection:
        for replica, state, until, ok, limited, failed in rows:
            values = {"key_id": record.keys[1].id, "replica": replica, "state": state, "cooling_until": until}
            values |= {"ok": ok, "limited": limited, "failed": failed, "updated_at": stamp(utc_now())}
            await connection.execute(sa.insert(key_health).values(values))

"""Three server processes on one PostgreSQL: what the guide sets up, killed, revoked and asked under load."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import anyio
import httpx2
import pytest
from mcp.types import CallToolResult

from scale_mcp.api import ScaleApi
from scale_mcp.cli.loopback import serving
from scale_mcp.models.tasks import TaskFilter
from scale_mcp.sandbox import Sandbox, SandboxOptions
from tests.hosting.hosted import ManyCallers, connected, many_callers
from tests.hosting.processes import Operator, Replica, replicas

pytestmark = pytest.mark.anyio

KEY = "live_of_three_replicas"
WORKERS = 12
TASKS_EACH = 15
TASK = {
    "project": "notes",
    "instruction": "Read it.",
    "attachments": [{"type": "text", "content": "words"}],
    "fields": [{"type": "text", "field_id": "f", "title": "T", "description": "D"}],
}


@dataclass
class Site:
    """The replicas, the operator, a persona's token, and the sandbox behind them."""

    operator: Operator
    replicas: list[Replica]
    token: str
    sandbox: Sandbox
    api_url: str


@pytest.fixture
async def site(postgresql_url: str) -> AsyncIterator[Site]:
    async with Sandbox(SandboxOptions(clock="manual")) as sandbox, serving(sandbox.app) as address:
        operator = Operator(postgresql_url, f"{address}/v1")
        async with replicas(operator, 3) as started:  # together, on an empty database
            await operator.run("connection", "add", "main", "--kind", "sandbox", given=KEY)
            await operator.run("persona", "add", "ada", "--scope", "*", "--route", "main")
            token = (await operator.run("persona", "token", "ada", "--user", "ada@example.com")).strip()
            async with ScaleApi(KEY, base_url=operator.api_url) as api:
                await api.projects.create("notes", "textcollection")
            yield Site(operator, started, token, sandbox, operator.api_url)


async def test_a_revoked_token_is_refused_on_the_next_call_of_every_replica(site: Site) -> None:
    async with httpx2.AsyncClient(trust_env=False) as http:
        doors = [ManyCallers(replica.url, http) for replica in site.replicas]
        for door in doors:
            assert not (await door.call(site.token, "list_projects", {})).is_error
        [record] = json.loads(await site.operator.run("persona", "show", "ada", "--json"))["tokens"]
        await site.operator.run("persona", "revoke", record["id"])
        for replica in site.replicas:
            answer = await http.post(f"{replica.url}/mcp", json={}, headers={"Authorization": f"Bearer {site.token}"})
            assert answer.status_code == 401


async def test_a_replica_killed_under_load_loses_and_doubles_nothing(site: Site) -> None:
    wanted = {f"{worker}-{number}" for worker in range(WORKERS) for number in range(TASKS_EACH)}
    acknowledged: set[str] = set()
    a_third, victim = anyio.Event(), site.replicas[1]

    async def create(doors: list[ManyCallers], worker: int, unique_id: str) -> CallToolResult:
        """As a careful client does it: the same call to the next replica when one does not answer."""
        for attempt in range(6):
            door = doors[(worker + attempt) % len(doors)]
            try:
                return await door.call(site.token, "create_text_collection_task", {**TASK, "unique_id": unique_id})
            except httpx2.TransportError:
                continue
        pytest.fail("no replica answered")

    async def work(doors: list[ManyCallers], worker: int) -> None:
        for number in range(TASKS_EACH):
            unique_id = f"{worker}-{number}"
            result = await create(doors, worker, unique_id)
            error = (result.meta or {}).get("scale-mcp/error", {})
            assert not result.is_error or error.get("code") == "conflict", result  # done before its replica was killed
            acknowledged.add(unique_id)
            if len(acknowledged) == len(wanted) // 3:
                a_third.set()

    async def kill() -> None:
        await a_third.wait()
        victim.kill()
        await victim.process.wait()

    async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        doors = [ManyCallers(replica.url, http) for replica in site.replicas]
        with anyio.fail_after(120):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(kill)
                for worker in range(WORKERS):
                    tasks.start_soon(work, doors, worker)

    assert acknowledged == wanted
    async with ScaleApi(KEY, base_url=site.api_url) as api:
        made = [task.unique_id async for task in api.tasks.iterate(TaskFilter())]
    assert sorted(made, key=str) == sorted(wanted)
    verified = json.loads(await site.operator.run("audit", "verify", "--json"))
    assert verified["holds"] is True
    found = await site.operator.run("audit", "search", "--user", "ada@example.com", "--json")
    assert json.loads(found)


@pytest.mark.parametrize("era", ["legacy", "2026-07-28"])
async def test_a_client_goes_on_with_another_replica(site: Site, era: str) -> None:
    first, second, _ = site.replicas
    async with connected(first.url, site.token, era) as client:
        assert not (await client.call_tool("list_projects", {})).is_error
    first.kill()
    await first.process.wait()
    async with connected(second.url, site.token, era) as client:
        assert not (await client.call_tool("list_projects", {})).is_error


async def test_many_callers_are_served_by_all_replicas_alike(site: Site) -> None:
    async with anyio.create_task_group() as tasks:
        for replica in site.replicas:
            tasks.start_soon(_ask_often, replica, site.token)


async def _ask_often(replica: Replica, token: str) -> None:
    async with many_callers(replica.url) as callers:
        for _ in range(10):
            assert not (await callers.call(token, "list_tasks", {"project": "notes"})).is_error

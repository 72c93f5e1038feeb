"""Master key and Scale's key are replaced from the command line while fifty personas call through two replicas."""

from __future__ import annotations

import base64
import json
from itertools import cycle

import anyio
import httpx2
import pytest

from scale_mcp.api import ScaleApi
from scale_mcp.cli.loopback import serving
from scale_mcp.hosting.audit.chain import OUTCOME
from scale_mcp.hosting.store import Database
from scale_mcp.models.tasks import TaskFilter
from scale_mcp.sandbox import Sandbox, SandboxOptions
from scale_mcp.sandbox.accounts import fingerprint
from tests.hosting.hosted import MASTER_KEYS, ManyCallers
from tests.hosting.processes import Operator, replicas

pytestmark = pytest.mark.anyio

PERSONAS = 50
KEY, NEXT_KEY = "live_0before0before0before0", "live_0before0before0before0+2"
NEW_MASTER_KEY = f"newer:{base64.urlsafe_b64encode(b'fedcba9876543210' * 2).decode()}"
TASK = {
    "project": "notes",
    "instruction": "Read it.",
    "attachments": [{"type": "text", "content": "words"}],
    "fields": [{"type": "text", "field_id": "f", "title": "T", "description": "D"}],
}
DECLARED = """
[[persona]]
name = "p{number}"
purpose = "calls"
scopes = ["*"]
[[persona.routes]]
connection = "main"
"""


async def test_no_call_fails_while_master_key_and_key_are_replaced(
    postgresql_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with Sandbox(SandboxOptions(clock="manual")) as sandbox, serving(sandbox.app) as address:
        both = {"SCALE_MCP_MASTER_KEYS": f"{MASTER_KEYS},{NEW_MASTER_KEY}"}
        operator = Operator(postgresql_url, f"{address}/v1", both)
        after = Operator(postgresql_url, f"{address}/v1", {"SCALE_MCP_MASTER_KEYS": f"{NEW_MASTER_KEY},{MASTER_KEYS}"})
        await operator.run("connection", "add", "main", "--kind", "sandbox", given=KEY)
        declaration = tmp_path_factory.mktemp("declared") / "personas.toml"
        declaration.write_text("".join(DECLARED.format(number=number) for number in range(PERSONAS)))
        await operator.run("apply", str(declaration))
        tokens = await issued(postgresql_url)
        async with ScaleApi(KEY, base_url=f"{address}/v1") as api:
            await api.projects.create("notes", "textcollection")

        failures: list[str] = []
        made, enough, over = 0, anyio.Event(), anyio.Event()

        async def call(doors: cycle[ManyCallers], token: str) -> None:
            nonlocal made
            while not over.is_set():
                for tool, arguments in (("list_tasks", {"project": "notes"}), ("create_text_collection_task", TASK)):
                    result = await next(doors).call(token, tool, arguments)
                    made += 1
                    if result.is_error:
                        failures.append(f"{tool}: {result}")
                    if made == 2 * PERSONAS:
                        enough.set()

        async with (
            replicas(operator, 2) as started,
            httpx2.AsyncClient(trust_env=False, timeout=60) as http,
        ):
            doors = [ManyCallers(replica.url, http) for replica in started]
            with anyio.fail_after(200):
                async with anyio.create_task_group() as tasks:
                    for number, token in enumerate(tokens):
                        tasks.start_soon(call, cycle(doors[number % 2 :] + doors[: number % 2]), token)
                    await enough.wait()
                    await after.run("vault", "rotate")
                    status = await after.run("vault", "status")
                    await after.run("connection", "rotate", "main", given=NEXT_KEY)
                    # Whoever comes now is served with the new key, at both replicas.
                    sandbox.log.clear()
                    for door in doors:
                        result = await door.call(tokens[0], "list_projects", {})
                        assert not result.is_error, result
                    listed = [
                        entry for entry in sandbox.log.entries(limit=10_000) if entry["operation"] == "list_projects"
                    ]
                    assert {entry["key"] for entry in listed} == {fingerprint(NEXT_KEY)}
                    over.set()
        assert failures == []
        assert "newer" in status

        # The old master key and the old key are needed by nobody any more.
        only = Operator(postgresql_url, f"{address}/v1", {"SCALE_MCP_MASTER_KEYS": NEW_MASTER_KEY})
        sandbox.faults.put([{"kind": "unauthorized", "key": KEY}])
        async with replicas(only, 1) as [last], httpx2.AsyncClient(trust_env=False, timeout=60) as http:
            result = await ManyCallers(last.url, http).call(tokens[0], "list_projects", {})
            assert not result.is_error, result
        verified = json.loads(await only.run("audit", "verify", "--json"))
        assert verified["holds"] is True
        async with ScaleApi(NEXT_KEY, base_url=f"{address}/v1") as api:
            tasks_there = [task async for task in api.tasks.iterate(TaskFilter())]
        async with Database.opened(postgresql_url) as database:
            assert await outcomes(database) == {"ok": made + 3}
        assert len(tasks_there) == made // 2


async def issued(url: str) -> list[str]:
    """A token for each persona; a command for each would take a minute."""
    from scale_mcp.hosting.audit.recorder import Recorder
    from scale_mcp.hosting.tokens import Tokens

    async with Database.opened(url) as database:
        recorder = Recorder(database)
        tokens = Tokens(database, recorder)
        secrets = []
        for number in range(PERSONAS):
            _, secret = await tokens.issue(f"p{number}", label="test", user="u", actor="test")
            secrets.append(secret.get_secret_value())
        await recorder.settled()
        return secrets


async def outcomes(database: Database) -> dict[str, int]:
    import sqlalchemy as sa

    from scale_mcp.hosting.audit.chain import audit_rows as rows

    query = sa.select(rows.c.outcome, sa.func.count()).where(rows.c.kind == OUTCOME).group_by(rows.c.outcome)
    async with database.reading() as connection:
        return {row[0]: row[1] for row in await connection.execute(query)}

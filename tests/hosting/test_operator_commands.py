"""``scale-mcp connection`` and ``scale-mcp vault`` as an operator types them, on both databases, as processes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from subprocess import CompletedProcess

import anyio
import pytest
import sqlalchemy as sa

import scale_mcp
from scale_mcp.cli.loopback import serving
from scale_mcp.hosting.store import Database
from scale_mcp.sandbox import Sandbox, SandboxOptions
from tests.hosting.vaults import CANARY, everything_in, leaks

pytestmark = pytest.mark.anyio
SECOND = f"{CANARY}+s3c0ndWp5Rt8"
CALLBACK = "c4llb4ckQz8Jx3Wf6"
TREE = str(Path(scale_mcp.__file__).parent.parent)


class Shell:
    """Runs commands and remembers all they said."""

    def __init__(self, **variables: str) -> None:
        self.variables = variables
        self.said: list[str] = []

    async def __call__(self, *arguments: str, given: str = "", **variables: str) -> CompletedProcess[bytes]:
        done = await anyio.run_process(
            [sys.executable, "-W", "error::ResourceWarning", "-m", "scale_mcp", *arguments],
            input=given.encode(),
            check=False,
            env={**os.environ, "PYTHONPATH": TREE, "COLUMNS": "120", **self.variables, **variables},
        )
        self.said.append(f"{done.stdout.decode()}\n{done.stderr.decode()}")
        return done

    async def good(self, *arguments: str, given: str = "", **variables: str) -> str:
        """What a command that succeeds writes to stdout."""
        done = await self(*arguments, given=given, **variables)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    async def bad(self, code: int, *arguments: str, given: str = "", **variables: str) -> str:
        """What a command that fails with this exit code says."""
        done = await self(*arguments, given=given, **variables)
        assert done.returncode == code, done.stderr.decode()
        assert b"Traceback" not in done.stderr
        return done.stderr.decode()


@pytest.fixture
async def shell(database_url: str, tmp_path: Path) -> AsyncIterator[Shell]:
    async with Sandbox(SandboxOptions(clock="manual")) as sandbox, serving(sandbox.app) as address:
        own = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}
        yield Shell(SCALE_MCP_STORE=database_url, SCALE_API_URL=f"{address}/v1", **own)


async def test_from_nothing_to_a_rotated_key_under_a_rotated_master_key(shell: Shell, database_url: str) -> None:
    first, second = [(await shell.good("vault", "new-key")).strip() for _ in range(2)]
    assert (await shell.bad(1, "connection", "add", "main", given=CANARY)).startswith("scale-mcp: There is no master")
    shell.variables["SCALE_MCP_MASTER_KEYS"] = first

    added = await shell.good("connection", "add", "main", "--kind", "sandbox", given=f"{CANARY}\n")
    await shell.good("connection", "callback-secret", "main", "--key-env", "CALLBACK", CALLBACK=CALLBACK)
    assert "Scale accepted it" in added
    (before,) = json.loads(await shell.good("connection", "list", "--json"))
    assert (before["name"], before["kind"], before["has_callback_secret"]) == ("main", "sandbox", True)
    assert before["keys"][0]["fingerprint"] in added

    await shell.good("connection", "rotate", "main", given=SECOND)
    (after,) = json.loads(await shell.good("connection", "list", "--json", "--all"))
    assert [(key["status"], key["last_status"]) for key in after["keys"]] == [("retired", "ok"), ("active", "ok")]

    shell.variables["SCALE_MCP_MASTER_KEYS"] = f"{second},{first}"
    rotated = await shell.good("vault", "rotate")
    assert rotated.startswith("3 secrets were sealed anew")
    status = json.loads(await shell.good("vault", "status", "--json"))
    assert [(key["current"], key["secrets"]) for key in status] == [(True, 3), (False, 0)]

    told = await shell.bad(1, "connection", "test", SCALE_MCP_MASTER_KEYS=first)
    assert f"3 of its secrets are sealed with the master key '{second.partition(':')[0]}'" in told
    shell.variables["SCALE_MCP_MASTER_KEYS"] = second
    assert json.loads(await shell.good("connection", "test", "--json"))[0]["status"] == "ok"
    await shell.good("connection", "remove", "main", "--yes")
    assert json.loads(await shell.good("connection", "list", "--json")) == []

    master_keys = [key.partition(":")[2] for key in (first, second)]
    printed = shell.said.pop(0), shell.said.pop(0)  # `vault new-key` prints a master key: that is what it is for
    assert first in printed[0]
    assert second in printed[1]
    assert leaks("".join(shell.said), CANARY, SECOND, CALLBACK, *master_keys) == []
    async with Database.opened(database_url) as database:
        assert leaks(await everything_in(database), CANARY, SECOND, CALLBACK, *master_keys) == []
        async with database.reading() as connection:
            rows = (await connection.execute(sa.text("SELECT kind, actor FROM audit_rows ORDER BY seq"))).all()
    assert [row.kind for row in rows] == [
        "connection.added",
        "connection.callback_secret_set",
        "connection.key_added",
        "connection.key_retired",
        "vault.rotated",
        "connection.removed",
    ]
    assert all(row.actor.startswith("cli:") for row in rows)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_scale_or_the_connection_refuses_is_said_with_an_exit_code_of_its_own(shell: Shell) -> None:
    shell.variables["SCALE_MCP_MASTER_KEYS"] = (await shell.good("vault", "new-key")).strip()

    assert "Scale refuses this key" in await shell.bad(4, "connection", "add", "main", given="c4n4ryWithoutMode")
    assert "could not be checked" in await shell.bad(
        3, "connection", "add", "main", given=CANARY, SCALE_API_URL="http://127.0.0.1:1/v1"
    )
    assert "characters that no key has" in await shell.bad(2, "connection", "add", "main", given="live_two words")
    assert "no connection 'main'" in await shell.bad(1, "connection", "rotate", "main", given=CANARY)
    await shell.good("connection", "add", "main", "--no-check", given="c4n4ryWithoutMode")
    assert (await shell("connection", "test")).returncode == 4
    assert leaks("".join(shell.said[1:]), CANARY, "c4n4ryWithoutMode") == []

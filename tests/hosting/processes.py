"""Hosted servers as an operator runs them: processes with settings from the environment, set up by the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import Process

from tests.hosting.hosted import MASTER_KEYS

PROGRAM = [sys.executable, "-m", "scale_mcp"]


@dataclass
class Operator:
    """Runs commands against one store."""

    store: str
    api_url: str
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("SCALE_")}
        own = {"SCALE_MCP_STORE": self.store, "SCALE_MCP_MASTER_KEYS": MASTER_KEYS, "SCALE_API_URL": self.api_url}
        return {**kept, **own, **self.environment}

    async def run(self, *arguments: str, given: str = "", expect: int = 0) -> str:
        """A command's standard output."""
        command = [*PROGRAM, *arguments]
        done = await anyio.run_process(command, input=given.encode(), env=self.variables, check=False)
        told = f"{done.stdout.decode()}{done.stderr.decode()}"
        assert done.returncode == expect, f"{' '.join(arguments)} ended with {done.returncode}: {told}"
        return done.stdout.decode()


@dataclass
class Replica:
    """One server process."""

    process: Process
    url: str
    log: list[dict[str, Any]]

    def kill(self) -> None:
        self.process.kill()


@asynccontextmanager
async def replicas(operator: Operator, count: int) -> AsyncIterator[list[Replica]]:
    """So many servers, started together and killed at the end."""
    variables = {key: value for key, value in operator.variables.items() if key != "SCALE_API_URL"}
    command = [*PROGRAM, "serve", "--transport", "http", "--hosted", "--port", "0"]
    started: list[Replica] = []
    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                process = await anyio.open_process(
                    command, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
                )
                started.append(Replica(process, "", []))
            for replica in started:
                up = anyio.Event()
                tasks.start_soon(_follow, replica, up)
                with anyio.fail_after(60):
                    await up.wait()
                assert replica.url, f"a replica did not start: {replica.log}"
            yield started
            for replica in started:
                _kill(replica.process)  # which ends its log, and with it whoever follows that
    finally:
        for replica in started:
            _kill(replica.process)
            await replica.process.aclose()


def _kill(process: Process) -> None:
    if process.returncode is None:
        process.kill()


async def _follow(replica: Replica, up: anyio.Event) -> None:
    """Read the log of a server to its end."""
    assert replica.process.stderr is not None
    rest = b""
    async for chunk in replica.process.stderr:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            try:
                told = json.loads(line)
            except ValueError:
                told = {"event": line.decode("utf-8", "replace")}
            replica.log.append(told)
            if told.get("event") == "listening":
                replica.url = told["mcp"].removesuffix("/mcp")
                up.set()
    up.set()

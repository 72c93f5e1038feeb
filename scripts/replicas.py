"""What docs/hosting.md sets up: three replicas on one PostgreSQL behind nginx. Needs the development tools, and nginx.

replicas.py          clients of both generations work through nginx while the replica that serves them is killed
replicas.py --stay   shows an address and a token, and goes on until Ctrl-C

The servers' data goes to scratch folders; everything that was started is ended in any case.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx2
from mcp import MCPError
from mcp.types import CallToolResult

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scale_mcp.api import ScaleApi  # noqa: E402
from scale_mcp.cli.loopback import serving  # noqa: E402
from scale_mcp.models.tasks import TaskFilter  # noqa: E402
from scale_mcp.sandbox import Sandbox, SandboxOptions  # noqa: E402
from tests.hosting.hosted import connected  # noqa: E402
from tests.hosting.postgresql import postgresql  # noqa: E402
from tests.hosting.processes import Operator, Replica, replicas  # noqa: E402

LONGEST = 300  # seconds for all of it
KEY = "live_of_three_replicas"
WORKERS, TASKS_EACH = 8, 12
TASK: dict[str, Any] = {
    "project": "notes",
    "instruction": "Read it.",
    "attachments": [{"type": "text", "content": "words"}],
    "fields": [{"type": "text", "field_id": "f", "title": "T", "description": "D"}],
}
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
GONE = (httpx2.HTTPError, MCPError)  # how a call ends whose replica dies, and a session that died with one


class Wrong(Exception):
    """Something is not as it should be. The text says what."""


@dataclass
class Site:
    """The proxy's address, the servers behind it, and their operator."""

    url: str
    operator: Operator
    replicas: list[Replica]


def configuration(given: str, port: int, servers: list[Replica], folder: Path) -> str:
    """deploy/nginx.conf with the ports of here. Who is not root also needs folders for what nginx keeps."""
    written, count = re.subn(r"listen 8000;", f"listen 127.0.0.1:{port};", given)
    assert count == 1, "deploy/nginx.conf does not listen on port 8000"
    for number, replica in enumerate(servers, 1):
        name = f"server scale-mcp-{number}:8000 "
        assert name in written, f"deploy/nginx.conf does not know scale-mcp-{number}"
        written = written.replace(name, f"server {replica.url.removeprefix('http://')} ")
    if os.geteuid() != 0:
        own = "\n  access_log off;" + "".join(f"\n  {name}_temp_path {folder}/{name};" for name in TEMPORARY)
        written = written.replace("\nhttp {", f"\nhttp {{{own}", 1)
    return written


@contextmanager
def nginx(servers: list[Replica]) -> Iterator[str]:
    """nginx in front of them. Gives its address."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise Wrong("nginx is not installed (Debian: apt-get install nginx-light)")
    folder = Path(tempfile.mkdtemp(prefix="proxy"))
    try:
        with socket.create_server(("127.0.0.1", 0)) as found:
            port = found.getsockname()[1]
        given = (ROOT / "deploy" / "nginx.conf").read_text(encoding="utf-8")
        path = folder / "nginx.conf"
        path.write_text(configuration(given, port, servers, folder), encoding="utf-8")
        command = [program, "-e", "stderr", "-p", str(folder), "-c", str(path)]
        command += ["-g", f"daemon off; pid {folder}/pid;"]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                _wait_for(process, port, folder / "log")
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            continue
    raise Wrong(f"nginx did not start:\n{log.read_text()}")


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    async with Sandbox(SandboxOptions(clock="manual")) as sandbox, serving(sandbox.app) as address:
        with postgresql() as database:
            say("PostgreSQL serves")
            operator = Operator(database.url, f"{address}/v1", {"SCALE_MCP_TRUSTED_HOPS": "1"})
            async with replicas(operator, 3) as servers:
                say(f"three replicas serve: {', '.join(replica.url for replica in servers)}")
                with nginx(servers) as url:
                    say(f"nginx serves: {url}")
                    await operator.run("connection", "add", "main", "--kind", "sandbox", given=KEY)
                    async with ScaleApi(KEY, base_url=operator.api_url) as api:
                        await api.projects.create("notes", "textcollection")
                    yield Site(url, operator, servers)


async def token_of(operator: Operator, persona: str) -> str:
    await operator.run("persona", "add", persona, "--scope", "*", "--route", "main")
    return (await operator.run("persona", "token", persona)).strip()


async def serving_process(operator: Operator, persona: str) -> int:
    """The id of the process that served this persona last, as the trail names it."""
    rows = json.loads(await operator.run("audit", "search", "--persona", persona, "--json"))
    last = max((row for row in rows if row["kind"] == "call.intent"), key=lambda row: int(row["seq"]))
    return int(last["replica"].rpartition(":")[2])


async def create(url: str, token: str, era: str, unique_id: str) -> CallToolResult:
    """As a careful client does it: the same call once more, on a new connection, when the old one is gone."""
    for _ in range(10):
        try:
            async with connected(url, token, era) as client:
                return await client.call_tool("create_text_collection_task", {**TASK, "unique_id": unique_id})
        except* GONE:
            pass
    raise Wrong(f"nobody answered {unique_id}")


async def kill_under_load(site: Site) -> None:
    """Workers create tasks through nginx; a third of the way on, the replica that serves one of them dies."""
    tokens = [await token_of(site.operator, f"worker-{number}") for number in range(WORKERS)]
    done: set[str] = set()
    a_third = anyio.Event()

    async def work(number: int) -> None:
        era = "2026-07-28" if number % 2 else "legacy"
        for task in range(TASKS_EACH):
            unique_id = f"{number}-{task}"
            result = await create(site.url, tokens[number], era, unique_id)
            error = (result.meta or {}).get("scale-mcp/error", {})
            if (
                result.is_error and error.get("code") != "conflict"
            ):  # a conflict: made, and its replica died before it said so
                raise Wrong(f"{unique_id} failed: {result}")
            done.add(unique_id)
            if len(done) > WORKERS * TASKS_EACH // 3:
                a_third.set()

    async def kill() -> None:
        await a_third.wait()
        victim = await serving_process(site.operator, "worker-0")
        next(replica for replica in site.replicas if replica.process.pid == victim).kill()
        say(f"replica {victim} was killed, {len(done)} tasks into the work")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(kill)
        for number in range(WORKERS):
            tasks.start_soon(work, number)

    async with ScaleApi(KEY, base_url=site.operator.api_url) as api:
        made = sorted([str(task.unique_id) async for task in api.tasks.iterate(TaskFilter())])
    if made != sorted(done):
        raise Wrong(f"{len(done)} tasks were asked for, {len(made)} were made")
    say(f"all {len(made)} tasks were made, each once")
    verified = json.loads(await site.operator.run("audit", "verify", "--json"))
    if not verified["holds"]:
        raise Wrong(f"the trail does not hold: {verified}")
    say(f"the trail holds; calls without an outcome: {verified['open_count']}")


async def go_on(site: Site) -> None:
    """One client of the newer generation stays connected while the replica that serves it is killed."""
    token = await token_of(site.operator, "ada")
    async with connected(site.url, token) as client:
        assert not (await client.call_tool("list_projects", {})).is_error
        victim = await serving_process(site.operator, "ada")
        replica = next(each for each in site.replicas if each.process.pid == victim)
        replica.kill()
        await replica.process.wait()
        for _ in range(5):
            try:
                assert not (await client.call_tool("list_projects", {})).is_error
                break
            except GONE:
                continue
        else:
            raise Wrong("the client did not get on with another replica")
    if await serving_process(site.operator, "ada") == victim:
        raise Wrong("the dead replica answered")
    say(f"replica {victim} was killed, and the same client goes on with another")


async def main(stay: bool) -> None:
    with anyio.fail_after(None if stay else LONGEST):
        async with site() as here:
            if stay:
                token = await token_of(here.operator, "ada")
                say(f"\n  {here.url}/mcp\n  Authorization: Bearer {token}\n\nCtrl-C ends it.")
                await anyio.sleep_forever()
            await kill_under_load(here)
            await go_on(here)
    say("all was ended")


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--stay"]):
        sys.exit(__doc__)
    try:
        anyio.run(main, sys.argv[1:] == ["--stay"])
    except* Wrong as problems:
        while isinstance(problem := problems.exceptions[0], ExceptionGroup):
            problems = problem
        sys.exit(f"FAILED: {problem}")
    except* KeyboardInterrupt:
        say("all was ended")

"""Does an installed hosted server work? Run with the Python of an environment that holds scale-mcp[hosted], in an empty
folder, as the user that will serve:

hosted_smoke.py HEALTHY    HEALTHY is deploy/healthy.py; the server is started as the image starts it
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import anyio
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

NAME = "tools.example.com"
PROGRAMS = Path(sys.executable).parent
VARIABLES = {
    "PATH": f"{PROGRAMS}:/usr/bin:/bin",
    "HOME": str(Path.cwd()),
    "SCALE_MCP_STORE": f"sqlite:///{Path.cwd() / 'hosted.db'}",
    "SCALE_MCP_ALLOWED_HOSTS": NAME,
}


def run(*arguments: str, given: str = "") -> str:
    done = subprocess.run(
        ["scale-mcp", *arguments], input=given, capture_output=True, text=True, timeout=120, check=False, env=VARIABLES
    )
    if done.returncode:
        sys.exit(f"scale-mcp {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    print(f"ok  scale-mcp {' '.join(arguments[:2])}")
    return done.stdout


@contextmanager
def started(*arguments: str) -> Iterator[str]:
    """A server of ours, told to end by SIGTERM afterwards, which it has to do in order. Gives its address."""
    command = ["scale-mcp", *arguments]
    with Path("log").open("a") as rest:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=rest, stderr=subprocess.PIPE, text=True, env=VARIABLES
        )
        assert process.stderr is not None
        try:
            yield _address(process.stderr)
            process.terminate()
            _, told = process.communicate(timeout=30)
            if process.returncode:
                sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{told}")
            print(f"ok  {' '.join(command[:2])} ended on SIGTERM")
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()


def _address(log: Iterator[str]) -> str:
    shown = []
    for line in log:
        shown.append(line)
        if '"listening"' in line:
            return str(json.loads(line)["mcp"]).removesuffix("/mcp")
        if line.startswith("Scale's API in a box: "):
            return line.split(": ", 1)[1].strip().removesuffix("/v1")
    sys.exit(f"it did not start:\n{''.join(shown)}")


async def session(url: str, token: str, era: str) -> int:
    """The list of tools and two calls, signed in. Returns the number of tools."""
    with anyio.fail_after(120):
        async with (
            create_mcp_http_client(headers={"Authorization": f"Bearer {token}"}) as http,
            Client(streamable_http_client(url, http_client=http), mode=era) as client,
        ):
            tools = (await client.list_tools()).tools
            created = await client.call_tool("create_project", {"name": f"smoke {era}", "type": "imageannotation"})
            listed = await client.call_tool("list_projects", {})
    if created.is_error or f"smoke {era}" not in json.dumps(listed.structured_content):
        sys.exit(f"a call failed: {created} {listed}")
    return len(tools)


def main(healthy: Path) -> None:
    spec = find_spec("scale_mcp")
    if spec is None or not str(spec.origin).startswith(sys.prefix):
        sys.exit(f"scale_mcp is not the installed one: {spec and spec.origin}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        sys.exit("this is for a user that is not root")
    with started("sandbox", "--port", "0") as sandbox:
        VARIABLES["SCALE_MCP_MASTER_KEYS"] = run("vault", "new-key").strip()
        where = ("--kind", "sandbox", "--api-url", f"{sandbox}/v1")
        run("connection", "add", "main", *where, given="live_smoke")
        run("persona", "add", "ada", "--scope", "*", "--route", "main")
        token = run("persona", "token", "ada").strip()
        with started("serve", "--transport", "http", "--hosted", "--host", "0.0.0.0", "--port", "0") as server:
            port = server.rpartition(":")[2]
            subprocess.run([sys.executable, str(healthy), port], check=True, timeout=30)
            print(f"ok  {healthy.name}")
            for era in ("legacy", "2026-07-28"):
                count = anyio.run(session, f"http://127.0.0.1:{port}/mcp", token, era)
                print(f"ok  a session as a persona ({era}), {count} tools")
        if (
            subprocess.run(
                [sys.executable, str(healthy), port], capture_output=True, timeout=30, check=False
            ).returncode
            == 0
        ):
            sys.exit("healthy.py does not notice that the server is gone")
    run("audit", "verify")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())

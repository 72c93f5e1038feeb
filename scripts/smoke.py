"""Does an installed scale-mcp work? Run with the Python of an environment that holds it, from a folder that does not.

smoke.py            the command line, a session of the official client over stdio on the sandbox, and the demo
smoke.py --bundle D the same session against an unpacked bundle, started as its manifest says (needs uv)
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters


def run(*arguments: str) -> str:
    done = subprocess.run(["scale-mcp", *arguments], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        sys.exit(f"scale-mcp {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    print(f"ok  scale-mcp {' '.join(arguments)}")
    return done.stdout


async def session(server: StdioServerParameters) -> int:
    """A handshake, the list of tools and two calls. Returns the number of tools."""
    with anyio.fail_after(180):
        async with Client(server) as client:
            tools = (await client.list_tools()).tools
            created = await client.call_tool("create_project", {"name": "smoke", "type": "imageannotation"})
            listed = await client.call_tool("list_projects", {})
    for result in (created, listed):
        if result.is_error or not result.structured_content:
            sys.exit(f"a call failed: {result}")
    if "smoke" not in json.dumps(listed.structured_content):
        sys.exit(f"the new project is not listed: {listed.structured_content}")
    return len(tools)


def installed() -> None:
    spec = find_spec("scale_mcp")
    if spec is None or not str(spec.origin).startswith(sysconfig.get_path("purelib")):
        sys.exit(f"scale_mcp is not the installed one: {spec and spec.origin}")
    run("--help")
    listed = json.loads(run("tools", "--json"))
    count = anyio.run(session, StdioServerParameters(command="scale-mcp", args=["serve", "--sandbox"]))
    print(f"ok  a session over stdio, {count} tools")
    if count != len(listed):
        sys.exit(f"`tools --json` lists {len(listed)} tools, the server {count}")
    run("demo", "--json")


def bundled(folder: Path) -> None:
    config: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["server"]["mcp_config"]
    command = shutil.which(config["command"]) or str(Path(sys.executable).parent / config["command"])
    arguments = [argument.replace("${__dirname}", str(folder)) for argument in config["args"]]
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    environment |= {"SCALE_MCP_SANDBOX": "true", "UV_PYTHON": sys.executable}
    # Installs, so that the session below waits for the server alone.
    subprocess.run([command, "sync", "--quiet", "--directory", str(folder)], check=True, env=environment)
    count = anyio.run(session, StdioServerParameters(command=command, args=arguments, env=environment))
    print(f"ok  a session with the bundle, {count} tools")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bundle"]:
        bundled(Path(sys.argv[2]).resolve())
    else:
        installed()

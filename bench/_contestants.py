"""The MCP servers that are compared: ours, and the same forty-six tools on what somebody would pick instead.

The Python peers get a module of typed functions, generated from our definitions as a person would write them by hand:
one function a tool, its parameters typed and described, nested objects as plain dictionaries. Their get_task sends the
same request with httpx2; nothing else of theirs is called.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from _common import KEY, Report
from _environments import FASTMCP, TYPESCRIPT, Unavailable, node_modules, ours, python_of, versions_of
from _servers import definitions, environment, peer

DOORS = {"stdio": "stdio", "mcp": "streamable-http", "sse": "sse"}
TYPES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}

HEADER = '''"""Generated: the tools as somebody would write them for a framework of typed functions."""

import os
from typing import Annotated, Any, Literal

import httpx2
from pydantic import Field

_client: httpx2.AsyncClient | None = None


async def _send(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    global _client
    if _client is None:
        _client = httpx2.AsyncClient(auth=(os.environ["SCALE_API_KEY"], ""))
    if tool != "get_task":
        raise RuntimeError("not part of the measurement")
    answer = await _client.get(f"{os.environ['SCALE_API_URL']}/task/{arguments['task_id']}")
    return answer.raise_for_status().json()
'''


@dataclass(frozen=True)
class Server:
    """A contestant: its command for a door (stdio, mcp, sse) and port, and the name of its get_task."""

    label: str
    command: Callable[[str, int], list[str]]
    env: dict[str, str]
    doors: tuple[str, ...] = ("stdio", "mcp", "sse")
    get_task: str = "get_task"


def typed_tools(tools: list[dict[str, Any]]) -> str:
    """The source of the peers' functions."""
    parts = [HEADER]
    for tool in tools:
        schema = tool["inputSchema"]
        required = set(schema.get("required", ()))
        parameters = sorted(schema["properties"].items(), key=lambda item: item[0] not in required)
        given = [
            f"    {name}: Annotated[{_type(part)}{'' if name in required else ' | None'}, "
            f"Field(description={part.get('description', '')!r})]{'' if name in required else ' = None'},\n"
            for name, part in parameters
        ]
        head = (
            f"async def {tool['name']}(\n{''.join(given)}) -> dict[str, Any]:"
            if given
            else f"async def {tool['name']}() -> dict[str, Any]:"
        )
        parts.append(f'{head}\n    return await _send("{tool["name"]}", locals())\n')
    names = [tool["name"] for tool in tools]
    parts.append(f"TOOLS = [{', '.join(names)}]\n")
    descriptions = {tool["name"]: tool["description"] for tool in tools}
    parts.append(f"DESCRIPTIONS = {descriptions!r}\n")
    return "\n\n".join(parts)


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return f"Literal[{', '.join(map(repr, schema['enum']))}]"
    kind = schema.get("type")
    if kind == "array":
        return f"list[{_type(schema.get('items', {}))}]"
    return "dict[str, Any]" if kind == "object" else TYPES.get(str(kind), "Any")


@contextmanager
def servers(address: str, report: Report, openapi: Any = None, result: Any = None) -> Iterator[list[Server]]:
    """Whoever can be had here, set up against the API at ``address`` (without ``/v1``); the rest is noted.

    ``openapi`` adds fastmcp's server from that document, ``result`` is what the floor answers to any call.
    """
    own = ours()
    tools = definitions(own)
    scale = {"SCALE_API_URL": f"{address}/v1", "SCALE_API_KEY": KEY}
    with TemporaryDirectory() as name:
        folder = Path(name)
        slim = [{key: tool[key] for key in ("name", "description", "inputSchema")} for tool in tools]
        (folder / "tools.json").write_text(json.dumps(slim))
        (folder / "list.json").write_text(json.dumps({"tools": tools}, ensure_ascii=False, separators=(",", ":")))
        (folder / "result.json").write_text(json.dumps(result or {"content": []}, separators=(",", ":")))
        (folder / "typed_tools.py").write_text(typed_tools(tools))
        env = environment(PYTHONPATH=name, **scale)
        found = [_ours("ours", own, environment(**scale))]
        try:
            found.append(_ours("ours with fast", ours("fast"), environment(**scale)))
        except Unavailable as reason:
            report.note(f"Ours with fast was not measured: {reason}.")
        found.append(
            Server("json floor", lambda door, port: [own, peer("json_floor.py"), name], environment(), ("stdio",))
        )
        found.append(
            Server("SDK's MCPServer", lambda door, port: [own, peer("mcpserver.py"), DOORS[door], str(port)], env)
        )
        try:
            fastmcp = python_of("fastmcp", *FASTMCP)
        except Unavailable as reason:
            report.note(f"fastmcp was not measured: {reason}.")
        else:
            report.machine["fastmcp"] = versions_of(fastmcp, "fastmcp").split()[1]
            found.append(
                Server("fastmcp", lambda door, port: [fastmcp, peer("fastmcp_server.py"), DOORS[door], str(port)], env)
            )
            if openapi is not None:
                document = folder / "openapi.json"
                document.write_text(json.dumps(openapi))
                found.append(
                    Server(
                        "fastmcp from OpenAPI",
                        lambda door, port: [fastmcp, peer("fastmcp_openapi.py"), DOORS[door], str(port)],
                        environment(PEER_OPENAPI=str(document), **scale),
                    )
                )
        try:
            modules = node_modules("typescript", *TYPESCRIPT)
        except Unavailable as reason:
            report.note(f"The TypeScript SDK was not measured: {reason}.")
        else:
            report.machine["TypeScript SDK"] = TYPESCRIPT[0].rpartition("@")[2]
            script = modules / "typescript_server.mjs"
            shutil.copy(peer("typescript_server.mjs"), script)
            found.append(
                Server(
                    "TypeScript SDK",
                    lambda door, port: ["node", str(script)],
                    environment(PEER_DEFINITIONS=str(folder / "tools.json"), **scale),
                    ("stdio",),
                )
            )
        yield found


def _ours(label: str, python: str, env: dict[str, str]) -> Server:
    """As ``scale-mcp install`` writes it into a host: the console script."""
    script = str(Path(python).with_name("scale-mcp"))

    def command(door: str, port: int) -> list[str]:
        http = [] if door == "stdio" else ["--transport", "http", "--port", str(port)]
        return [script, "serve", *http]

    return Server(label, command, env)

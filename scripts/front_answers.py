"""The bytes of the fast front, cut out of what the real server says on stdio.

Run by ``make generate``; see ``scale_mcp/front/answers.py`` for the form of the file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from typing import Any

from scale_mcp.tools.resources import TEMPLATES

Json = dict[str, Any]
ENVELOPE = "io.modelcontextprotocol/"
MODERN = {"_meta": {f"{ENVELOPE}protocolVersion": "2026-07-28", f"{ENVELOPE}clientCapabilities": {}}}
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "generator", "version": "1"}}
LISTS = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
# The command line without its front.
WITHOUT_FRONT = [sys.executable, "-c", "from scale_mcp.cli.app import app; app(prog_name='scale-mcp')", "serve"]


def said_on_stdio(arguments: list[str], requests: list[tuple[str, Json]]) -> list[Json]:
    """The results of a server's answers to ``requests``, sent one after the other."""
    with subprocess.Popen(
        [*WITHOUT_FRONT, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if not name.upper().startswith("SCALE_")},
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        results = []
        for number, (method, params) in enumerate(requests):
            request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            server.stdin.write(json.dumps(request).encode() + b"\n")
            server.stdin.flush()
            results.append(json.loads(server.stdout.readline())["result"])
        server.stdin.close()
    return results


def opening_answers(_old: str) -> str:
    """The file ``scale_mcp/front/opening.answers``."""
    hello, *legacy = said_on_stdio(["--sandbox"], [("initialize", HELLO), *((method, {}) for method in LISTS)])
    discover, *modern = said_on_stdio(
        ["--sandbox"], [("server/discover", MODERN), *((method, MODERN) for method in LISTS)]
    )

    made_with = " ".join(f"{name}-{version(name)}" for name in ("mcp", "scale_mcp"))
    lines = {"made with": made_with, "discover": compact(discover)}
    head, mark, tail = compact(hello).partition('"protocolVersion":"2025-11-25"')
    assert mark
    lines["initialize head"], lines["initialize tail"] = f'{head}"protocolVersion":"', f'"{tail}'
    for (method, key), old, new in zip(LISTS.items(), legacy, modern, strict=True):
        assert old[key] == new[key], f"{method} differs between the eras"
        lines[f"legacy head {method}"], lines["legacy tail"] = around(old, key)
        lines[f"modern head {method}"], new_tail = around(new, key)
        assert lines.setdefault("modern tail", new_tail) == new_tail, f"{method} ends differently"
    tools, prompts, _, templates = legacy
    for tool in tools["tools"]:
        lines[f"tool {tool['_meta']['scale-mcp/toolset']} {tool['_meta']['scale-mcp/risk']} {tool['name']}"] = compact(
            tool
        )
    lines |= finders(tools["tools"])
    lines |= {f"prompt {prompt['name']}": compact(prompt) for prompt in prompts["prompts"]}
    read_by = {template.name: template.read_by for template in TEMPLATES}
    for template in templates["resourceTemplates"]:
        lines[f"template {template['name']} {read_by[template['name']]}"] = compact(template)
    return "".join(f"{key}\t{value}\n" for key, value in lines.items())


def finders(tools: list[Json]) -> dict[str, str]:
    """What discovery mode offers in place of ``tools``, depending on how many there are, where, and how risky."""
    harmful = [tool["name"] for tool in tools if tool["annotations"]["destructiveHint"]]
    narrowed = {"read": ["--read-only"], "write": ["--exclude-tools", ",".join(harmful)], "destroy": []}
    lines = {}
    for worst, arguments in narrowed.items():
        _, found = said_on_stdio(["--sandbox", "--discovery", *arguments], [("initialize", HELLO), ("tools/list", {})])
        find, describe, run = (compact(tool) for tool in found["tools"])
        lines[f"run {worst}"] = run
    areas = ", ".join(dict.fromkeys(tool["_meta"]["scale-mcp/toolset"] for tool in tools))
    lines["find head"], mark, lines["find tail"] = find.partition(f"{len(tools)} ({areas})")
    assert mark
    return lines | {"describe": describe}


def around(result: Json, key: str) -> tuple[str, str]:
    """The JSON before and after the items of a list, which comes first so that all lists end alike."""
    head, mark, tail = compact({key: [], **{name: value for name, value in result.items() if name != key}}).partition(
        f'"{key}":[]'
    )
    assert mark
    return f'{head}"{key}":[', f"]{tail}"


def compact(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

"""The agent hosts we can write an entry for: where their file lies and what an entry looks like in it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Scope = Literal["user", "project"]
KEY, TOKEN = "SCALE_API_KEY", "SCALE_TOKEN"
PLACEHOLDER = "put-your-scale-api-key-here"  # serve refuses it by name, so a forgotten one is not sent to Scale
VSCODE_INPUT = {
    "type": "promptString",
    "id": "scale-api-key",
    "description": "Scale API key (test_… or live_…)",
    "password": True,
}
VSCODE_TOKEN = {
    "type": "promptString",
    "id": "scale-token",
    "description": "Your token for the Scale server (smcp_…)",
    "password": True,
}
LOCAL, REMOTE = ("command", "args", "env"), ("url", "headers")  # what an entry has, by where its server runs


@dataclass(frozen=True)
class Host:
    """One host. ``key`` is how its file can refer to the key without holding it."""

    name: str
    title: str
    section: str  # the object in the file that holds the servers
    user_file: Callable[[], Path]
    project_file: str | None  # relative to the project's folder; None: the host has no such file
    key: str
    typed: bool  # whether an entry carries "type": "stdio"
    inputs: tuple[dict[str, Any], ...]
    after: str  # what the person does next
    key_help: str  # where the key comes from when the file does not hold it
    reference: str  # how its file can refer to a variable with a token ({}); empty: it takes no server by its address

    def file(self, scope: Scope, folder: Path) -> Path | None:
        """The file to write; None when the host has none for this scope."""
        if scope == "user":
            return self.user_file()
        return folder / self.project_file if self.project_file else None


def application_folder(system: str | None = None, env: Mapping[str, str] | None = None) -> Path:
    """Where desktop applications keep their settings on this system."""
    system, env = system or sys.platform, os.environ if env is None else env
    if system == "darwin":
        return Path.home() / "Library" / "Application Support"
    if system == "win32":
        return Path(env.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    return Path(env.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _claude_code_file() -> Path:
    return Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home()) / ".claude.json"


HOSTS = {
    host.name: host
    for host in (
        Host(
            name="claude-desktop",
            title="Claude Desktop",
            section="mcpServers",
            user_file=lambda: application_folder() / "Claude" / "claude_desktop_config.json",
            project_file=None,
            key=PLACEHOLDER,
            typed=False,
            inputs=(),
            after="Quit Claude Desktop entirely and start it again.",
            key_help=f"put your key in place of {PLACEHOLDER}, or run this again with --with-key",
            reference="",
        ),
        Host(
            name="claude-code",
            title="Claude Code",
            section="mcpServers",
            user_file=_claude_code_file,
            project_file=".mcp.json",
            key=f"${{{KEY}:-}}",  # with a default: a variable that is missing makes Claude Code refuse the whole file
            typed=True,
            inputs=(),
            after="Start a new session; /mcp shows the server.",
            key_help=f"export {KEY} in the shell that starts Claude Code",
            reference="${{{}:-}}",
        ),
        Host(
            name="cursor",
            title="Cursor",
            section="mcpServers",
            user_file=lambda: Path.home() / ".cursor" / "mcp.json",
            project_file=".cursor/mcp.json",
            key=f"${{env:{KEY}}}",
            typed=True,
            inputs=(),
            after="Open Cursor's settings, MCP, and switch the server on.",
            key_help=f"have {KEY} in the environment that Cursor starts in",
            reference="${{env:{}}}",
        ),
        Host(
            name="vscode",
            title="VS Code",
            section="servers",
            user_file=lambda: application_folder() / "Code" / "User" / "mcp.json",
            project_file=".vscode/mcp.json",
            key=f"${{input:{VSCODE_INPUT['id']}}}",
            typed=True,
            inputs=(VSCODE_INPUT, VSCODE_TOKEN),
            after="Run “MCP: List Servers” and start it.",
            key_help="VS Code asks for it once, hidden, and keeps it in its secret store",
            reference=f"${{{{input:{VSCODE_TOKEN['id']}}}}}",
        ),
    )
}


def command() -> list[str]:
    """The command a host starts, with an absolute path: hosts have hardly any PATH.

    An environment that uvx built for one run is gone later, so there the entry goes through uvx itself.
    """
    uvx = shutil.which("uvx")
    if uvx and {"archive-v0", "builds-v0"} & set(Path(sys.prefix).parts):
        return [uvx, "scale-mcp"]
    script = Path(sys.executable).parent / ("scale-mcp.exe" if sys.platform == "win32" else "scale-mcp")
    if script.is_file():
        return [str(script)]
    return [sys.executable, "-m", "scale_mcp"]


def entry(host: Host, *, key: str | None, sandbox: bool, read_only: bool) -> dict[str, Any]:
    """The host's entry for this server. ``key`` is the key itself when the person wants it in the file."""
    program, *arguments = command()
    arguments += ["serve"] + ["--sandbox"] * sandbox + ["--read-only"] * read_only
    result: dict[str, Any] = {"type": "stdio"} if host.typed else {}
    result |= {"command": program, "args": arguments}
    if not sandbox:
        result["env"] = {KEY: key or host.key}
    return result


def remote_entry(host: Host, *, url: str, variable: str) -> dict[str, Any]:
    """The host's entry for a hosted server at ``url``, with a token that the host takes from ``variable``."""
    authorization = f"Bearer {host.reference.format(variable)}"
    return {"type": "http", "url": url, "headers": {"Authorization": authorization}}


def merge(host: Host, document: dict[str, Any], name: str, new: dict[str, Any]) -> dict[str, Any]:
    """The document with our entry in it and everything else as it was.

    Of an entry that is already there we replace the command and its arguments, or the address. Variables stay, and so
    does what somebody typed in, a key or a token for the same address: no reference or placeholder takes its place.
    """
    servers = dict(document.get(host.section) or {})
    old = servers.get(name)
    if isinstance(old, dict) and "url" in new:
        headers = old.get("headers") if old.get("url") == new["url"] else None
        kept = {key: value for key, value in old.items() if key not in LOCAL}
        new = {**kept, **new, "headers": {**new["headers"], **(headers if isinstance(headers, dict) else {})}}
    elif isinstance(old, dict):
        old = {key: value for key, value in old.items() if key not in REMOTE}
        before = old.get("env")
        variables: dict[str, Any] = before if isinstance(before, dict) else {}
        given = new.get("env", {})
        if given.get(KEY) == host.key and variables.get(KEY):
            given = {**given, KEY: variables[KEY]}
        new = {**old, **new, **({"env": {**variables, **given}} if variables or given else {})}
    servers[name] = new
    merged = {**document, host.section: servers}
    present = document.get("inputs") or []
    known = {item.get("id") for item in present if isinstance(item, dict)}
    values = " ".join(map(str, [*(new.get("env") or {}).values(), *(new.get("headers") or {}).values()]))
    asked = [item for item in host.inputs if f"${{input:{item['id']}}}" in values]
    if asked:
        merged["inputs"] = [*present, *(item for item in asked if item["id"] not in known)]
    return merged

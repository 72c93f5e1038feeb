"""``scale-mcp install``: the entry in an agent host's settings file."""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from scale_mcp.cli import hostfile
from scale_mcp.cli.command import ReadableCommand, new_app
from scale_mcp.cli.console import Exit, say, stop, write_json
from scale_mcp.cli.hosts import HOSTS, KEY, TOKEN, Host, Scope, entry, merge, remote_entry

app = new_app()


@app.command(cls=ReadableCommand)
def install(
    host: Annotated[
        Literal["claude-desktop", "claude-code", "cursor", "vscode"], typer.Argument(help="Whose entry to write.")
    ],
    *,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Work on the embedded sandbox; no key needed.")] = False,
    read_only: Annotated[bool, typer.Option("--read-only", help="Offer only tools that change nothing.")] = False,
    name: Annotated[str, typer.Option(help="What the host calls the server.")] = "scale",
    scope: Annotated[
        Scope, typer.Option(help="user: for all your projects. project: a file in this folder, to share.")
    ] = "user",
    with_key: Annotated[
        bool, typer.Option("--with-key", help=f"Write the key from {KEY} into the file, in plain text.")
    ] = False,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="A hosted server's address instead of a server on this machine.")
    ] = None,
    token_env: Annotated[
        str, typer.Option(metavar="VARIABLE", help="Where the host finds the token for --url (VS Code asks for it).")
    ] = TOKEN,
    print_only: Annotated[bool, typer.Option("--print", help="Show the entry; write nothing.")] = False,
) -> None:
    """Write this server's entry into an agent host's settings.

    Other entries and settings stay as they are, a dated copy of the old file is kept beside it, and the key is not
    written: the entry refers to it in the way the host offers. Run it again any time; it updates its own entry only.

    [bold]Examples[/bold]
      scale-mcp install claude-desktop --sandbox   try it without an account
      scale-mcp install claude-code --read-only    look, do not touch
      scale-mcp install vscode --scope project     write .vscode/mcp.json
      scale-mcp install cursor --print             show the entry only
      scale-mcp install cursor --url https://tools.example.com/mcp

    [bold]Exit codes[/bold]
      0  written, or already there
      1  the file could not be changed safely; it is as it was
      2  wrong usage
    """
    chosen = HOSTS[host]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", name):
        stop(Exit.USAGE, f"the name “{name}” would not work: up to 32 letters, digits, - and _.")
    path = chosen.file(scope, Path.cwd())
    if path is None:
        stop(Exit.USAGE, f"{chosen.title} has no settings per project; leave --scope out.")
    if url is not None:
        if sandbox or read_only or with_key:
            stop(
                Exit.USAGE,
                "a hosted server's own settings say what it works on; leave all but --url and --token-env out.",
            )
        new, key = _remote(chosen, url, token_env), None
    else:
        key = _key_to_write(scope, sandbox=sandbox) if with_key else None
        new = entry(chosen, key=key, sandbox=sandbox, read_only=read_only)
    if print_only:
        say(f"For {path}:")
        write_json(merge(chosen, {}, name, new))
        return
    _write(chosen, path, name, new)
    if url is not None:
        asks = "VS Code asks for it once, hidden, and keeps it in its secret store"
        where = asks if chosen.inputs else f"have it as {token_env} in the environment that {chosen.title} starts in"
        say(f"  The token (scale-mcp persona token NAME): {where}.\n  Next: {chosen.after}")
        return
    if scope == "project":
        say(f"  It starts {new['command']}: whoever else uses this file needs that path, too.")
    if key:
        say(f"  The key is in that file in plain text: whoever can read the file can use it.\n  Next: {chosen.after}")
    else:
        say(f"  Next: {chosen.after}" if sandbox else f"  The key: {chosen.key_help}.\n  Next: {chosen.after}")


def _remote(host: Host, url: str, variable: str) -> dict[str, object]:
    from urllib.parse import urlsplit

    from scale_mcp.setting_rules import is_loopback

    if not host.reference:
        stop(
            Exit.USAGE,
            f"{host.title}'s file takes no server by its address. Add it in its settings, under Connectors, which "
            "signs in at your authorization server.",
        )
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable) or variable.upper().startswith("SCALE_MCP_"):
        stop(Exit.USAGE, f"--token-env {variable!r}: name a variable, such as SCALE_TOKEN; SCALE_MCP_… are settings.")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        stop(Exit.USAGE, f"--url {url!r} is not an address. Write it like https://tools.example.com/mcp.")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        stop(Exit.USAGE, f"--url {url!r} is plain http, on which others could read the token. Use https.")
    address = url if parts.path.strip("/") else f"{url.rstrip('/')}/mcp"
    return remote_entry(host, url=address, variable=variable)


def _key_to_write(scope: Scope, *, sandbox: bool) -> str:
    if sandbox:
        stop(Exit.USAGE, "--sandbox needs no key; leave --with-key out.")
    if scope == "project":
        stop(Exit.USAGE, "a project's file is shared with others, so the key stays out of it; leave --with-key out.")
    key = os.environ.get(KEY, "").strip()
    if not key:
        stop(Exit.USAGE, f"--with-key writes the key from {KEY}, which is not set.")
    return key


def _write(host: Host, path: Path, name: str, new: dict[str, object]) -> None:
    try:
        document, text = hostfile.read(path, host.section)
        merged = merge(host, document, name, new)
        if merged == document:
            say(f"{host.title} already has this entry: “{name}” in {path}.")
            return
        backup = hostfile.write(path, merged, text, datetime.now())
    except hostfile.HostFileError as error:
        stop(Exit.FAILED, str(error))
    say(f"{host.title} now has “{name}”: {path}")
    if backup:
        say(f"  The file as it was: {backup}")

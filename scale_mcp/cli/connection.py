"""``scale-mcp connection``: Scale accounts of a hosted server, and their keys."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from scale_mcp.cli.command import ReadableCommand, new_group
from scale_mcp.cli.console import Exit, say, stdout_console, write, write_json
from scale_mcp.cli.hosted import (
    STORE,
    VAULT,
    TakesSecret,
    actor,
    carry_out,
    confirm,
    opened_connections,
    opened_store,
    read_secret,
)
from scale_mcp.cli.options import settings_from, takes_settings

if TYPE_CHECKING:
    from scale_mcp.hosting.connection_records import ConnectionRecord, KeyRecord

SANDBOX = "http://127.0.0.1:8787/v1"  # where `scale-mcp sandbox` listens unless told otherwise
OLD = 180  # days after which a key's age is pointed out
Name = Annotated[str, typer.Argument(help="Name or id of the connection.")]
KeyVariable = Annotated[
    str | None, typer.Option("--key-env", metavar="VARIABLE", help="Take it from this variable, not from stdin.")
]
NoCheck = Annotated[bool, typer.Option("--no-check", help="Store the key without asking Scale about it.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
app = new_group()


@app.callback()
def connection() -> None:
    """The Scale accounts of a hosted server. A connection is one account and mode, with one or more keys.

    Keys come from standard input, a prompt or a variable, never from an argument. They are sealed in the vault and
    shown as a fingerprint only. Servers that run take every change over by themselves.

    [bold]Examples[/bold]
      scale-mcp connection add main                        a new account; asks for its key
      scale-mcp connection add main < key.txt
      scale-mcp connection add main --key-env SCALE_API_KEY
      scale-mcp connection list
      scale-mcp connection rotate main < new-key.txt       the new key in, the old one out
      scale-mcp connection add-key main < second.txt       one more, to share the load
      scale-mcp connection callback-secret main < auth.txt

    [bold]Exit codes[/bold]
      0  done
      1  it cannot be done: no such connection, the vault stays closed, the database is away
      2  wrong usage: flags, settings, no key, something that is no key
      3  Scale could not be reached
      4  Scale refused the key
      5  not agreed to
    """


@app.command(cls=TakesSecret)
@takes_settings({"Where": ("api_url", *VAULT["Where"])})
def add(
    name: Annotated[str, typer.Argument(help="What routes and people call it: small letters, digits, - and _.")],
    *,
    kind: Annotated[
        Literal["live", "test", "sandbox"] | None,
        typer.Option(
            help=f"live and test follow from the key; sandbox is for one on this machine, at {SANDBOX} if no other "
            "address is given."
        ),
    ] = None,
    key_env: KeyVariable = None,
    no_check: NoCheck = False,
    **flags: Any,
) -> None:
    """Add a connection with its first key, after Scale has accepted the key."""
    settings = settings_from(flags)
    address = SANDBOX if kind == "sandbox" and "api_url" not in settings.model_fields_set else settings.api_url
    key = read_secret("Scale API key", key_env)

    async def work() -> ConnectionRecord:
        from scale_mcp.hosting.key_checks import KeyNotChecked

        async with opened_connections(settings) as connections:
            try:
                return await connections.add(name, key, base_url=address, kind=kind, check=not no_check, actor=actor())
            except KeyNotChecked as problem:
                if kind != "sandbox":
                    raise
                raise KeyNotChecked(
                    f"{problem} Is there a sandbox at {address}? `scale-mcp sandbox` starts one."
                ) from None

    record = carry_out(work)
    checked = "it is unchecked" if no_check else "Scale accepted it"
    write(
        f"Added {record.name} ({record.id}): {record.kind}, {record.base_url}.\n"
        f"Its key is shown as {record.keys[0].fingerprint}; {checked}."
    )
    if record.kind != "sandbox" and _on_this_machine(record.base_url):
        say(
            f"Mind: {record.base_url} is on this machine, and is taken for Scale, whose live work is paid. If it is a "
            f"sandbox: scale-mcp connection remove {record.name}, then add it with --kind sandbox."
        )


@app.command("list", cls=ReadableCommand)
@takes_settings(STORE)
def list_(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Removed connections and retired keys, too.")] = False,
    as_json: AsJson = False,
    **flags: Any,
) -> None:
    """List the connections and their keys. Needs no master key: nothing is opened."""
    settings = settings_from(flags)

    async def work() -> list[ConnectionRecord]:
        from scale_mcp.hosting.connection_records import read_records

        async with opened_store(settings) as database, database.reading() as transaction:
            return await read_records(transaction, include_removed=everything)

    records = carry_out(work)
    if as_json:
        write_json(
            [{**asdict(record), "keys": [asdict(key) for key in _keys(record, everything)]} for record in records]
        )
    elif records:
        _show(records, everything)
    else:
        say("There is no connection yet. `scale-mcp connection add NAME` adds one.")


@app.command("test", cls=ReadableCommand)
@takes_settings(VAULT)
def ask_scale(
    name: Annotated[str | None, typer.Argument(help="Name or id; all connections without it.")] = None,
    *,
    as_json: AsJson = False,
    **flags: Any,
) -> None:
    """Ask Scale about every key, with the smallest request there is."""
    settings = settings_from(flags)

    async def work() -> list[dict[str, Any]]:
        async with opened_connections(settings) as connections:
            records = [await connections.get(name)] if name else await connections.list()
            return [
                {"connection": record.name, "fingerprint": key.fingerprint, **_told(finding)}
                for record in records
                for key, finding in await connections.check(record.id)
            ]

    found = carry_out(work)
    if as_json:
        write_json(found)
    for row in [] if as_json else found:
        write(f"{row['connection']}  {row['fingerprint']}  {row['status']}  {row['words']}".rstrip())
    codes = {"refused": Exit.REFUSED, "failed": Exit.UNREACHABLE}
    raise typer.Exit(max((codes.get(row["status"], Exit.OK) for row in found), default=Exit.OK))


@app.command("add-key", cls=TakesSecret)
@takes_settings(VAULT)
def add_key(name: Name, *, key_env: KeyVariable = None, no_check: NoCheck = False, **flags: Any) -> None:
    """Add one more key of the same account, to be used beside those there are."""
    settings = settings_from(flags)
    key = read_secret("Scale API key", key_env)

    async def work() -> KeyRecord:
        async with opened_connections(settings) as connections:
            return await connections.add_key(name, key, check=not no_check, actor=actor())

    write(f"{name} has one more key, shown as {carry_out(work).fingerprint}.")


@app.command(cls=TakesSecret)
@takes_settings(VAULT)
def rotate(name: Name, *, key_env: KeyVariable = None, no_check: NoCheck = False, **flags: Any) -> None:
    """Put a new key in the place of all those there are. No call is lost: the new one is in before the old ones go."""
    settings = settings_from(flags)
    key = read_secret("Scale API key", key_env)

    async def work() -> tuple[KeyRecord, list[KeyRecord]]:
        async with opened_connections(settings) as connections:
            old = (await connections.get(name)).active_keys
            new = await connections.add_key(name, key, check=not no_check, actor=actor())
            return new, [await connections.retire_key(name, each.id, actor()) for each in old]

    new, old = carry_out(work)
    write(f"{name} uses the key {new.fingerprint} from now on.")
    say(
        f"Retired and wiped: {', '.join(key.fingerprint for key in old)}. Calls under way end with the old key; delete "
        "it on Scale's dashboard a few minutes from now."
    )


@app.command(cls=ReadableCommand)
@takes_settings(VAULT)
def retire(name: Name, key: Annotated[str, typer.Argument(help="Fingerprint or id of the key.")], **flags: Any) -> None:
    """Use one of several keys no more, and wipe it."""
    settings = settings_from(flags)

    async def work() -> KeyRecord:
        async with opened_connections(settings) as connections:
            return await connections.retire_key(name, key, actor())

    write(f"{name} does not use the key {carry_out(work).fingerprint} any more; it is wiped.")


@app.command(cls=ReadableCommand)
@takes_settings(VAULT)
def remove(
    name: Name, *, yes: Annotated[bool, typer.Option("--yes", help="Agree beforehand.")] = False, **flags: Any
) -> None:
    """End a connection and wipe its keys. What it did stays in the audit trail."""
    settings = settings_from(flags)
    confirm(f"Remove the connection {name} and wipe its keys?", yes)

    async def work() -> ConnectionRecord:
        async with opened_connections(settings) as connections:
            return await connections.remove(name, actor())

    write(f"{carry_out(work).name} is removed, and its keys are wiped.")


@app.command("callback-secret", cls=TakesSecret)
@takes_settings(VAULT)
def callback_secret(
    name: Name,
    *,
    key_env: KeyVariable = None,
    clear: Annotated[bool, typer.Option("--clear", help="Take no callbacks any more.")] = False,
    **flags: Any,
) -> None:
    """Keep what Scale's dashboard shows as the callback authentication key; callbacks that carry it are taken."""
    settings = settings_from(flags)
    secret = None if clear else read_secret("callback authentication key", key_env)

    async def work() -> ConnectionRecord:
        async with opened_connections(settings) as connections:
            await connections.set_callback_secret(name, secret, actor())
            return await connections.get(name)

    record = carry_out(work)
    if clear:
        write(f"{record.name} takes no callbacks any more.")
    else:
        write(f"{record.name} takes Scale's callbacks at /callbacks/{record.id}")


def _on_this_machine(address: str) -> bool:
    from urllib.parse import urlsplit

    from scale_mcp.settings import is_loopback

    return is_loopback(urlsplit(address).hostname or "")


def _told(finding: Any) -> dict[str, Any]:
    words = f"projects: {len(finding.projects)}" if finding.status == "ok" else finding.words
    return {"status": finding.status, "words": words}


def _keys(record: ConnectionRecord, everything: bool) -> tuple[KeyRecord, ...]:
    return record.keys if everything else record.active_keys


def _show(records: list[ConnectionRecord], everything: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("connection", "kind", "address", "key", "age", "last used", "status"):
        table.add_column(title, overflow="fold")
    for record in records:
        removed = " (removed)" if record.removed_at else ""
        first = [f"{record.name}{removed}", record.kind, record.base_url]
        for key in _keys(record, everything) or (None,):
            table.add_row(*(Text(part) for part in [*first, *_key_row(key)]))
            first = ["", "", ""]
    stdout_console().print(table)


def _key_row(key: KeyRecord | None) -> list[str]:
    from scale_mcp.hosting.clock import moment, utc_now

    if key is None:
        return ["none", "", "", ""]
    days = (utc_now() - moment(key.created_at)).days
    age = f"{days} days, rotate it" if days >= OLD and key.status == "active" else f"{days} days"
    used = key.last_used_at[:16].replace("T", " ") if key.last_used_at else "never"
    return [key.fingerprint, age, used, "retired" if key.status == "retired" else key.last_status]

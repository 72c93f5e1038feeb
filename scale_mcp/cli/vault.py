"""``scale-mcp vault``: the master keys that seal the secrets of a hosted server."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scale_mcp.cli.command import ReadableCommand, new_group
from scale_mcp.cli.console import Exit, say, stdout_console, stop, write, write_json
from scale_mcp.cli.hosted import VAULT, actor, carry_out, opened_store, opened_vault
from scale_mcp.cli.options import settings_from, takes_settings

if TYPE_CHECKING:
    from scale_mcp.hosting.vault import MasterKeyStatus

PLACES = ("master_key_file", "master_key_keyring")
app = new_group()


@app.callback()
def vault() -> None:
    """The vault keeps Scale's keys sealed in the database. What opens it is a master key, which is never in there.

    Master keys come from SCALE_MCP_MASTER_KEYS, a file (--master-key-file) or the keyring (--master-key-keyring);
    without any of them from the file master.keys in your configuration folder.
    The first one seals, all of them open. Keep a copy of them apart from the database's copies: without them the
    vault is lost, and with both anybody has your keys.

    [bold]Examples[/bold]
      scale-mcp vault new-key                                  print one
      scale-mcp vault new-key --save                           put one into your configuration folder
      scale-mcp vault new-key --save --master-key-file m.keys  put one into a file, first
      scale-mcp vault rotate                                   seal everything with the first one
      scale-mcp vault rotate --new-key --master-key-file m.keys
      scale-mcp vault status                                   which ones are needed

    [bold]Exit codes[/bold]
      0  done
      1  it cannot be done: a master key is missing or wrong, the database is away
      2  wrong usage
    """


@app.command("new-key", cls=ReadableCommand)
@takes_settings({"Where": PLACES})
def new_key(
    *,
    save: Annotated[
        bool, typer.Option("--save", help="Put it first in the file or keyring, and do not print it.")
    ] = False,
    **flags: Any,
) -> None:
    """Make a master key. It is printed, or with --save put where master keys are."""
    settings = settings_from(flags)

    async def work() -> str:
        from scale_mcp.hosting.master_key_places import place_of, put_first
        from scale_mcp.hosting.master_keys import new_master_key

        key = new_master_key()
        if not save:
            return key.written.get_secret_value()
        place = place_of(settings)
        put_first(place, key)
        return f"The master key {key.id} is now the first in {place.name}."

    write(carry_out(work))
    if not save:
        say("Put it into SCALE_MCP_MASTER_KEYS, before any older ones (id:key,id:key), and keep a copy apart.")


@app.command(cls=ReadableCommand)
@takes_settings(VAULT)
def rotate(
    *,
    with_new_key: Annotated[
        bool, typer.Option("--new-key", help="Make a master key first, and put it into the file or keyring.")
    ] = False,
    **flags: Any,
) -> None:
    """Seal everything with the current master key, the first one. Servers may run meanwhile.

    Each server must know the new master key before: from a file or the keyring they take it by themselves, with
    SCALE_MCP_MASTER_KEYS give it to all of them first, behind the old one. Afterwards `vault status` says which
    master keys nothing needs any more.
    """
    settings = settings_from(flags)

    async def work() -> tuple[int, str]:
        from scale_mcp.hosting.master_key_places import place_of, put_first
        from scale_mcp.hosting.master_keys import new_master_key

        async with opened_vault(settings) as (_, opened, recorder):
            if with_new_key:
                put_first(place_of(settings), new_master_key())
            count = await opened.rotate(actor(), recorder=recorder)
            return count, next(key.id for key in await opened.status() if key.current)

    count, current = carry_out(work)
    write(f"{count} secrets were sealed anew; all are sealed with {current} now.")


@app.command(cls=ReadableCommand)
@takes_settings(VAULT)
def status(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    **flags: Any,
) -> None:
    """Show which master keys there are, and how many secrets need each."""
    settings = settings_from(flags)

    async def work() -> list[MasterKeyStatus]:
        from scale_mcp.hosting.master_key_places import master_keys_of
        from scale_mcp.hosting.vault import status_of

        master_keys = master_keys_of(settings)
        async with opened_store(settings) as database:
            return await status_of(database, master_keys)

    found = carry_out(work)
    if as_json:
        write_json([asdict(key) for key in found])
    else:
        _show(found)
    if any(key.secrets and not key.known for key in found):
        raise typer.Exit(Exit.FAILED)


@app.command(cls=ReadableCommand)
@takes_settings(VAULT)
def forget(key: Annotated[str, typer.Argument(help="Name of the master key.")], **flags: Any) -> None:
    """Remove a master key that nothing needs any more from the file or keyring."""
    settings = settings_from(flags)

    async def work() -> str:
        from scale_mcp.hosting import master_key_places

        place = master_key_places.place_of(settings)
        async with opened_vault(settings) as (_, opened, _):
            found = next((each for each in await opened.status() if each.id == key and each.known), None)
            if found is None:
                stop(Exit.FAILED, f"there is no master key {key!r} in {place.name}.")
            if found.current or found.secrets:
                stop(
                    Exit.FAILED,
                    f"{key} is {'the current master key' if found.current else f'needed by {found.secrets} secrets'}. "
                    "Put another one first and run `scale-mcp vault rotate` before you remove it.",
                )
            master_key_places.forget(place, key)
        return place.name

    write(f"{key} is not in {carry_out(work)} any more.")


def _show(found: list[MasterKeyStatus]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("master key", "secrets", ""):
        table.add_column(title, overflow="fold")
    for key in found:
        table.add_row(Text(key.id), str(key.secrets), _meaning(key))
    stdout_console().print(table)


def _meaning(key: MasterKeyStatus) -> str:
    if key.current:
        return "current"
    if key.known:
        return "needed until the next rotate" if key.secrets else "not needed any more: remove it where it is kept"
    return "[red]missing: the vault cannot be opened without it[/red]" if key.secrets else "gone, and not needed"

"""``scale-mcp apply``: personas, claims, rates and webhooks from one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scale_mcp.cli.command import ReadableCommand, new_app
from scale_mcp.cli.console import say, write, write_json
from scale_mcp.cli.hosted import VAULT, actor, carry_out, opened_store, opened_vault
from scale_mcp.cli.options import settings_from, takes_settings

if TYPE_CHECKING:
    from scale_mcp.hosting.applying import Applied
    from scale_mcp.hosting.declaration import Declaration
    from scale_mcp.settings import Settings

app = new_app()


@app.command(cls=ReadableCommand)
@takes_settings(VAULT)
def apply(
    file: Annotated[Path, typer.Argument(help="The file, such as personas.toml.", show_default=False)],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove the personas and webhooks that the file does not declare.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    **flags: Any,
) -> None:
    """Make the hosted server's personas, claims, rates and webhooks what a file declares: all of it, or nothing.

    What the file declares it owns: a change made elsewhere lasts until the file is applied again. What it does not
    mention stays. Servers that run take every change over by themselves. Only a file with webhooks needs the master
    key, for their secrets.

    [bold]Examples[/bold]
      scale-mcp apply personas.toml --dry-run    look first
      scale-mcp apply personas.toml
      scale-mcp apply personas.toml --prune      and remove what is not in it

    [bold]Exit codes[/bold]
      0  applied, or nothing had to change
      1  it cannot be applied: something in the file is wrong, or the database is away
      2  wrong usage
    """
    settings = settings_from(flags)

    async def work() -> Applied:
        from scale_mcp.hosting.declaration import read_file

        return await _applied(settings, read_file(file), prune=prune, dry_run=dry_run)

    applied = carry_out(work)
    if as_json:
        from scale_mcp.hosting.applying import as_json as for_machines

        secrets = {name: secret.get_secret_value() for name, secret in applied.secrets.items()}
        write_json({**for_machines(applied), "dry_run": dry_run, **({"secrets": secrets} if secrets else {})})
    else:
        _show(applied, dry_run, prune)


async def _applied(settings: Settings, declared: Declaration, *, prune: bool, dry_run: bool) -> Applied:
    from scale_mcp.hosting.applying import apply as make_so
    from scale_mcp.hosting.audit.recorder import Recorder

    if declared.webhooks and not dry_run:
        async with opened_vault(settings) as (database, vault, recorder):
            return await make_so(declared, database, recorder, vault=vault, prune=prune, actor=actor())
    async with opened_store(settings) as database:
        return await make_so(declared, database, Recorder(database), prune=prune, dry_run=dry_run, actor=actor())


def _show(applied: Applied, dry_run: bool, prune: bool) -> None:
    from scale_mcp.hosting.applying import as_lines

    for line in as_lines(applied.differences):
        write(line)
    for name, secret in applied.secrets.items():
        say(f"The webhook {name} signs with this secret, which is not shown again:")
        write(secret.get_secret_value())
    for warning in applied.warnings:
        say(f"Mind: {warning}")
    if applied.left and not prune:
        say(f"Not in the file, and left as they are: {', '.join(applied.left)}. --prune removes them.")
    count = len(applied.differences)
    if not count:
        say("Nothing has to change." if dry_run else "Nothing had to change.")
    elif dry_run:
        say(f"{count} {'difference' if count == 1 else 'differences'}; nothing was changed (--dry-run).")
    else:
        say(f"Applied: {count} {'difference' if count == 1 else 'differences'}.")

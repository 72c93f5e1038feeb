"""``scale-mcp doctor``: is everything in order, and if not, what to do."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from scale_mcp.cli.command import ReadableCommand, new_app
from scale_mcp.cli.console import Exit, stdout_console, write_json
from scale_mcp.cli.hosted import VAULT
from scale_mcp.cli.options import settings_from, takes_settings

MARKS = {
    "ok": "[green]✓[/green]",
    "note": "[cyan]·[/cyan]",
    "warn": "[yellow]![/yellow]",
    "fail": "[red]✗[/red]",
    "skip": "[dim]-[/dim]",
}
app = new_app()


@app.command(cls=ReadableCommand)
@takes_settings(
    {
        "What to examine": ("api_url", "sandbox"),
        "Which tools": ("toolsets", "read_only"),
        "A hosted server": ("hosted", *VAULT["Where"], "host", "port", "allowed_hosts", "public_url"),
    }
)
def doctor(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    **flags: Any,
) -> None:
    """Check settings, key, network and server, and explain what is wrong.

    It reads the same variables as the server. The key itself is never shown; it is sent once, to the address that
    the settings name, in the smallest request there is. Nothing is changed.

    With --hosted it looks at a server for many callers: settings, database (whose tables are brought up to date),
    master key, every key of every connection, and personas that could not do anything.

    [bold]Examples[/bold]
      scale-mcp doctor
      scale-mcp doctor --sandbox      only what needs no account
      scale-mcp doctor --hosted       a server for many callers
      scale-mcp doctor --json         to attach to a question

    [bold]Exit codes[/bold]
      0  all in order; remarks may be there
      1  a check failed
      2  the settings cannot be used, or there is no key
      3  the address could not be reached
      4  the key was refused
    """
    import anyio

    from scale_mcp.cli.checks import Check, examine, exit_code, report

    settings = settings_from(flags)
    if settings.hosted:
        from scale_mcp.cli.hosted_checks import examine_hosted as examine
    console = stdout_console()
    checks: list[Check] = []

    async def run() -> None:
        async for check in examine(settings):
            checks.append(check)
            if not as_json:
                show(check)

    def show(check: Check) -> None:
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        row = Table.grid(padding=(0, 1))
        row.add_column(width=1)
        row.add_column(width=9)
        row.add_column(overflow="fold")
        row.add_row(MARKS[check.status], f"[bold]{check.name}[/bold]", Text(check.detail))
        console.print(row)
        if check.cure:
            console.print(Padding(Text(check.cure), (0, 0, 0, 13)))

    anyio.run(run)
    code = exit_code(checks)
    if as_json:
        write_json(report(checks))
    else:
        failed = sum(check.status == "fail" for check in checks)
        console.print("\n[green]All in order.[/green]" if not failed else f"\n[red]{failed} to mend.[/red]")
    raise typer.Exit(code if code else Exit.OK)

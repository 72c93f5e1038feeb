"""``scale-mcp tools``: what a server offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from scale_mcp.cli.command import ReadableCommand, new_app
from scale_mcp.cli.console import Exit, stdout_console, stop, write, write_json
from scale_mcp.cli.options import settings_from, takes_settings

if TYPE_CHECKING:
    from scale_mcp.tools.card import Card

COLOURS = {"read": "green", "write": "blue", "spend": "yellow", "destroy": "red"}
app = new_app()


@app.command(cls=ReadableCommand)
@takes_settings({"Which tools": ("toolsets", "tools", "exclude_tools", "read_only")})
def tools(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Full definitions, with schemas.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="A table for a README.")] = False,
    toolset: Annotated[list[str] | None, typer.Option(metavar="A,B,…", help="The same as --toolsets.")] = None,
    **flags: Any,
) -> None:
    """List the tools that a server with these settings offers. No key and no network are needed.

    [bold]Examples[/bold]
      scale-mcp tools
      scale-mcp tools --toolset studio,quality
      scale-mcp tools --read-only --markdown
      scale-mcp tools --json | jq '.\\[] | select(.name == "get_task")'

    [bold]Exit codes[/bold]
      0  listed
      2  wrong usage
    """
    if as_json and as_markdown:
        stop(Exit.USAGE, "choose one of --json and --markdown.")
    from scale_mcp.cli.definitions import offered
    from scale_mcp.settings import SettingsError

    settings = settings_from({**flags, "toolsets": [*(flags["toolsets"] or []), *(toolset or [])]})
    try:
        cards = offered(settings)
    except SettingsError as error:
        stop(Exit.USAGE, str(error))
    if as_json:
        from scale_mcp.server.definitions import as_json as definition

        write_json([definition(card) for card in cards])
    elif as_markdown:
        write(_markdown(cards))
    else:
        _show(cards)


def _by_toolset(cards: list[Card]) -> dict[str, list[Card]]:
    groups: dict[str, list[Card]] = {}
    for card in cards:
        groups.setdefault(card.toolset, []).append(card)
    return groups


def _markdown(cards: list[Card]) -> str:
    rows = ["| tool | what it does | risk |", "| --- | --- | --- |"]
    for toolset, group in _by_toolset(cards).items():
        rows.append(f"| **{toolset}** | | |")
        for card in group:
            summary = card.summary.replace("|", "\\|")
            rows.append(f"| `{card.name}` | {summary} | {card.risk} |")
    return "\n".join(rows)


def _show(cards: list[Card]) -> None:
    from rich.table import Table
    from rich.text import Text

    from scale_mcp.cli.definitions import tokens
    from scale_mcp.tools.card import RISKS

    console = stdout_console()
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for number, (toolset, group) in enumerate(_by_toolset(cards).items()):
        if number:
            table.add_row()
        table.add_row(Text(toolset, style="bold"))
        for card in group:
            table.add_row(Text(f"  {card.name}"), Text(card.risk, style=COLOURS[card.risk]), card.summary)
    console.print(table)
    console.print()
    for risk, meaning in RISKS.items():
        if any(card.risk == risk for card in cards):
            console.print(f"  [{COLOURS[risk]}]{risk:8}[/] {meaning}")
    console.print(f"\n{len(cards)} tools, about {tokens(cards):,} tokens of definitions in an agent's context.")

"""``scale-mcp`` itself: the list of commands, and the group that loads a command's module when it runs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from typer._click import Command, Context


class Entry(NamedTuple):
    """A line of ``scale-mcp --help``. The command is ``app`` in ``scale_mcp.cli.<name>``, or in the module named."""

    help: str
    panel: str
    module: str = ""


COMMANDS: dict[str, Entry] = {
    "demo": Entry("Watch an agent's client take real pictures through a whole labelling life cycle.", "Try it"),
    "sandbox": Entry("Run Scale's API in a box, over HTTP.", "Try it"),
    "serve": Entry("Run the MCP server: what a host starts.", "Use it"),
    "install": Entry("Write the entry for Claude Desktop, Claude Code, Cursor or VS Code.", "Use it"),
    "connection": Entry("Scale accounts and their keys.", "Serve many"),
    "persona": Entry("Who may call, what they may use, their tokens.", "Serve many"),
    "apply": Entry("Personas and more from one file.", "Serve many"),
    "webhook": Entry("Your own addresses that get what happens at Scale.", "Serve many"),
    "events": Entry("What happened at Scale.", "Serve many"),
    "vault": Entry("Master keys: make, rotate, look.", "Serve many"),
    "approvals": Entry("Calls that wait for a person.", "Serve many"),
    "approve": Entry("Let one of them through.", "Serve many"),
    "deny": Entry("Refuse one of them.", "Serve many"),
    "console": Entry("Who may open the operator's page.", "Serve many", module="console_tokens"),
    "audit": Entry("Who did what: follow, search, export, verify, prune.", "Serve many"),
    "tools": Entry("List the tools and what they need.", "Look inside"),
    "call": Entry("Call one tool from a shell.", "Look inside"),
    "doctor": Entry("Check key, network and settings, and explain what is wrong.", "Look inside"),
}

EPILOG = """\
[bold]No account yet?[/bold]
  scale-mcp demo                               the whole life cycle, offline
  scale-mcp install claude-desktop --sandbox   give an agent a pretend Scale

[bold]With an account[/bold] (keys: https://dashboard.scale.com/settings/apikey)
  export SCALE_API_KEY=test_...
  scale-mcp doctor
  scale-mcp install claude-code
"""


class LazyGroup(TyperGroup):
    """Knows its commands by name and one line of help; imports the module of the one that runs."""

    def __init__(self, **attributes: Any) -> None:
        attributes["commands"] = {
            name: TyperCommand(name, help=entry.help, short_help=entry.help, rich_help_panel=entry.panel)
            for name, entry in COMMANDS.items()
        }
        super().__init__(**attributes)

    def list_commands(self, ctx: Context) -> list[str]:
        return list(COMMANDS)

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            loaded = import_module(f"scale_mcp.cli.{COMMANDS[name].module or name}").app
            command = typer.main.get_command(loaded)
            command.name = name
        return name, command, rest


def _show_version(wanted: bool) -> None:
    if wanted:
        from scale_mcp.version import version

        typer.echo(f"scale-mcp {version()}")
        raise typer.Exit


app = typer.Typer(
    cls=LazyGroup,
    add_completion=True,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,  # a pretty traceback prints local variables, the key among them
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and leave.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Scale AI's data-annotation API as typed MCP tools, with a sandbox of that API inside."""

"""``scale-mcp call``: one tool, from a shell, through the same server that agents use."""

from __future__ import annotations

import difflib
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from scale_mcp.cli.command import ReadableCommand, new_app
from scale_mcp.cli.connecting import NoKey, NoSandbox, check_key, connect
from scale_mcp.cli.console import Exit, say, stop, write, write_json
from scale_mcp.cli.options import settings_from, takes_settings

if TYPE_CHECKING:
    from mcp.types import CallToolResult

    from scale_mcp.settings import Settings

# What the server says went wrong (``_meta`` of the result), as an exit code; everything else is Exit.FAILED.
CODES = {
    "invalid_arguments": Exit.USAGE,
    "refused_before_sending": Exit.USAGE,
    "connection_failed": Exit.UNREACHABLE,
    "unauthorized": Exit.REFUSED,
    "forbidden": Exit.REFUSED,
    "no_consent": Exit.DECLINED,
}
FENCE = re.compile(r"<scale-data (\w+)>\n(.*)\n</scale-data \1>", re.DOTALL)
app = new_app()


@app.command(cls=ReadableCommand)
@takes_settings(
    {
        "What it talks to": ("api_url", "sandbox", "sandbox_db", "sandbox_clock"),
        "Policy": ("read_only", "confirm", "confirm_risk", "upload_root", "download_root", "call_timeout"),
    }
)
def call(
    tool: Annotated[str, typer.Argument(help="Name of the tool; `scale-mcp tools` lists them.")],
    *,
    arguments: Annotated[
        str, typer.Option("--json", metavar="JSON", help="Arguments: an object, @FILE, or - for stdin.")
    ] = "{}",
    output: Annotated[
        Literal["text", "json"], typer.Option(help="What to print: the text an agent reads, or the structured result.")
    ] = "text",
    yes: Annotated[bool, typer.Option("--yes", help="Agree beforehand to what would be asked on a live key.")] = False,
    **flags: Any,
) -> None:
    """Call one tool from a shell. Arguments, checks, consent and results are exactly an agent's.

    With a live key, calls that cannot be undone are put to you first; without a terminal they are refused unless
    --yes is there. With --sandbox and no --sandbox-db every call meets an empty, new sandbox.

    [bold]Examples[/bold]
      scale-mcp call list_projects
      scale-mcp call get_task --json '{"task_id": "…"}' --output json
      scale-mcp call create_project --json @project.json
      scale-mcp call list_projects --sandbox --sandbox-db box.db

    [bold]Exit codes[/bold]
      0  the tool answered
      1  the tool, or Scale, answered with an error
      2  wrong usage: tool, arguments, flags, settings, no key; nothing was sent
      3  Scale could not be reached
      4  the key was refused, or may not do this
      5  not agreed to
    """
    values = _read_arguments(arguments)
    settings = settings_from(flags)
    try:
        check_key(settings)
    except NoKey as error:
        stop(Exit.USAGE, str(error))
    _check_name(tool, settings)

    import anyio

    try:
        result = anyio.run(_call, tool, values, settings, yes)
    except NoSandbox as error:
        stop(Exit.FAILED, str(error))
    raise typer.Exit(_show(result, output))


def _read_arguments(given: str) -> dict[str, Any]:
    try:
        if given == "-":
            given = sys.stdin.read()
        elif given.startswith("@"):
            given = Path(given[1:]).read_text(encoding="utf-8")
        value = json.loads(given)
    except (OSError, UnicodeDecodeError) as error:
        stop(Exit.USAGE, f"--json: {error}.")
    except ValueError as error:
        stop(Exit.USAGE, f"--json is not valid JSON ({error}). In a shell, put it in single quotes.")
    if not isinstance(value, dict):
        stop(Exit.USAGE, '--json takes an object, e.g. \'{"task_id": "…"}\'.')
    return value


def _check_name(tool: str, settings: Settings) -> None:
    """Refuse an unknown tool before anything is opened, with what was probably meant."""
    from scale_mcp.cli.definitions import offered
    from scale_mcp.settings import SettingsError

    try:
        names = [card.name for card in offered(settings)]
    except SettingsError as error:
        stop(Exit.USAGE, str(error))
    if tool in names:
        return
    closest = difflib.get_close_matches(tool, names, n=3)
    cure = f"Did you mean {' or '.join(closest)}?" if closest else "`scale-mcp tools` lists them."
    hidden = " with these settings (read-only, say)" if settings.read_only else ""
    stop(Exit.USAGE, f"there is no tool {tool!r}{hidden}. {cure}")


async def _call(tool: str, arguments: dict[str, Any], settings: Settings, agreed: bool) -> CallToolResult:
    """The call, by the official client against our server, both in this process."""
    from scale_mcp.server.logs import configure_logging

    level = settings.log_level if "log_level" in settings.model_fields_set else "error"
    secrets = [settings.api_key.get_secret_value()] if settings.api_key else []
    configure_logging(level, settings.log_format, secrets)

    from mcp import Client, MCPError
    from mcp.types import CallToolResult, ElicitRequestParams, ElicitResult, TextContent

    from scale_mcp.server.build import build_server

    async def ask(context: Any, params: ElicitRequestParams) -> ElicitResult:
        if agreed or (sys.stdin.isatty() and typer.confirm(params.message, err=True)):
            return ElicitResult(action="accept", content={"confirm": True})
        if not sys.stdin.isatty():
            say(f"{params.message}\nThere is no terminal to ask on. Add --yes to agree beforehand.")
        return ElicitResult(action="decline")

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        if sys.stderr.isatty():
            say(f"  {f'{progress:g} of {total:g} ' if total else ''}{message or ''}")

    async with connect(settings) as connection:
        # Discovery would hide the tool behind run_tool; the caller has found it already.
        server = build_server(connection, settings.model_copy(update={"discovery": False}))
        async with Client(server, elicitation_callback=ask) as client:
            try:
                return await client.call_tool(tool, arguments, progress_callback=progress)
            except MCPError as error:
                return CallToolResult(content=[TextContent(type="text", text=error.message)], is_error=True)


def _show(result: CallToolResult, output: str) -> Exit:
    text = "\n".join(block.text for block in result.content if block.type == "text")
    if result.is_error:
        error = (result.meta or {}).get("scale-mcp/error", {})
        if output == "json":
            write_json({"error": {**error, "message": text}})
        else:
            say(text)
        return CODES.get(error.get("code", ""), Exit.FAILED)
    if output == "json":
        write_json(result.structured_content)
    else:
        # The marks tell a model where foreign text begins and ends; a person reading a terminal needs none.
        write(FENCE.sub(r"\2", text))
    return Exit.OK

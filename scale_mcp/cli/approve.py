"""``scale-mcp approvals``, ``approve`` and ``deny``: the calls that wait for a person."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from scale_mcp.cli.command import ReadableCommand, new_app
from scale_mcp.cli.console import Exit, say, stdout_console, stop, write, write_json
from scale_mcp.cli.hosted import STORE, actor, carry_out, opened_store
from scale_mcp.cli.options import settings_from, takes_settings
from scale_mcp.text import one_line

if TYPE_CHECKING:
    from scale_mcp.hosting.approvals import Approval

Id = Annotated[str, typer.Argument(metavar="ID", help="As `scale-mcp approvals` lists it.")]
app = new_app()
deny_app = new_app()
approvals_app = new_app()


@app.command(cls=ReadableCommand)
@takes_settings(STORE)
def approve(approval: Id, **flags: Any) -> None:
    """Let a call through that waits for a person. It may be made once, by this persona, with exactly these arguments,
    within an hour; the agent has to repeat it.

    [bold]Examples[/bold]
      scale-mcp approvals
      scale-mcp approve app_mfzwizltoq2gk3tu

    [bold]Exit codes[/bold]
      0  approved
      1  there is no such approval, it is decided already, or the database is away
      2  wrong usage
    """
    decided = _decide(approval, "approved", flags)
    write(f"Approved until {_time(decided.expires_at)}: {_call(decided)}.")


@deny_app.command(cls=ReadableCommand)
@takes_settings(STORE)
def deny(approval: Id, **flags: Any) -> None:
    """Refuse a call that waits for a person, or take back an approval that was not used yet. It holds for an hour.

    [bold]Examples[/bold]
      scale-mcp deny app_mfzwizltoq2gk3tu

    [bold]Exit codes[/bold]
      0  denied
      1  there is no such approval, it is decided already, or the database is away
      2  wrong usage
    """
    decided = _decide(approval, "denied", flags)
    write(f"Denied until {_time(decided.expires_at)}: {_call(decided)}.")


@approvals_app.command(cls=ReadableCommand)
@takes_settings(STORE)
def approvals(
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Decided, used and expired ones, too; newest first.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines, with whole arguments.")] = False,
    **flags: Any,
) -> None:
    """List the calls that wait for a person's yes or no, oldest first.

    [bold]Examples[/bold]
      scale-mcp approvals
      scale-mcp approvals --all --json

    [bold]Exit codes[/bold]
      0  listed
      1  the database is away
      2  wrong usage
    """
    settings = settings_from(flags)

    async def work() -> list[Approval]:
        from scale_mcp.hosting.approvals import Approvals
        from scale_mcp.hosting.audit.recorder import Recorder

        async with opened_store(settings) as database:
            return await Approvals(database, Recorder(database)).list(closed=everything)

    found = carry_out(work)
    if as_json:
        write_json([asdict(approval) for approval in found])
    elif found:
        _show(found)
    else:
        say("Nothing waits for a person.")


def _decide(approval_id: str, state: Literal["approved", "denied"], flags: dict[str, Any]) -> Approval:
    settings = settings_from(flags)

    async def work() -> Approval:
        from scale_mcp.hosting.approvals import Approvals
        from scale_mcp.hosting.audit.recorder import Recorder

        async with opened_store(settings) as database:
            waiting = Approvals(database, Recorder(database))
            decide = waiting.approve if state == "approved" else waiting.deny
            return await decide(approval_id, by=actor())

    if not approval_id.startswith("app_"):
        stop(Exit.USAGE, f"{one_line(approval_id, 60)!r} is no approval's id; `scale-mcp approvals` lists them.")
    return carry_out(work)


def _show(found: list[Approval]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("approval", "state", "asked", "persona", "call", "why"):
        table.add_column(title, overflow="fold", no_wrap=title == "approval")
    for approval in found:
        who = f"{approval.persona} ({approval.user})" if approval.user else approval.persona
        cells = (approval.id, approval.state, _time(approval.created_at), who, _call(approval), approval.why)
        table.add_row(*(Text(one_line(cell, 400)) for cell in cells))
    stdout_console().print(table)


def _call(approval: Approval) -> str:
    import json

    return one_line(f"{approval.tool} {json.dumps(approval.arguments, ensure_ascii=False)}", 400)


def _time(stamped: str) -> str:
    return f"{stamped[:16].replace('T', ' ')} UTC"

"""``scale-mcp events``: what happened at Scale, as the hosted server has noted it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scale_mcp.cli.command import ReadableCommand, new_app
from scale_mcp.cli.console import Exit, say, stop, write
from scale_mcp.cli.hosted import STORE, carry_out, opened_store
from scale_mcp.cli.options import settings_from, takes_settings

if TYPE_CHECKING:
    from scale_mcp.hosting.store import Database
    from scale_mcp.settings import Settings
    from scale_mcp.tools.feed import Event, EventFilter

BETWEEN_LOOKS = 1.0  # seconds, with --follow
AT_ONCE = 200
app = new_app()


@app.command(cls=ReadableCommand)
@takes_settings(STORE)
def events(
    *,
    limit: Annotated[
        int, typer.Option("--limit", "-n", help="How many of the newest to show.", min=0, max=10_000)
    ] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    kind: Annotated[list[str] | None, typer.Option(help="Only of this kind; may be repeated.")] = None,
    connection: Annotated[str | None, typer.Option(help="Only of this connection, by name or id.")] = None,
    project: Annotated[str | None, typer.Option(help="Only of this project.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: an object a line.")] = False,
    **flags: Any,
) -> None:
    """Show what happened at Scale, the newest last: what callbacks told and polls found, of all connections.

    [bold]Examples[/bold]
      scale-mcp events -n 50
      scale-mcp events -f --kind error
      scale-mcp events --json --project streets

    [bold]Exit codes[/bold]
      0  done
      1  the database cannot be used
      2  wrong usage
    """
    from typing import get_args

    from scale_mcp.tools.feed import EventFilter, EventKind

    known = get_args(EventKind)
    if unknown := [each for each in kind or () if each not in known]:
        stop(Exit.USAGE, f"there are no events of the kind {unknown[0]!r}; there are {', '.join(known)}.")
    settings = settings_from(flags)
    wanted = EventFilter(tuple(each for each in known if each in (kind or ())), project)
    shown = _as_line if as_json else _in_words

    async def work() -> int:
        return await _show(settings, wanted, connection, limit, follow, shown)

    try:
        count = carry_out(work)
    except KeyboardInterrupt:
        raise typer.Exit(Exit.OK) from None
    if not count and not as_json:
        say("Nothing has happened yet that a callback told or a poll found.")


async def _show(
    settings: Settings, wanted: EventFilter, connection: str | None, limit: int, follow: bool, shown: Any
) -> int:
    import anyio

    from scale_mcp.hosting.events.log import EventLog

    async with opened_store(settings) as database:
        names = await _names(database)
        ids = None
        if connection is not None:
            ids = [known for known, name in names.items() if connection in (known, name)]
            if not ids:
                stop(Exit.FAILED, f"there is no connection {connection!r}. `scale-mcp connection list` shows them.")
        log = EventLog(database)
        position = await log.head()
        found = await log.latest(limit, connections=ids, wanted=wanted) if limit else []
        for event in found:
            write(shown(event, names))
        position = max(position, *(event.position for event in found)) if found else position
        while follow:
            await anyio.sleep(BETWEEN_LOOKS)
            for event in await log.after(position, AT_ONCE, connections=ids, wanted=wanted):
                if event.connection not in names:
                    names = await _names(database)
                write(shown(event, names))
                position = event.position
        return len(found)


async def _names(database: Database) -> dict[str, str]:
    from scale_mcp.hosting.connection_records import read_records

    async with database.reading() as transaction:
        return {record.id: record.name for record in await read_records(transaction, include_removed=True)}


def _as_line(event: Event, names: dict[str, str]) -> str:
    import json

    fields = {**asdict(event), "connection": names.get(event.connection, event.connection)}
    return json.dumps({name: value for name, value in fields.items() if value is not None}, ensure_ascii=False)


def _in_words(event: Event, names: dict[str, str]) -> str:
    from scale_mcp.text import one_line

    parts = [
        event.at,
        event.kind + (f" ({event.review})" if event.review else ""),
        f"task {event.task_id}" if event.task_id else "",
        f"batch {event.batch}" if event.batch else "",
        f"project {event.project}" if event.project else "",
        names.get(event.connection, event.connection),
    ]
    return "  ".join(one_line(part, 200) for part in parts if part)

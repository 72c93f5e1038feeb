"""``scale-mcp audit``: the trail of a hosted server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

import typer

from scale_mcp.cli.audit_lines import line_of, moment_of, say_open_calls
from scale_mcp.cli.command import ReadableCommand, new_group
from scale_mcp.cli.console import Exit, say, stop, write, write_json
from scale_mcp.cli.hosted import STORE, actor, carry_out, confirm, opened_store
from scale_mcp.cli.options import settings_from, takes_settings

if TYPE_CHECKING:
    from scale_mcp.hosting.audit.search import Query, Row
    from scale_mcp.hosting.audit.verification import Verification

EVERY = 1.0  # seconds between two looks of tail -f
WHEN = "2026-11-22, 2026-11-22T09:30, or an age as 90m, 12h, 7d"

Persona = Annotated[str | None, typer.Option(metavar="NAME", help="Calls and changes of this persona.")]
User = Annotated[str | None, typer.Option(metavar="TEXT", help="Calls of this user, as the token names them.")]
Tool = Annotated[str | None, typer.Option(metavar="NAME", help="Calls of this tool.")]
Outcome = Annotated[
    str | None, typer.Option(metavar="TEXT", help="ok, error, denied, …; unknown: calls that have no outcome.")
]
Who = Annotated[str | None, typer.Option("--actor", metavar="TEXT", help="Changes made by, as cli:ada.")]
Connection = Annotated[str | None, typer.Option(metavar="NAME", help="Outcomes of calls that it served.")]
Kind = Annotated[
    str | None, typer.Option(metavar="TEXT", help="A kind of row: call.intent, persona.added; persona. for all such.")
]
Entry = Annotated[str | None, typer.Option(metavar="ID", help="One call: its intent and its outcome.")]
Contains = Annotated[str | None, typer.Option(metavar="TEXT", help="Rows that hold it: a task's id, a request id.")]
Since = Annotated[str | None, typer.Option(metavar="WHEN", help=f"From then on: {WHEN}.")]
Until = Annotated[str | None, typer.Option(metavar="WHEN", help="Up to then.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
app = new_group()


@app.callback()
def audit() -> None:
    """Who did what, when, why and with what outcome. Every call leaves an intent before and an outcome after it, every
    change of personas, connections and keys leaves a row, and each row holds the hash of the one before.

    [bold]Examples[/bold]
      scale-mcp audit tail -f
      scale-mcp audit search --persona ada --outcome error --since 24h
      scale-mcp audit search --outcome unknown       calls whose process was killed
      scale-mcp audit export --format csv --output october.csv --since 2026-10-01 --until 2026-11-01
      scale-mcp audit verify
      scale-mcp audit prune --before 365d

    [bold]Exit codes[/bold]
      0  done; the chain holds
      1  the chain does not hold, or the database is away
      2  wrong usage
      5  not agreed to
    """


@app.command(cls=ReadableCommand)
@takes_settings(STORE)
def tail(
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new rows until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of the newest rows.", min=0)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    **flags: Any,
) -> None:
    """Show the newest rows, oldest first."""
    settings = settings_from(flags)

    async def work() -> None:
        import anyio

        from scale_mcp.hosting.audit.search import Query, Trail

        async with opened_store(settings) as database:
            trail = Trail(database)
            seen = await trail.last()
            for row in reversed(await trail.rows(Query(), limit=lines) if lines else []):
                _write_row(row, as_json)
                seen = max(seen, row.seq)
            while follow:
                await anyio.sleep(EVERY)
                async for row in trail.all(Query(), after=seen):
                    _write_row(row, as_json)
                    seen = row.seq

    try:
        carry_out(work)
    except KeyboardInterrupt:
        raise typer.Exit from None


@app.command(cls=ReadableCommand)
@takes_settings(STORE)
def search(
    *,
    persona: Persona = None,
    user: User = None,
    tool: Tool = None,
    outcome: Outcome = None,
    who: Who = None,
    connection: Connection = None,
    kind: Kind = None,
    entry: Entry = None,
    contains: Contains = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(help="Most rows shown.", min=1)] = 50,
    as_json: AsJson = False,
    **flags: Any,
) -> None:
    """Find rows, newest first. Everything that is given must agree."""
    settings = settings_from(flags)

    async def work() -> list[Row]:
        from scale_mcp.hosting.audit.search import Trail

        query = _query(persona, user, tool, outcome, who, connection, kind, entry, contains, since, until)
        async with opened_store(settings) as database:
            return await Trail(database).rows(query, limit=limit + 1)

    found = carry_out(work)
    if as_json:
        from scale_mcp.hosting.audit.export import as_json as plain

        write_json([plain(row) for row in found[:limit]])
    else:
        for row in found[:limit]:
            _write_row(row, as_json=False)
        if not found:
            say("No row agrees.")
    if len(found) > limit:
        say(f"There are more; --limit {limit * 10} shows more of them, `scale-mcp audit export` all.")


@app.command(cls=ReadableCommand)
@takes_settings(STORE)
def export(
    *,
    form: Annotated[
        Literal["jsonl", "csv"], typer.Option("--format", help="A JSON object per line, or a table.")
    ] = "jsonl",
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="A new file; stdout without it.")] = None,
    persona: Persona = None,
    user: User = None,
    tool: Tool = None,
    outcome: Outcome = None,
    who: Who = None,
    connection: Connection = None,
    kind: Kind = None,
    entry: Entry = None,
    contains: Contains = None,
    since: Since = None,
    until: Until = None,
    **flags: Any,
) -> None:
    """Write rows to a file or to stdout, oldest first. JSON lines hold all that the hashes are computed from."""
    settings = settings_from(flags)

    async def work() -> int:
        from scale_mcp.hosting.audit.export import as_csv_line, as_json_line, csv_header
        from scale_mcp.hosting.audit.search import Trail

        query = _query(persona, user, tool, outcome, who, connection, kind, entry, contains, since, until)
        count = 0
        async with opened_store(settings) as database:
            with _writing(output) as file:
                if form == "csv":
                    file.write(f"{csv_header()}\n")
                async for row in Trail(database).all(query):
                    file.write(f"{as_json_line(row) if form == 'jsonl' else as_csv_line(row)}\n")
                    count += 1
        return count

    try:
        count = carry_out(work)
    except FileExistsError:
        stop(Exit.USAGE, f"{output} exists already, and is not overwritten. Name another file.")
    except OSError as problem:
        stop(Exit.FAILED, f"{output or 'standard output'} cannot be written: {problem.strerror or problem}.")
    say(f"{count:,} rows.")


@app.command(cls=ReadableCommand)
@takes_settings(STORE)
def verify(
    *,
    noted: Annotated[
        list[str] | None,
        typer.Option(metavar="SEQ:HASH", help="A row as an earlier verify gave it, kept elsewhere. May be repeated."),
    ] = None,
    as_json: AsJson = False,
    **flags: Any,
) -> None:
    """Compute the whole chain again, and name the rows that were edited, removed, replaced or put in.

    Keep the last row's SEQ:HASH elsewhere from time to time, and hand it in with --noted: with it, even a chain that
    somebody computed anew from end to end is found out.
    """
    settings = settings_from(flags)
    kept = _noted(noted or [])

    async def work() -> Verification:
        from scale_mcp.hosting.audit.verification import verify as check

        async with opened_store(settings) as database:
            return await check(database, noted=kept)

    found = carry_out(work)
    if as_json:
        write_json({"holds": found.holds, **asdict(found)})
    else:
        _tell(found)
    if not found.holds:
        raise typer.Exit(Exit.FAILED)


@app.command(cls=ReadableCommand)
@takes_settings(STORE)
def prune(
    *,
    before: Annotated[str, typer.Option(metavar="WHEN", help=f"Rows older than that: {WHEN}.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be taken out.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    **flags: Any,
) -> None:
    """Take old rows out for good. The chain verifies afterwards as before; a row says what was taken out, and by whom.

    Nothing is taken out of a chain that does not hold. To keep the rows elsewhere, export them first.
    """
    settings = settings_from(flags)
    border = moment_of(before)

    async def work(*, rehearsal: bool) -> int:
        from scale_mcp.hosting.audit.recorder import Recorder
        from scale_mcp.hosting.audit.retention import prune as take_out

        async with opened_store(settings) as database:
            done = await take_out(database, Recorder(database), border, actor=actor(), dry_run=rehearsal)
            return done.rows

    count = carry_out(partial(work, rehearsal=True))
    if dry_run or not count:
        write(f"{count:,} rows are older than that.")
        return
    confirm(f"Take {count:,} rows out of the audit trail for good?", yes)
    write(f"{carry_out(partial(work, rehearsal=False)):,} rows were taken out.")


@contextmanager
def _writing(output: Path | None) -> Iterator[IO[str]]:
    """Standard output, or a new file that its owner alone may read."""
    if output is None:
        yield sys.stdout
        return
    output.touch(mode=0o600, exist_ok=False)
    with output.open("w", encoding="utf-8") as file:
        yield file


def _query(
    persona: str | None,
    user: str | None,
    tool: str | None,
    outcome: str | None,
    who: str | None,
    connection: str | None,
    kind: str | None,
    entry: str | None,
    contains: str | None,
    since: str | None,
    until: str | None,
) -> Query:
    from scale_mcp.hosting.audit.search import Query
    from scale_mcp.hosting.clock import stamp

    query = Query(persona=persona, user=user, tool=tool, outcome=outcome, actor=who, connection=connection)
    return replace(
        query,
        kind=kind,
        entry=entry,
        contains=contains,
        since=stamp(moment_of(since)) if since else None,
        until=stamp(moment_of(until)) if until else None,
    )


def _write_row(row: Row, as_json: bool) -> None:
    from scale_mcp.hosting.audit.export import as_json_line

    write(as_json_line(row) if as_json else line_of(row))


def _noted(given: list[str]) -> dict[int, str]:
    kept = {}
    for text in given:
        seq, _, digest = text.partition(":")
        if not seq.isdecimal() or len(digest) != 64:
            stop(Exit.USAGE, f"--noted {text[:80]!r} is not SEQ:HASH, as `scale-mcp audit verify` prints it.")
        kept[int(seq)] = digest.lower()
    return kept


def _tell(found: Verification) -> None:
    if not found.holds:
        for fault in found.faults:
            write(f"Row {fault.seq} {fault.what}")
        if found.fault_count > len(found.faults):
            write(f"… and {found.fault_count - len(found.faults):,} more.")
        write("The chain does NOT hold. Keep a copy of the database as it is before anything else.")
    elif not found.rows:
        write("The chain is empty.")
    else:
        pruned = f" (up to {found.pruned} were pruned)" if found.pruned else ""
        write(f"The chain holds: {found.rows:,} rows, {found.first} to {found.last}{pruned}.")
        write(f"Last row: {found.last}:{found.head_hash}")
    say_open_calls(found)

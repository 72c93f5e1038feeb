"""``scale-mcp console``: who may open the operator's page of a hosted server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from scale_mcp.cli.command import ReadableCommand, new_group
from scale_mcp.cli.console import Exit, say, stdout_console, stop, write, write_json
from scale_mcp.cli.hosted import STORE, actor, carry_out, opened_store
from scale_mcp.cli.options import settings_from, takes_settings
from scale_mcp.cli.persona_options import duration

if TYPE_CHECKING:
    from pydantic import SecretStr

    from scale_mcp.hosting.console_tokens import ConsoleToken
    from scale_mcp.settings import Settings

app = new_group()
token_app = new_group()
app.add_typer(token_app, name="token")


@app.callback()
def console() -> None:
    """The operator's page of a hosted server, at /console: who may open it.

    An operator signs in there with a token of their own, which opens nothing else. What they do on the page is in the
    audit trail under their name. Servers that run take every change over by themselves.

    [bold]Examples[/bold]
      scale-mcp console token add ada --expires-in 30d
      scale-mcp console token list
      scale-mcp console token revoke ctk_mfzwizltoq2gk3tu

    [bold]Exit codes[/bold]
      0  done
      1  it cannot be done: no such token, the database is away
      2  wrong usage
    """


@token_app.callback()
def token() -> None:
    """Tokens that open the operator's page.

    [bold]Examples[/bold]
      scale-mcp console token add ada --expires-in 30d
    """


@token_app.command(cls=ReadableCommand)
@takes_settings(STORE)
def add(
    name: Annotated[
        str, typer.Argument(help="Whose it is, for the audit trail: letters, digits, - _ . @", show_default=False)
    ],
    *,
    expires_in: Annotated[str, typer.Option(metavar="30d", help="How long it is good: m, h, d or w.")] = "30d",
    **flags: Any,
) -> None:
    """Make a token for an operator. It goes to standard output, alone, and is never shown again."""
    settings = settings_from(flags)
    lasting = duration(expires_in)
    if lasting is None:
        stop(Exit.USAGE, "a console token always expires: give --expires-in a number and m, h, d or w, such as 30d.")

    async def work() -> tuple[ConsoleToken, SecretStr]:
        from scale_mcp.hosting.audit.recorder import Recorder
        from scale_mcp.hosting.console_tokens import ConsoleTokens

        async with opened_store(settings) as database:
            return await ConsoleTokens(database, Recorder(database)).add(name, expires_in=lasting, actor=actor())

    record, secret = carry_out(work)
    say(
        f"The console token {record.id} of {record.name}, good until {_time(record.expires_at)}. Enter it at /console; "
        "keep it now:"
    )
    write(secret.get_secret_value())


@token_app.command("list", cls=ReadableCommand)
@takes_settings(STORE)
def list_(*, as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False, **flags: Any) -> None:
    """List the tokens, those that ended included."""
    settings = settings_from(flags)
    found = carry_out(lambda: _all(settings))
    if as_json:
        write_json([{**vars(each), "state": _state(each)} for each in found])
    elif found:
        _show(found)
    else:
        say("Nobody can open the console yet. `scale-mcp console token add NAME` lets somebody in.")


@token_app.command(cls=ReadableCommand)
@takes_settings(STORE)
def revoke(
    tokens: Annotated[list[str], typer.Argument(metavar="TOKEN…", help="Ids of tokens, ctk_….", show_default=False)],
    **flags: Any,
) -> None:
    """End tokens, and the sessions that were begun with them, from the next request on."""
    settings = settings_from(flags)

    async def work() -> list[ConsoleToken]:
        from scale_mcp.hosting.audit.recorder import Recorder
        from scale_mcp.hosting.console_tokens import ConsoleTokens

        async with opened_store(settings) as database:
            there = ConsoleTokens(database, Recorder(database))
            return [await there.revoke(each, actor=actor()) for each in tokens]

    for record in carry_out(work):
        write(f"Revoked {record.id} of {record.name}.")


async def _all(settings: Settings) -> list[ConsoleToken]:
    from scale_mcp.hosting.audit.recorder import Recorder
    from scale_mcp.hosting.console_tokens import ConsoleTokens

    async with opened_store(settings) as database:
        return await ConsoleTokens(database, Recorder(database)).list()


def _show(found: list[ConsoleToken]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("token", "operator", "state", "until", "last signed in"):
        table.add_column(title, overflow="fold")
    for each in found:
        last = _time(each.signed_in_at) if each.signed_in_at else "never"
        table.add_row(*(Text(cell) for cell in (each.id, each.name, _state(each), _time(each.expires_at), last)))
    stdout_console().print(table)


def _state(token: ConsoleToken) -> str:
    from scale_mcp.hosting.clock import stamp, utc_now

    return token.state(stamp(utc_now()))


def _time(stamped: str) -> str:
    return f"{stamped[:16].replace('T', ' ')} UTC"

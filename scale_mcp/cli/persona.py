"""``scale-mcp persona``: who may call a hosted server, and their tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scale_mcp.cli import persona_options as options
from scale_mcp.cli.command import ReadableCommand, new_group
from scale_mcp.cli.console import Exit, say, stdout_console, stop, write, write_json
from scale_mcp.cli.hosted import STORE, actor, carry_out, confirm, opened_store
from scale_mcp.cli.options import settings_from, takes_settings

if TYPE_CHECKING:
    from pydantic import SecretStr

    from scale_mcp.hosting.budgets import Budgets, Spent
    from scale_mcp.hosting.persona_store import Personas
    from scale_mcp.hosting.personas import Persona
    from scale_mcp.hosting.tokens import TokenRecord, Tokens
    from scale_mcp.settings import Settings

Name = Annotated[str, typer.Argument(help="Name or id of the persona.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
app = new_group()


@dataclass(frozen=True)
class Office:
    """What the commands work with."""

    personas: Personas
    tokens: Tokens
    budgets: Budgets


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Office]:
    from scale_mcp.hosting.audit.recorder import Recorder
    from scale_mcp.hosting.budgets import Budgets
    from scale_mcp.hosting.persona_store import Personas
    from scale_mcp.hosting.tokens import Tokens

    async with opened_store(settings) as database:
        recorder = Recorder(database)
        yield Office(Personas(database, recorder), Tokens(database, recorder), Budgets(database))


@app.callback()
def persona() -> None:
    """Who may call a hosted server: what they may use, through which connections, within what budget.

    Servers that run take every change over by themselves, a revoked token on its next call. No command here needs the
    master key. For many personas keep a file, see `scale-mcp apply`.

    [bold]Examples[/bold]
      scale-mcp persona add night-shift --scope 'tasks:*,batches:read' --project streets --route main
      scale-mcp persona token night-shift --user eve --expires-in 90d
      scale-mcp persona edit night-shift --tasks-per-day 500 --deny cancel_task
      scale-mcp persona show night-shift
      scale-mcp persona revoke tok_mfzwizltoq2gk3tu

    [bold]Exit codes[/bold]
      0  done
      1  it cannot be done: no such persona, a scope that does not exist, the database is away
      2  wrong usage
      5  not agreed to
    """


@app.command(cls=ReadableCommand)
@takes_settings(STORE)
def add(
    name: Annotated[str, typer.Argument(help="Letters, digits, - and _.", show_default=False)],
    *,
    purpose: options.Purpose = None,
    scopes: options.Scopes = None,
    tools: options.Tools = None,
    deny: options.Deny = None,
    projects: options.Projects = None,
    models: options.Models = None,
    routes: options.Routes = None,
    read_only: options.ReadOnly = None,
    confirm: options.Confirm = None,
    confirm_risk: options.ConfirmRisk = None,
    calls_per_minute: options.CallsPerMinute = None,
    calls_per_day: options.CallsPerDay = None,
    tasks_per_day: options.TasksPerDay = None,
    cost_per_day: options.CostPerDay = None,
    **flags: Any,
) -> None:
    """Add a persona. It may use nothing but what its scopes and tools name."""
    given = {key: value for key, value in locals().items() if key not in ("name", "flags")}
    settings = settings_from(flags)

    async def work() -> Persona:
        from scale_mcp.hosting.personas import Budget, Persona

        new = Persona(id="", name=name, **options.changes_from(Budget(), **given))
        async with opened(settings) as office:
            return await office.personas.add(new, actor=actor())

    added = carry_out(work)
    write(f"Added {added.name} ({added.id}).")
    _point_out_gaps(added)
    say(f"Next: scale-mcp persona token {added.name}")


@app.command(cls=ReadableCommand)
@takes_settings(STORE)
def edit(
    name: Name,
    *,
    purpose: options.Purpose = None,
    scopes: options.Scopes = None,
    tools: options.Tools = None,
    deny: options.Deny = None,
    projects: options.Projects = None,
    models: options.Models = None,
    routes: options.Routes = None,
    read_only: options.ReadOnly = None,
    confirm: options.Confirm = None,
    confirm_risk: options.ConfirmRisk = None,
    calls_per_minute: options.CallsPerMinute = None,
    calls_per_day: options.CallsPerDay = None,
    tasks_per_day: options.TasksPerDay = None,
    cost_per_day: options.CostPerDay = None,
    disabled: Annotated[
        bool | None, typer.Option("--disabled/--enabled", help="Refuse all its calls, or take them again.")
    ] = None,
    **flags: Any,
) -> None:
    """Change a persona. A list that is given takes the place of the one before; what is not named stays."""
    given = {key: value for key, value in locals().items() if key not in ("name", "flags")}
    settings = settings_from(flags)
    if all(value is None for value in given.values()):
        stop(Exit.USAGE, "nothing to change was named; `scale-mcp persona edit --help` lists what can be.")

    async def work() -> tuple[Persona, Persona]:
        async with opened(settings) as office:
            before = await office.personas.get(name)
            changes = options.changes_from(before.budget, **given)
            return before, await office.personas.edit(before.id, changes, actor=actor())

    before, after = carry_out(work)
    if before == after:
        say(f"{after.name} is so already; nothing was changed.")
        return
    write(f"Changed {after.name}.")
    if after.declared:
        say("It is declared in a file: when that is applied again, this change is undone. Change the file, too.")
    _point_out_gaps(after)


@app.command("list", cls=ReadableCommand)
@takes_settings(STORE)
def list_(*, as_json: AsJson = False, **flags: Any) -> None:
    """List the personas."""
    settings = settings_from(flags)

    async def work() -> list[Persona]:
        async with opened(settings) as office:
            return await office.personas.list()

    found = carry_out(work)
    if as_json:
        from scale_mcp.hosting.persona_store import shown

        write_json([{"id": each.id, **shown(each)} for each in found])
    elif found:
        _show_all(found)
    else:
        say("There is no persona yet. `scale-mcp persona add NAME` adds one, `scale-mcp apply FILE` many.")


@app.command(cls=ReadableCommand)
@takes_settings(STORE)
def show(name: Name, *, as_json: AsJson = False, **flags: Any) -> None:
    """Show one persona: what it may, what it has used today, and its tokens."""
    settings = settings_from(flags)

    async def work() -> tuple[Persona, Spent, list[TokenRecord]]:
        async with opened(settings) as office:
            found = await office.personas.get(name)
            return found, await office.budgets.spent(found), await office.tokens.list(found.id)

    found, spent, tokens = carry_out(work)
    if as_json:
        from dataclasses import asdict

        from scale_mcp.hosting.persona_store import shown

        used = {key: format(value, "f") if key == "cost" else value for key, value in asdict(spent).items()}
        about = {"id": found.id, "created_at": found.created_at, **shown(found)}
        write_json({**about, "used_today": used, "tokens": [asdict(token) for token in tokens]})
    else:
        _show_one(found, spent, tokens)


@app.command(cls=ReadableCommand)
@takes_settings(STORE)
def remove(name: Name, *, yes: Yes = False, **flags: Any) -> None:
    """Remove a persona with its tokens. The audit trail keeps what it did; a new one of its name is another one."""
    settings = settings_from(flags)
    confirm(f"Remove the persona {name} with all its tokens?", yes)

    async def work() -> Persona:
        async with opened(settings) as office:
            return await office.personas.remove(name, actor=actor())

    write(f"Removed {carry_out(work).name}. Its tokens are refused from now on.")


@app.command(cls=ReadableCommand)
@takes_settings(STORE)
def token(
    name: Name,
    *,
    label: Annotated[str, typer.Option(help="What tells it from others, such as a machine's name.")] = "",
    user: Annotated[
        str, typer.Option(help="Who calls with it, for the audit trail; the persona's name if empty.")
    ] = "",
    expires_in: Annotated[str, typer.Option(metavar="90d", help="How long it is good: m, h, d, w; or never.")] = "90d",
    **flags: Any,
) -> None:
    """Make a token for a persona. It goes to standard output, alone, and is never shown again."""
    settings = settings_from(flags)
    lasting = options.duration(expires_in)

    async def work() -> tuple[TokenRecord, SecretStr]:
        async with opened(settings) as office:
            return await office.tokens.issue(name, label=label, user=user, expires_in=lasting, actor=actor())

    record, secret = carry_out(work)
    until = f"until {record.expires_at[:16].replace('T', ' ')} UTC" if record.expires_at else "until it is revoked"
    say(f"The token {record.id} of {record.persona}, good {until}. Callers send it as a bearer token; keep it now:")
    write(secret.get_secret_value())


@app.command(cls=ReadableCommand)
@takes_settings(STORE)
def revoke(
    tokens: Annotated[list[str] | None, typer.Argument(metavar="TOKEN…", help="Ids of tokens, tok_….")] = None,
    *,
    all_of: Annotated[str | None, typer.Option("--all-of", metavar="PERSONA", help="Every token of a persona.")] = None,
    **flags: Any,
) -> None:
    """End tokens. Every replica refuses them from the next call on."""
    settings = settings_from(flags)
    if bool(tokens) == bool(all_of):
        stop(Exit.USAGE, "name the tokens to revoke, or a persona with --all-of.")

    async def work() -> list[TokenRecord]:
        async with opened(settings) as office:
            ids = list(tokens or ())
            if all_of:
                ids = [record.id for record in await office.tokens.list(all_of) if record.revoked_at is None]
            return [await office.tokens.revoke(each, actor=actor()) for each in ids]

    revoked = carry_out(work)
    for record in revoked:
        write(f"Revoked {record.id} of {record.persona}.")
    if not revoked:
        say(f"{all_of} has no token that is good.")


def _point_out_gaps(persona: Persona) -> None:
    if not (persona.scopes or persona.tools):
        say("Mind: it has neither scopes nor tools, so it may use nothing.")
    if not persona.routes:
        say("Mind: it has no route, so its calls reach no connection.")


def _show_all(found: list[Persona]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("persona", "may use", "projects", "routes", ""):
        table.add_column(column, overflow="fold")
    for each in found:
        marks = [mark for mark, set_ in (("disabled", each.disabled), ("read-only", each.read_only)) if set_]
        cells = (
            each.name,
            ", ".join([*each.scopes, *each.tools]) or "nothing",
            ", ".join(each.projects) or "all",
            ", ".join(route.connection for route in each.routes) or "none",
            ", ".join(marks),
        )
        table.add_row(*(Text(cell) for cell in cells))
    stdout_console().print(table)


def _show_one(found: Persona, spent: Spent, tokens: list[TokenRecord]) -> None:
    import json

    from scale_mcp.hosting.persona_store import shown

    for key, value in {"id": found.id, **shown(found), "created_at": found.created_at}.items():
        write(f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    if not found.budget.unlimited:
        write(
            f"used today: {spent.calls} calls, {spent.tasks} tasks, cost {spent.cost:f}; "
            f"{spent.calls_this_minute} calls this minute"
        )
    for token in tokens:
        state = (
            f"revoked {token.revoked_at[:10]}" if token.revoked_at else f"until {(token.expires_at or 'revoked')[:10]}"
        )
        write(f"token {token.id}: {token.user}{f', {token.label}' if token.label else ''}, {state}")
    if not tokens:
        say(f"It has no token yet: scale-mcp persona token {found.name}")

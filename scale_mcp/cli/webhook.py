"""``scale-mcp webhook``: addresses of the operator's own that get what happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scale_mcp.cli.command import ReadableCommand, new_group
from scale_mcp.cli.console import Exit, say, stdout_console, stop, write, write_json
from scale_mcp.cli.hosted import STORE, VAULT, actor, carry_out, confirm, opened_store, opened_vault, read_secret
from scale_mcp.cli.options import settings_from, takes_settings

if TYPE_CHECKING:
    from pydantic import SecretStr

    from scale_mcp.hosting.events.outbound import Answered
    from scale_mcp.hosting.events.webhook_records import DeliveryRecord, Webhook
    from scale_mcp.hosting.events.webhooks import Webhooks
    from scale_mcp.hosting.store import Database
    from scale_mcp.settings import Settings

Name = Annotated[str, typer.Argument(help="Name or id of the webhook.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
SecretVariable = Annotated[
    str | None, typer.Option("--secret-env", metavar="VARIABLE", help="Take the secret from this variable.")
]
app = new_group()


@app.callback()
def webhook() -> None:
    """Addresses of your own that get every event, signed. Servers that run take every change over by themselves.

    [bold]Examples[/bold]
      scale-mcp webhook add ops https://hooks.example.com/scale
      scale-mcp webhook add night https://hooks.example.com/n --kind error --project streets
      scale-mcp webhook add lab http://10.1.2.3:9000/ --private-host 10.1.2.3
      scale-mcp webhook test ops
      scale-mcp webhook list --deliveries 10

    [bold]Exit codes[/bold]
      0  done
      1  it cannot be done: no such webhook, an address that is refused, the vault stays closed
      2  wrong usage
      3  the receiver did not take a test
      5  not agreed to
    """


@app.command(cls=ReadableCommand)
@takes_settings(VAULT)
def add(
    name: Annotated[str, typer.Argument(help="What people call it: small letters, digits, - and _.")],
    url: Annotated[str, typer.Argument(help="Where events go: https, at a public address.")],
    *,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only events of this kind, e.g. completed; may be repeated.")
    ] = None,
    connection: Annotated[
        list[str] | None, typer.Option(help="Only of this connection, by name; may be repeated.")
    ] = None,
    project: Annotated[list[str] | None, typer.Option(help="Only of this project; may be repeated.")] = None,
    private_host: Annotated[
        str | None, typer.Option(metavar="HOST", help="Let this host through, though it is not public.")
    ] = None,
    secret_env: SecretVariable = None,
    **flags: Any,
) -> None:
    """Add a webhook. The secret that its deliveries are signed with is shown now and never again."""
    settings = settings_from(flags)
    given = read_secret("webhook secret", secret_env) if secret_env else None

    async def work() -> tuple[Webhook, SecretStr]:
        from scale_mcp.hosting.events.webhook_records import Webhook

        new = Webhook(
            name,
            url,
            kinds=tuple(kind or ()),  # type: ignore[arg-type]  # checked where it is kept
            connections=tuple(connection or ()),
            projects=tuple(project or ()),
            private_host=private_host,
        )
        async with opened_webhooks(settings) as (_, webhooks):
            return await webhooks.add(new, secret=given, actor=actor())

    added, secret = carry_out(work)
    say(f"Added {added.name} ({added.id}).")
    if given is None:
        say("Its deliveries are signed with this secret, which is shown only now:")
        write(secret.get_secret_value())
    say(f"Try it: scale-mcp webhook test {added.name}")


@app.command("list", cls=ReadableCommand)
@takes_settings(STORE)
def list_(
    *,
    deliveries: Annotated[int, typer.Option(help="Also show so many of the newest deliveries.", min=0, max=1000)] = 0,
    as_json: AsJson = False,
    **flags: Any,
) -> None:
    """List the webhooks, and what became of their deliveries. Needs no master key: nothing is opened."""
    settings = settings_from(flags)

    async def work() -> tuple[list[Webhook], list[DeliveryRecord]]:
        from scale_mcp.hosting.events.webhook_records import read_webhooks, recent_deliveries

        async with opened_store(settings) as database, database.reading() as transaction:
            recent = await recent_deliveries(transaction, deliveries) if deliveries else []
            return await read_webhooks(transaction), recent

    found, recent = carry_out(work)
    if as_json:
        write_json(
            {"webhooks": [asdict(each) for each in found], "deliveries": [asdict(each) for each in recent]}
            if deliveries
            else [asdict(each) for each in found]
        )
    elif found:
        _show(found, recent)
    else:
        say("There is no webhook yet. `scale-mcp webhook add NAME URL` adds one.")


@app.command(cls=ReadableCommand)
@takes_settings(VAULT)
def remove(
    name: Name, *, yes: Annotated[bool, typer.Option("--yes", help="Agree beforehand.")] = False, **flags: Any
) -> None:
    """Forget a webhook. What was still on its way to it is not sent any more."""
    settings = settings_from(flags)
    confirm(f"Remove the webhook {name} and what is on its way to it?", yes)

    async def work() -> Webhook:
        async with opened_webhooks(settings) as (_, webhooks):
            return await webhooks.remove(name, actor=actor())

    write(f"{carry_out(work).name} is removed.")


@app.command("new-secret", cls=ReadableCommand)
@takes_settings(VAULT)
def new_secret(name: Name, *, secret_env: SecretVariable = None, **flags: Any) -> None:
    """Sign with another secret from now on. It is shown now and never again."""
    settings = settings_from(flags)
    given = read_secret("webhook secret", secret_env) if secret_env else None

    async def work() -> SecretStr:
        async with opened_webhooks(settings) as (_, webhooks):
            return await webhooks.new_secret(name, secret=given, actor=actor())

    secret = carry_out(work)
    say(f"What goes to {name} is signed with another secret from now on.")
    if given is None:
        write(secret.get_secret_value())


@app.command("test", cls=ReadableCommand)
@takes_settings(VAULT)
def send_test(name: Name, **flags: Any) -> None:
    """Send an event of the kind test, signed like all others, and say what became of it."""
    settings = settings_from(flags)

    async def work() -> Answered:
        from scale_mcp.hosting.events.log import EventLog
        from scale_mcp.hosting.events.outbound import Outbound
        from scale_mcp.hosting.events.sender import Sender

        async with opened_webhooks(settings) as (database, webhooks), Outbound() as outbound:
            return await Sender(database, EventLog(database), webhooks, outbound).test(await webhooks.get(name))

    answered = carry_out(work)
    if not answered.delivered:
        stop(Exit.UNREACHABLE, f"{name} did not take it: {answered.problem}")
    write(f"{name} took it with {answered.status} after {answered.milliseconds} ms.")


def _show(found: list[Webhook], recent: list[DeliveryRecord]) -> None:
    from rich.table import Table
    from rich.text import Text

    def table(titles: tuple[str, ...], rows: list[list[str]]) -> None:
        shown = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for title in titles:
            shown.add_column(title, overflow="fold")
        for row in rows:
            shown.add_row(*(Text(part) for part in row))
        stdout_console().print(shown)

    webhooks = [
        [
            each.name + (" (off)" if each.disabled else ""),
            each.url,
            ", ".join(each.kinds) or "all",
            ", ".join(each.connections) or "all",
            ", ".join(each.projects) or "all",
        ]
        for each in found
    ]
    table(("webhook", "address", "kinds", "connections", "projects"), webhooks)
    if recent:
        say()
        rows = [
            [each.webhook, str(each.position), each.state, str(each.attempts), each.problem or str(each.status or "")]
            for each in recent
        ]
        table(("webhook", "event", "state", "tries", "last answer"), rows)


@asynccontextmanager
async def opened_webhooks(settings: Settings) -> AsyncIterator[tuple[Database, Webhooks]]:
    """The database and the webhooks, to look at and to change. Raises ``StoreError`` and ``VaultError``."""
    from scale_mcp.hosting.events.webhooks import Webhooks

    async with opened_vault(settings) as (database, vault, recorder):
        yield database, Webhooks(database, vault, recorder)

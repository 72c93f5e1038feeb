"""What the commands for the operator of a hosted server share: its database and vault, and who is at the keyboard."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from scale_mcp.cli.command import ReadableCommand
from scale_mcp.cli.console import Exit, stop

if TYPE_CHECKING:
    from pydantic import SecretStr
    from typer._click import Context

    from scale_mcp.hosting.audit.recorder import Recorder
    from scale_mcp.hosting.connections import Connections
    from scale_mcp.hosting.store import Database
    from scale_mcp.hosting.vault import Vault
    from scale_mcp.settings import Settings

STORE = {"Where": ("store",)}
VAULT = {"Where": ("store", "master_key_file", "master_key_keyring")}
Result = TypeVar("Result")


class TakesSecret(ReadableCommand):
    """A command that is handed a secret, and does not repeat one that somebody wrote as an argument."""

    allow_extra_args = True

    def invoke(self, ctx: Context) -> Any:
        if ctx.args:
            stop(
                Exit.USAGE,
                "a key is never an argument: process lists and shell histories show those. Pipe it in or name a "
                "variable with --key-env. If a key stood here just now, replace it on Scale's dashboard.",
            )
        return super().invoke(ctx)


def carry_out(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run what is asked; leave with a sentence when it cannot be done."""
    import anyio

    try:
        from sqlalchemy.exc import SQLAlchemyError

        from scale_mcp.hosting.audit.writer import AuditUnavailable
        from scale_mcp.hosting.errors import OperatorError
        from scale_mcp.hosting.key_checks import KeyNotChecked, KeyRefused, KeyUnusable
        from scale_mcp.hosting.store import StoreError
    except ModuleNotFoundError as missing:
        stop(Exit.USAGE, f"{missing.name} is not installed. Install the extra: pip install 'scale-mcp[hosted]'.")
    try:
        return anyio.run(work)
    except KeyUnusable as problem:
        stop(Exit.USAGE, str(problem))
    except KeyNotChecked as problem:
        stop(Exit.UNREACHABLE, str(problem))
    except KeyRefused as problem:
        stop(Exit.REFUSED, str(problem))
    except AuditUnavailable as problem:
        stop(Exit.FAILED, f"the audit trail cannot be written, so nothing was changed: {problem.reason}")
    except (OperatorError, StoreError) as problem:
        stop(Exit.FAILED, str(problem))
    except SQLAlchemyError as problem:
        reason = str(getattr(problem, "orig", None) or type(problem).__name__).splitlines()[0]
        stop(Exit.FAILED, f"the database failed, and what was being changed just then was undone: {reason}")


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[Database]:
    """The database that the settings name. Raises ``StoreError``."""
    from scale_mcp.hosting.store import Database, default_url

    url = settings.store.get_secret_value() if settings.store else default_url()
    async with Database.opened(url) as database:
        yield database


@asynccontextmanager
async def opened_vault(settings: Settings) -> AsyncIterator[tuple[Database, Vault, Recorder]]:
    """The database and its vault. Raises ``StoreError`` and ``VaultError``."""
    from scale_mcp.hosting.audit.recorder import Recorder
    from scale_mcp.hosting.master_key_places import master_keys_of
    from scale_mcp.hosting.vault import Vault

    master_keys = master_keys_of(settings)
    async with opened_store(settings) as database:
        yield database, await Vault.opened(database, master_keys), Recorder(database)


@asynccontextmanager
async def opened_connections(settings: Settings) -> AsyncIterator[Connections]:
    """The connections, to look at and to change. Raises ``StoreError`` and ``VaultError``."""
    from scale_mcp.hosting.connections import Connections

    async with opened_vault(settings) as (database, vault, recorder):
        yield Connections(database, vault, recorder)


def actor() -> str:
    """Who is at the keyboard, for the audit trail: ``cli:ada``."""
    import getpass

    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):  # a container's user without a name
        return f"cli:{os.getuid() if hasattr(os, 'getuid') else 'unknown'}"


def read_secret(what: str, variable: str | None) -> SecretStr:
    """A secret from the variable, else from what is piped in, else asked for without showing it.

    Never from an argument: those stand in process lists and shell histories.
    """
    from pydantic import SecretStr

    if variable is not None:
        given = SecretStr(os.environ.get(variable, "").strip())
        source = f"the variable {variable} is not set, or empty"
    elif sys.stdin is None or not sys.stdin.isatty():
        given = SecretStr((sys.stdin.read() if sys.stdin else "").strip())
        source = "nothing came in on standard input"
    else:
        given = SecretStr(typer.prompt(what, hide_input=True, err=True, default="", show_default=False).strip())
        source = "nothing was typed"
    if not given.get_secret_value():
        stop(Exit.USAGE, f"there is no {what}: {source}. Pipe it in, type it, or name a variable with --key-env.")
    return given


def confirm(question: str, agreed: bool) -> None:
    """Leave unless the person agrees, now or beforehand."""
    if agreed:
        return
    if not sys.stdin.isatty():
        stop(Exit.DECLINED, f"{question} There is no terminal to ask on. Add --yes to agree beforehand.")
    if not typer.confirm(question, err=True):
        raise typer.Exit(Exit.DECLINED)

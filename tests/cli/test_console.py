"""``scale-mcp console``: who may open the operator's page, as an operator types it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import anyio
import pytest
from typer.testing import CliRunner, Result

from scale_mcp.cli.app import app
from scale_mcp.hosting.audit.recorder import Recorder
from scale_mcp.hosting.console_tokens import FORM, ConsoleToken, ConsoleTokens
from scale_mcp.hosting.store import Database


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"sqlite:///{tmp_path / 'hosted.db'}"
    monkeypatch.setenv("SCALE_MCP_STORE", url)
    return url


def console(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["console", "token", *arguments], prog_name="scale-mcp")
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def signed_in(store: str, secret: str) -> ConsoleToken | None:
    async def enter() -> ConsoleToken | None:
        async with Database.opened(store) as database:
            return await ConsoleTokens(database, Recorder(database)).sign_in(secret)

    return anyio.run(enter)


def test_a_token_is_printed_alone_and_once_and_opens_the_console_until_it_is_revoked(store: str) -> None:
    assert "Nobody can open the console yet" in console("list").stderr
    added = console("add", "ada", "--expires-in", "12h")
    secret = added.stdout.strip()
    assert FORM.fullmatch(secret)
    assert secret not in added.stderr
    found = signed_in(store, secret)
    assert found is not None
    assert found.name == "ada"

    (shown,) = json.loads(console("list", "--json").stdout)
    assert (shown["id"], shown["state"]) == (found.id, "good")
    listed = console("list").stdout
    assert re.search(rf"{found.id}\s+ada\s+good", listed)
    assert secret not in listed

    assert f"Revoked {found.id} of ada." in console("revoke", found.id).stdout
    assert signed_in(store, secret) is None
    assert json.loads(console("list", "--json").stdout)[0]["state"] == "revoked"


def test_what_cannot_be_is_refused_with_what_to_do_instead() -> None:
    assert "always expires" in console("add", "ada", "--expires-in", "never", code=2).stderr
    assert "cannot be an operator's name" in console("add", "a b", code=1).stderr
    assert "at most 366 d" in console("add", "ada", "--expires-in", "99w", code=1).stderr
    assert "`scale-mcp console token list`" in console("revoke", "ctk_nothing", code=1).stderr

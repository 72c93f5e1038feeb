"""``scale-mcp persona`` and ``scale-mcp apply``: an operator's day with personas, tokens and a file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from scale_mcp.cli.app import app
from scale_mcp.cli.persona_options import duration, route_from
from scale_mcp.hosting.audit.chain import audit_rows
from scale_mcp.hosting.directory import Directory
from scale_mcp.hosting.personas import Caller, Route, When
from scale_mcp.hosting.store import Database

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "personas.example.toml"
Command = Callable[..., Result]


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'hosted.db'}"


@pytest.fixture
def command(store: str) -> Command:
    """Run ``scale-mcp …`` on a store of the test's own."""

    def run(*arguments: str, code: int = 0, **environment: str) -> Result:
        result = CliRunner().invoke(app, list(arguments), env={"SCALE_MCP_STORE": store, **environment})
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return run


def caller(store: str, token: str) -> Caller | None:
    async def look() -> Caller | None:
        async with Database.opened(store) as database:
            return await Directory(database).find(token)

    return anyio.run(look)


def trail(store: str) -> list[str]:
    async def look() -> list[str]:
        async with Database.opened(store) as database, database.reading() as connection:
            return list((await connection.execute(sa.select(audit_rows.c.kind).order_by(audit_rows.c.seq))).scalars())

    return anyio.run(look)


def shown(command: Command, name: str = "night") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(command("persona", "show", name, "--json").stdout)
    return found


def test_a_persona_from_its_first_day_to_its_last(command: Command, store: str) -> None:
    added = command(
        *(
            "persona",
            "add",
            "night",
            "--purpose",
            "Night shift",
            "--scope",
            "tasks:*,batches:read",
            "--scope",
            "files:*",
        ),
        *(
            "--tool",
            "get_project",
            "--deny",
            "cancel_task",
            "--project",
            "streets",
            "--project",
            "a, b",
            "--read-write",
        ),
        *("--route", "bulk,task_type=imageannotation,project=streets,fallback", "--route", "main", "--model", "large"),
        *("--confirm", "operator", "--confirm-risk", "spend", "--calls-per-minute", "30", "--tasks-per-day", "9"),
    )
    assert "Added night (per_" in added.stdout
    assert "scale-mcp persona token night" in added.stderr
    about = shown(command)
    assert about["scopes"] == ["tasks:*", "batches:read", "files:*"]
    assert about["projects"] == ["streets", "a, b"]
    assert about["budget"] == {"tasks_per_day": 9, "calls_per_minute": 30}
    assert about["routes"] == [
        {
            "connection": "bulk",
            "when": {"task_types": ["imageannotation"], "projects": ["streets"]},
            "fallback": True,
        },
        {"connection": "main"},
    ]
    assert (about["confirm"], about["confirm_risk"], about["purpose"]) == ("operator", "spend", "Night shift")

    made = command("persona", "token", "night", "--label", "laptop", "--user", "eve", "--expires-in", "12h")
    assert re.fullmatch(r"smcp_[A-Za-z0-9_-]{43}\n", made.stdout), "alone on standard output, to be piped"
    token = made.stdout.strip()
    signed_in = caller(store, token)
    assert signed_in is not None
    assert (signed_in.persona.name, signed_in.user) == ("night", "eve")

    command("persona", "edit", "night", "--disabled")
    assert caller(store, token) is None
    command("persona", "edit", "night", "--enabled", "--calls-per-minute", "none", "--route", "", "--project", "")
    about = shown(command)
    assert about["budget"] == {"tasks_per_day": 9}
    assert "routes" not in about
    assert "projects" not in about
    assert caller(store, token) is not None

    (listed,) = about["tokens"]
    assert (listed["label"], listed["user"]) == ("laptop", "eve")
    assert f"Revoked {listed['id']}" in command("persona", "revoke", listed["id"]).stdout
    assert caller(store, token) is None
    assert "revoked" in command("persona", "show", "night").stdout

    assert "night" in command("persona", "list").stdout
    command("persona", "remove", "night", code=5)
    command("persona", "remove", "night", "--yes")
    assert json.loads(command("persona", "list", "--json").stdout) == []
    assert trail(store) == [
        "persona.added",
        "token.issued",
        "persona.edited",
        "persona.edited",
        "token.revoked",
        "persona.removed",
    ]


def test_all_tokens_of_a_persona_are_revoked_at_once(command: Command, store: str) -> None:
    command("persona", "add", "night", "--scope", "*:read", "--route", "main")
    tokens = [command("persona", "token", "night", "--expires-in", "never").stdout.strip() for _ in range(3)]
    assert command("persona", "revoke", "--all-of", "night").stdout.count("Revoked") == 3
    assert [caller(store, token) for token in tokens] == [None, None, None]
    assert "no token that is good" in command("persona", "revoke", "--all-of", "night").stderr


def test_what_a_persona_still_lacks_is_pointed_out(command: Command) -> None:
    said = command("persona", "add", "night").stderr
    assert "it may use nothing" in said
    assert "no route" in said
    assert "no token yet" in command("persona", "show", "night").stderr
    assert "is so already" in command("persona", "edit", "night", "--purpose", "").stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["persona", "add", "night", "--scope", "taks:read"], 1, "Did you mean tasks:read"),
        (["persona", "add", "night", "--tool", "get_tsk"], 1, "Did you mean get_task"),
        (["persona", "add", "a b"], 1, "cannot be a persona's name"),
        (["persona", "add", "night", "--cost-per-day", "5"], 1, "no rate card"),
        (["persona", "add", "night", "--calls-per-day", "many"], 2, "write a number, or none"),
        (["persona", "add", "night", "--route", "main,task_tpe=x"], 2, "Did you mean task_type"),
        (["persona", "add", "night", "--confirm", "maybe"], 1, "choose auto, always, never, operator"),
        (["persona", "edit", "nobody", "--purpose", "x"], 1, "There is no persona called 'nobody'"),
        (["persona", "edit", "nobody"], 2, "nothing to change was named"),
        (["persona", "token", "nobody"], 1, "persona list"),
        (["persona", "token", "nobody", "--expires-in", "soon"], 2, "such as 90d"),
        (["persona", "revoke"], 2, "--all-of"),
        (["persona", "revoke", "tok_none"], 1, "There is no token 'tok_none'"),
        (["persona", "list", "--store", "mysql://x"], 1, "must be sqlite"),
        (["apply", "none.toml"], 1, "cannot be read"),
    ],
)
def test_what_cannot_be_done_says_why_and_what_to_do(
    command: Command, arguments: list[str], code: int, said: str
) -> None:
    result = command(*arguments, code=code)
    assert said in result.stderr
    assert result.stdout == ""


def test_conditions_of_a_route_and_times_to_live_are_read_as_they_are_written() -> None:
    assert route_from("main") == Route("main")
    assert route_from("a, tool=get_task, tool=get_batch ,toolset=tasks") == Route(
        "a", When(toolsets=("tasks",), tools=("get_task", "get_batch"))
    )
    assert [duration(text) for text in ("30m", "12h", "90d", "2w", "never")] == [
        timedelta(minutes=30),
        timedelta(hours=12),
        timedelta(days=90),
        timedelta(weeks=2),
        None,
    ]


def test_a_file_is_looked_at_applied_and_then_in_force(command: Command, store: str, tmp_path: Path) -> None:
    tried = command("apply", str(EXAMPLE), "--dry-run")
    assert "+ persona night-shift" in tried.stdout
    assert "nothing was changed (--dry-run)" in tried.stderr
    assert "scale-mcp connection add main" in tried.stderr
    assert json.loads(command("persona", "list", "--json").stdout) == []
    assert trail(store) == []

    done = command("apply", str(EXAMPLE))
    assert done.stdout == tried.stdout
    assert "Applied: 5 differences." in done.stderr
    assert len(json.loads(command("persona", "list", "--json").stdout)) == 3
    entries = trail(store)

    again = command("apply", str(EXAMPLE))
    assert again.stdout == ""
    assert "Nothing had to change." in again.stderr
    assert trail(store) == entries

    edited = command("persona", "edit", "lead", "--read-only")
    assert "Change the file, too" in edited.stderr
    command("persona", "add", "by-hand", "--scope", "*:read", "--route", "main")
    back = command("apply", str(EXAMPLE))
    assert back.stdout == "~ persona lead\n    read_only: true → (none)\n"
    assert "left as they are: persona by-hand" in back.stderr
    assert command("apply", str(EXAMPLE), "--prune").stdout == "- persona by-hand\n"


def test_a_file_with_webhooks_needs_the_vault_and_gives_their_secrets_once(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "personas.toml"
    file.write_text('[[webhook]]\nname = "ci"\nurl = "https://hooks.example.com/"\n')
    command("apply", str(file), "--dry-run")
    command("apply", str(file), code=1)
    keys = tmp_path / "master.keys"
    command("vault", "new-key", "--save", SCALE_MCP_MASTER_KEY_FILE=str(keys))
    done = command("apply", str(file), "--json", SCALE_MCP_MASTER_KEY_FILE=str(keys))
    assert len(json.loads(done.stdout)["secrets"]["ci"]) > 20
    again = command("apply", str(file), "--json", SCALE_MCP_MASTER_KEY_FILE=str(keys))
    assert "secrets" not in json.loads(again.stdout)


def test_everything_wrong_with_a_file_is_told_and_nothing_is_done(command: Command, tmp_path: Path, store: str) -> None:
    file = tmp_path / "personas.toml"
    file.write_text('[[persona]]\nname = "a"\nscopes = ["x:y"]\n[[persona]]\nname = "b"\ntools = ["z"]\n')
    said = command("apply", str(file), code=1).stderr
    assert "persona 'a'" in said
    assert "persona 'b'" in said
    assert trail(store) == []

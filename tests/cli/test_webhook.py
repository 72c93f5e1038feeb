"""The operator's commands around events: webhooks added, tried and removed, and what happened, in words and as JSON."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import anyio
import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from scale_mcp.cli.app import app
from scale_mcp.hosting.clock import utc_now
from scale_mcp.hosting.connection_records import connections
from scale_mcp.hosting.events.facts import Facts
from scale_mcp.hosting.events.log import EventLog
from scale_mcp.hosting.events.outbound import SIGNATURE, is_genuine
from scale_mcp.hosting.store import Database


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database, and a master key to open its vault with."""
    url = f"sqlite:///{tmp_path / 'hosted.db'}"
    monkeypatch.setenv("SCALE_MCP_STORE", url)
    monkeypatch.setenv("SCALE_MCP_MASTER_KEY_FILE", str(tmp_path / "master.keys"))
    assert invoke("vault", "new-key", "--save").exit_code == 0
    return url


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), prog_name="scale-mcp")


class Receiver(HTTPServer):
    """Takes what is posted with the next of its statuses, then 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses: list[int] = []
        self.got: list[tuple[str, bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/hook"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((self.headers[SIGNATURE], body))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Not onto the test's terminal."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def add(receiver: Receiver, *more: str) -> Result:
    return invoke("webhook", "add", "ops", receiver.url, "--private-host", "127.0.0.1", *more)


def test_a_webhook_is_added_tried_listed_and_removed(receiver: Receiver) -> None:
    added = add(receiver, "--kind", "error", "--project", "streets")
    assert added.exit_code == 0
    secret = added.stdout.strip()
    assert secret.startswith("whsec_")

    receiver.statuses = [500]
    assert invoke("webhook", "test", "ops").exit_code == 3
    tried = invoke("webhook", "test", "ops")
    assert (tried.exit_code, "took it with 200" in tried.stdout) == (0, True)
    signature, body = receiver.got[-1]
    assert json.loads(body)["kind"] == "test"
    assert is_genuine(signature, body, SecretStr(secret), int(utc_now().timestamp()))

    (listed,) = json.loads(invoke("webhook", "list", "--json").stdout)
    assert (listed["name"], listed["kinds"], listed["projects"]) == ("ops", ["error"], ["streets"])
    assert "ops" in invoke("webhook", "list").stdout
    assert secret not in invoke("webhook", "list", "--json").output

    second = invoke("webhook", "new-secret", "ops").stdout.strip()
    assert second.startswith("whsec_")
    assert second != secret
    assert invoke("webhook", "remove", "ops").exit_code == 5
    assert invoke("webhook", "remove", "ops", "--yes").exit_code == 0
    assert "no webhook yet" in invoke("webhook", "list").output


def test_a_secret_of_ones_own_comes_from_a_variable_and_is_not_shown(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_SECRET", "a secret of one's own")
    added = add(receiver, "--secret-env", "HOOK_SECRET")

    assert added.exit_code == 0
    assert "of one's own" not in added.output
    invoke("webhook", "test", "ops")
    signature, body = receiver.got[0]
    assert is_genuine(signature, body, SecretStr("a secret of one's own"), int(utc_now().timestamp()))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("ops", "http://example.com/"), "must be https"),
        (("ops", "https://169.254.169.254/"), "not a public address"),
        (("ops", "https://example.com/", "--connection", "main"), "no connection 'main'"),
        (("ops", "https://example.com/", "--kind", "done"), "no events of the kind 'done'"),
        (("Ops!", "https://example.com/"), "cannot be a webhook's name"),
    ],
)
def test_what_cannot_be_is_refused_with_the_cure(arguments: tuple[str, ...], told: str) -> None:
    result = invoke("webhook", "add", *arguments)

    assert result.exit_code == 1
    assert told in result.output
    assert json.loads(invoke("webhook", "list", "--json").stdout) == []


def test_what_happened_is_shown_in_words_and_as_json(store: str, receiver: Receiver) -> None:
    add(receiver)

    async def happen() -> None:
        async with Database.opened(store) as database:
            row = {"id": "con_a", "name": "main", "kind": "test", "mode": "test", "base_url": "x", "created_at": "x"}
            async with database.writing() as connection:
                await connection.execute(sa.insert(connections).values(row))
            log = EventLog(database)
            for name, status in (("t1", "completed"), ("t2", "error")):
                await log.note(
                    "con_a", [Facts("task", name, status, updated_at="2026-01-01T00:00:00Z", project="a\nb")]
                )
            await log.note("con_b", [Facts("batch", "night", "completed", batch="night")])

    assert "Nothing has happened yet" in invoke("events").output
    anyio.run(happen)

    lines = invoke("events").stdout.splitlines()
    assert lines[0] == "2026-01-01T00:00:00Z  completed  task t1  project a b  main"
    assert len(lines) == 3
    assert "batch night" in lines[2]
    found = [json.loads(line) for line in invoke("events", "--json", "--kind", "error").stdout.splitlines()]
    assert [(each["task_id"], each["connection"], each["position"]) for each in found] == [("t2", "main", 2)]
    assert len(invoke("events", "--connection", "main").stdout.splitlines()) == 2
    assert invoke("events", "--connection", "nope").exit_code == 1
    assert invoke("events", "--kind", "done").exit_code == 2

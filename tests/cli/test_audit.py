"""``scale-mcp audit``, ``approvals``, ``approve`` and ``deny``: the trail and what waits, from a shell."""

import csv
import hashlib
import io
import json
import re
import signal
from collections.abc import Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from scale_mcp.cli.app import app
from scale_mcp.hosting.approvals import Approvals
from scale_mcp.hosting.audit.chain import audit_rows
from scale_mcp.hosting.audit.recorder import Intent, Recorder
from scale_mcp.hosting.store import Database

from .conftest import Start


@pytest.fixture(autouse=True)
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    address = f"sqlite:///{tmp_path / 'hosted.db'}"
    monkeypatch.setenv("SCALE_MCP_STORE", address)
    return address


def invoke(*arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(app, list(arguments), prog_name="scale-mcp", input=given)


def within(url: str, work: Callable[[Database, Recorder], Coroutine[Any, Any, Any]]) -> Any:
    async def run() -> Any:
        async with Database.opened(url) as database:
            return await work(database, Recorder(database))

    return anyio.run(run)


@pytest.fixture
def trail(url: str) -> str:
    """A change, a call that was answered, one that was denied and one without an outcome. Gives the last one's id."""

    async def work(database: Database, recorder: Recorder) -> str:
        await recorder.append("persona.added", {"actor": "cli:root", "name": "ada"})
        done = await recorder.begin(
            Intent(tool="get_task", risk="read", persona="ada", user="ada@example.com", arguments={"task_id": "t-17"})
        )
        await done.finish("ok", connection="main", latency_ms=12.3)
        denied = await recorder.begin(Intent(tool="cancel_task", risk="destroy", persona="eve", reason="=1+1\x1b[2J"))
        denied.decision("denied", "scope tasks:destroy is missing")
        await denied.finish("denied")
        return (await recorder.begin(Intent(tool="create_task", risk="spend", persona="ada"))).id

    entry: str = within(url, work)
    return entry


def seqs(*arguments: str) -> list[int]:
    return [row["seq"] for row in json.loads(invoke("audit", "search", "--json", *arguments).stdout)]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((), [6, 5, 4, 3, 2, 1]),
        (("--persona", "ada"), [6, 3, 2, 1]),
        (("--user", "ada@example.com"), [3, 2]),
        (("--tool", "cancel_task"), [5, 4]),
        (("--outcome", "ok"), [3]),
        (("--outcome", "unknown"), [6]),
        (("--outcome", "unknown", "--persona", "eve"), []),
        (("--actor", "cli:root"), [1]),
        (("--connection", "main"), [3]),
        (("--kind", "call.intent"), [6, 4, 2]),
        (("--kind", "persona."), [1]),
        (("--contains", "T-17"), [2]),
        (("--contains", "%"), []),
        (("--since", "1h"), [6, 5, 4, 3, 2, 1]),
        (("--until", "2020-01-01"), []),
        (("--limit", "2"), [6, 5]),
    ],
)
@pytest.mark.usefixtures("trail")
def test_search_finds_what_agrees_newest_first(arguments: tuple[str, ...], found: list[int]) -> None:
    assert seqs(*arguments) == found


def test_search_by_entry_gives_a_call_s_intent_and_outcome(trail: str) -> None:
    assert seqs("--entry", trail) == [6]


@pytest.mark.usefixtures("trail")
def test_lines_say_who_what_and_why_and_cannot_control_the_terminal() -> None:
    shown = invoke("audit", "tail").stdout
    lines = shown.splitlines()
    assert len(lines) == 6
    assert "\x1b" not in shown
    assert "ada (ada@example.com)" in lines[1]
    assert "t-17" in lines[1]
    assert "get_task, ok, via main, 12 ms" in lines[2]
    assert "denied: scope tasks:destroy is missing" in lines[4]
    assert invoke("audit", "tail", "-n", "2").stdout.splitlines() == lines[-2:]


def test_following_shows_rows_as_they_come(start: Start, url: str, trail: str) -> None:
    process = start("audit", "tail", "-f", "-n", "1", "--json")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["content"]["entry"] == trail

    async def work(database: Database, recorder: Recorder) -> None:
        await recorder.append("test.row", {"number": 7})

    within(url, work)
    assert json.loads(process.stdout.readline())["content"] == {"number": 7}
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0


@pytest.mark.usefixtures("trail")
def test_exported_lines_hold_all_that_the_hashes_are_computed_from(tmp_path: Path) -> None:
    result = invoke("audit", "export", "--output", str(tmp_path / "out.jsonl"))
    assert result.exit_code == 0
    assert (tmp_path / "out.jsonl").stat().st_mode & 0o077 == 0
    before = "0" * 64
    for line in (tmp_path / "out.jsonl").read_text().splitlines():
        row = json.loads(line)
        content = json.dumps(row["content"], sort_keys=True, separators=(",", ":"))
        text = "\n".join((before, str(row["seq"]), row["time"], row["replica"], row["kind"], content))
        before = hashlib.sha256(text.encode()).hexdigest()
        assert row["hash"] == before
    again = invoke("audit", "export", "--output", str(tmp_path / "out.jsonl"))
    assert (again.exit_code, "not overwritten" in again.output) == (2, True)
    assert invoke("audit", "export", "--output", str(tmp_path / "no" / "out.jsonl")).exit_code == 1


def test_an_exported_table_holds_no_formula(url: str) -> None:
    async def work(database: Database, recorder: Recorder) -> None:
        await recorder.begin(Intent(tool="get_task", risk="read", persona="=HYPERLINK(1)", user="@SUM(1)"))

    within(url, work)
    (row,) = csv.DictReader(io.StringIO(invoke("audit", "export", "--format", "csv").stdout))
    assert (row["persona"], row["user"], row["tool"]) == ("'=HYPERLINK(1)", "'@SUM(1)", "get_task")


@pytest.mark.usefixtures("trail")
def test_verify_says_that_it_holds_and_what_has_no_outcome() -> None:
    result = invoke("audit", "verify")
    assert result.exit_code == 0
    assert "The chain holds: 6 rows, 1 to 6." in result.stdout
    assert "1 call has no outcome" in result.stderr
    (noted,) = re.findall(r"Last row: (6:\w{64})", result.stdout)
    assert invoke("audit", "verify", "--noted", noted).exit_code == 0
    assert invoke("audit", "verify", "--noted", f"6:{'0' * 64}").exit_code == 1
    assert invoke("audit", "verify", "--noted", "nonsense").exit_code == 2


@pytest.mark.usefixtures("trail")
def test_verify_names_a_row_that_was_edited_by_hand(url: str) -> None:
    async def work(database: Database, recorder: Recorder) -> None:
        async with database.writing() as connection:
            await connection.execute(sa.update(audit_rows).where(audit_rows.c.seq == 4).values(content="{}"))

    within(url, work)
    result = invoke("audit", "verify")
    assert result.exit_code == 1
    assert "Row 4 was edited" in result.stdout
    told = json.loads(invoke("audit", "verify", "--json").stdout)
    assert (told["holds"], told["faults"][0]["seq"]) == (False, 4)
    refused = invoke("audit", "prune", "--before", "2100-01-01", "--yes")
    assert (refused.exit_code, "row 4 was edited" in refused.output) == (1, True)


@pytest.mark.usefixtures("trail")
def test_pruning_is_asked_about_and_leaves_a_chain_that_holds() -> None:
    assert "6 rows are older" in invoke("audit", "prune", "--before", "2100-01-01", "--dry-run").stdout
    assert "0 rows are older" in invoke("audit", "prune", "--before", "1d").stdout
    unanswered = invoke("audit", "prune", "--before", "2100-01-01")
    assert (unanswered.exit_code, "--yes" in unanswered.output) == (5, True)
    assert "6 rows were taken out" in invoke("audit", "prune", "--before", "2100-01-01", "--yes").stdout
    assert "1 rows, 7 to 7 (up to 6 were pruned)" in invoke("audit", "verify").stdout


@pytest.mark.parametrize(
    "arguments", [("search", "--since", "yesterday"), ("export", "--until", "5 o'clock"), ("prune", "--before", "1y")]
)
def test_what_is_no_moment_is_refused_with_what_is(arguments: tuple[str, ...]) -> None:
    result = invoke("audit", *arguments)
    assert (result.exit_code, "12h" in result.output) == (2, True)


def test_an_empty_trail_is_no_error() -> None:
    assert "The chain is empty" in invoke("audit", "verify").stdout
    assert "No row agrees" in invoke("audit", "search").stderr
    assert invoke("audit", "tail").stdout == ""


def test_a_database_that_is_away_is_said_without_its_password() -> None:
    for command in (("audit", "verify"), ("approvals",), ("approve", "app_x")):
        result = invoke(*command, "--store", "postgresql://user:secret@127.0.0.1:1/x")
        assert result.exit_code == 1
        assert "cannot be used" in result.output
        assert "secret" not in result.output


class TestApprovals:
    @pytest.fixture
    def waiting(self, url: str) -> str:
        async def work(database: Database, recorder: Recorder) -> str:
            asked = await Approvals(database, recorder).request(
                persona_id="per_aaaaaaaaaaaaaaaa",
                persona="ada",
                user="ada@example.com",
                tool="cancel_task",
                digest="sha256:1",
                arguments={"task_id": "t-17", "api_key": "live_5up3rs3cr3tv4lu3"},
                why="cannot be undone",
            )
            return asked.id

        approval: str = within(url, work)
        return approval

    def take(self, url: str) -> str | None:
        async def work(database: Database, recorder: Recorder) -> str | None:
            return await Approvals(database, recorder).take(
                persona_id="per_aaaaaaaaaaaaaaaa", tool="cancel_task", digest="sha256:1"
            )

        state: str | None = within(url, work)
        return state

    def test_what_waits_is_listed_with_its_arguments_and_without_secrets(self, waiting: str) -> None:
        shown = invoke("approvals").stdout
        assert waiting in shown
        assert "t-17" in shown
        assert "5up3r" not in shown
        (listed,) = json.loads(invoke("approvals", "--json").stdout)
        assert (listed["id"], listed["state"], listed["why"]) == (waiting, "waiting", "cannot be undone")
        assert datetime.fromisoformat(listed["expires_at"]) > datetime.fromisoformat(listed["created_at"])

    def test_an_approved_call_may_be_made_once_and_the_trail_says_who_agreed(self, waiting: str, url: str) -> None:
        assert self.take(url) == "waiting"
        result = invoke("approve", waiting)
        assert (result.exit_code, "cancel_task" in result.stdout) == (0, True)
        assert [self.take(url), self.take(url)] == ["approved", None]
        rows = json.loads(invoke("audit", "search", "--kind", "approval.", "--json").stdout)
        assert [row["kind"] for row in rows] == ["approval.used", "approval.approved", "approval.asked"]
        assert rows[1]["content"]["actor"].startswith("cli:")
        assert "Nothing waits" in invoke("approvals").stderr
        assert waiting in invoke("approvals", "--all").stdout

    def test_a_denied_call_is_refused_and_decided_once(self, waiting: str, url: str) -> None:
        assert invoke("deny", waiting).exit_code == 0
        assert self.take(url) == "denied"
        again = invoke("approve", waiting)
        assert (again.exit_code, "it is denied by cli:" in again.output) == (1, True)

    def test_what_does_not_exist_is_said(self) -> None:
        assert invoke("approve", "app_nothing").exit_code == 1
        assert invoke("deny", "nonsense").exit_code == 2


def test_the_help_of_each_command_has_examples_and_exit_codes() -> None:
    for command in ("audit", "approvals", "approve", "deny"):
        shown = invoke(command, "--help").stdout
        assert "Examples" in shown
        assert "Exit codes" in shown

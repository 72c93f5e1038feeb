"""``scale-mcp tools`` and ``scale-mcp call``: what agents get, from a shell."""

import json
import socket
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner, Result

from scale_mcp.cli.app import app

from .conftest import Start, run
from .test_sandbox import address_of

SECRET = "live_5up3rs3cr3tv4lu3"
PROJECT = json.dumps({"name": "streets", "type": "imageannotation"})


def tools(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, ["tools", *arguments], env=env)


def test_the_table_has_every_tool_with_its_risk() -> None:
    shown = tools().output
    for name, risk in (("get_task", "read"), ("finalize_batch", "spend"), ("cancel_task", "destroy")):
        assert any(name in line and risk in line for line in shown.splitlines())
    assert "46 tools" in shown


def test_json_holds_complete_valid_definitions() -> None:
    listed = json.loads(tools("--json").stdout)
    assert len(listed) == 46
    for tool in listed:
        jsonschema.Draft202012Validator.check_schema(tool["inputSchema"])
        jsonschema.Draft202012Validator.check_schema(tool["outputSchema"])
        assert tool["description"]
        assert tool["annotations"]["readOnlyHint"] in (True, False)


def test_markdown_is_one_row_per_tool() -> None:
    rows = [line for line in tools("--markdown").stdout.splitlines() if line.startswith("| `")]
    assert len(rows) == 46
    assert all(row.count(" | ") == 2 for row in rows)


@pytest.mark.parametrize("flag", ["--toolset", "--toolsets"])
def test_toolsets_and_the_other_filters_narrow_the_list(flag: str) -> None:
    names = [tool["name"] for tool in json.loads(tools(flag, "team,batches", "--read-only", "--json").stdout)]
    assert set(names) == {"list_teammates", "get_batch", "get_batch_status", "list_batches"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--toolset", "taks"], "tasks"), (["--tools", "get_tsk"], "get_task"), (["--json", "--markdown"], "one of")],
)
def test_a_wrong_filter_is_refused_with_a_suggestion(arguments: list[str], said: str) -> None:
    result = tools(*arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_a_call_prints_what_an_agent_reads_and_keeps_its_data_in_a_file(tmp_path: Path) -> None:
    box = ("--sandbox", "--sandbox-db", str(tmp_path / "box.db"))
    done = run("call", "create_project", *box, "--json", PROJECT)
    assert done.returncode == 0, done.stderr
    assert "streets" in done.stdout
    assert "<scale-data" not in done.stdout
    assert done.stderr == ""
    listed = run("call", "list_projects", *box, "--output", "json")
    assert "streets" in json.dumps(json.loads(listed.stdout))


def test_arguments_come_from_a_file_or_stdin(tmp_path: Path) -> None:
    file = tmp_path / "project.json"
    file.write_text(PROJECT)
    assert run("call", "create_project", "--sandbox", "--json", f"@{file}").returncode == 0
    assert run("call", "create_project", "--sandbox", "--json", "-", given=PROJECT).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["get_tsk", "--sandbox"], 2, "get_task"),
        (["create_project", "--sandbox", "--read-only"], 2, "read-only"),
        (["get_task", "--sandbox", "--json", "{task_id}"], 2, "not valid JSON"),
        (["get_task", "--sandbox", "--json", "[]"], 2, "takes an object"),
        (["get_task", "--sandbox", "--json", "@/no/such/file"], 2, "/no/such/file"),
        (["get_task", "--sandbox", "--json", '{"taskid": "x"}'], 2, "task_id"),
        (["get_task", "--sandbox", "--json", '{"task_id": "5774cc78b01249ab09f089dd"}'], 1, "404"),
        (["list_projects"], 2, "--sandbox"),
    ],
)
def test_every_kind_of_failure_has_its_exit_code(arguments: list[str], code: int, said: str) -> None:
    done = run("call", *arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_failure_is_json_too_when_asked() -> None:
    done = run("call", "get_task", "--sandbox", "--output", "json", "--json", '{"task_id": "5774cc78b01249ab09f089dd"}')
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "not_found"


def test_a_closed_port_is_exit_code_3() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    done = run("call", "list_projects", SCALE_API_KEY=SECRET, SCALE_API_URL=f"http://127.0.0.1:{port}/v1")
    assert done.returncode == 3
    assert SECRET not in done.stdout + done.stderr


def test_a_refused_key_is_exit_code_4(start: Start) -> None:
    address = address_of(start("sandbox", "--port", "0"))
    done = run("call", "list_projects", SCALE_API_KEY="nonsense", SCALE_API_URL=f"{address}/v1")
    assert done.returncode == 4, done.stderr


def test_on_a_live_key_what_cannot_be_undone_needs_a_yes(start: Start) -> None:
    url = address_of(start("sandbox", "--port", "0")) + "/v1"
    live = {"SCALE_API_KEY": SECRET, "SCALE_API_URL": url}
    assert run("call", "create_project", "--json", PROJECT, **live).returncode == 0
    wipe = ("call", "set_project_params", "--json", '{"name": "streets", "instruction": "Anew.", "patch": false}')
    refused = run(*wipe, **live)
    assert refused.returncode == 5, refused.stderr
    assert "--yes" in refused.stderr
    assert run(*wipe, "--yes", **live).returncode == 0
    test_key = {"SCALE_API_KEY": "test_me", "SCALE_API_URL": url}
    assert run("call", "create_project", "--json", PROJECT, **test_key).returncode == 0
    assert run(*wipe, **test_key).returncode == 0, "a test key is never asked about"

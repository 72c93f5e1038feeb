"""``scale-mcp serve`` as a process: the handshake, the wire, and every refusal to start."""

import json
import re
import signal
import socket
import subprocess
from pathlib import Path

import httpx2
import pytest
from mcp import Client, StdioServerParameters

from scale_mcp.cli import serving
from scale_mcp.cli.hosts import PLACEHOLDER
from scale_mcp.settings import load_settings

from .conftest import COMMAND, TREE, Start, run

SECRET = "live_5up3rs3cr3tv4lu3"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


def parameters(*arguments: str, **environment: str) -> StdioServerParameters:
    return StdioServerParameters(
        command=COMMAND[0], args=[*COMMAND[1:], "serve", *arguments], env={"PYTHONPATH": TREE, **environment}
    )


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_official_client_gets_all_tools_and_a_working_sandbox(mode: str) -> None:
    async with Client(parameters("--sandbox"), mode=mode, read_timeout_seconds=30) as client:
        tools = (await client.list_tools()).tools
        assert len(tools) == 46
        made = await client.call_tool("create_project", {"name": "streets", "type": "imageannotation"})
        assert not made.is_error
        listed = await client.call_tool("list_projects", {})
        assert "streets" in json.dumps(listed.structured_content)


@pytest.mark.anyio
async def test_flags_and_variables_shape_the_list() -> None:
    async with Client(parameters("--sandbox", "--toolsets", "projects", SCALE_MCP_READ_ONLY="true")) as client:
        assert sorted(tool.name for tool in (await client.list_tools()).tools) == ["get_project", "list_projects"]
    async with Client(parameters("--sandbox", "--discovery")) as client:
        assert len((await client.list_tools()).tools) == 3


def test_nothing_but_the_protocol_is_on_stdout_and_a_closed_stdin_ends_it(start: Start) -> None:
    process = start("serve", "--sandbox", SCALE_API_KEY=SECRET, SCALE_MCP_LOG_LEVEL="debug")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(INITIALIZE) + "\n")
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    assert answer["result"]["serverInfo"]["name"] == "scale-mcp"
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert out == ""
    assert SECRET not in err
    assert "Traceback" not in err


def test_sigterm_ends_it_in_order(start: Start) -> None:
    process = start("serve", "--sandbox")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(INITIALIZE) + "\n")
    process.stdin.flush()
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()


def test_the_sandbox_can_be_looked_at_over_http_while_it_is_served(start: Start) -> None:
    process = start("serve", "--sandbox", "--sandbox-port", "0")
    assert process.stderr is not None
    found = re.search(r"The sandbox is at (http://127\.0\.0\.1:\d+)/v1 \(key (\w+)\)", process.stderr.readline())
    assert found
    with httpx2.Client(base_url=found[1], timeout=10) as client:
        assert client.get("/v1/projects", auth=(found[2], "")).json() == []
        assert client.get("/_sandbox/clock").status_code == 200
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err


def test_a_sandbox_port_in_use_is_explained() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("serve", "--sandbox", "--sandbox-port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "--sandbox-port 0 takes any" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_that_only_the_tools_know_is_refused_with_the_sandbox_open_too() -> None:
    done = run("serve", "--sandbox", "--sandbox-port", "0", "--toolsets", "taks")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_http_serves_a_health_check(start: Start) -> None:
    process = start("serve", "--sandbox", "--transport", "http", "--port", "0", "--log-format", "json")
    assert process.stderr is not None
    port = None
    for line in process.stderr:
        if "127.0.0.1:" in line:
            port = line.split("127.0.0.1:")[1].split("/")[0].split('"')[0]
            break
    assert port
    assert httpx2.get(f"http://127.0.0.1:{port}/healthz", timeout=10).status_code == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        ([], {}, ["SCALE_API_KEY", "--sandbox"]),
        ([], {"SCALE_API_KEY": PLACEHOLDER}, ["placeholder"]),
        ([], {"SCALE_API_KEY": "${SCALE_API_KEY}"}, ["without filling it in"]),
        (["--sandbox", "--red-only"], {}, ["--read-only"]),
        (["--sandbox"], {"SCALE_MCP_REDONLY": "1"}, ["Did you mean SCALE_MCP_READ_ONLY?"]),
        (["--sandbox", "--confirm", "alway"], {}, ["always"]),
        (["--sandbox", "--toolsets", "taks"], {}, ["tasks"]),
        (["--sandbox", "--exclude-tools", "get_tsk"], {}, ["get_task"]),
        (["--sandbox", "--port", "99999"], {}, ["--port"]),
        (["--sandbox", "--transport", "http", "--host", "0.0.0.0"], {}, ["no authentication"]),
        (["--sandbox", "--upload-root", "/no/such/folder"], {}, ["--upload-root", "does not exist"]),
        ([], {"SCALE_API_KEY": SECRET, "SCALE_API_URL": "http://example.com/v1"}, ["SCALE_API_URL", "plain http"]),
    ],
)
def test_it_refuses_to_start_with_a_cure(arguments: list[str], environment: dict[str, str], said: list[str]) -> None:
    done = run("serve", *arguments, **environment)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    for part in said:
        assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stderr


def test_a_sandbox_file_that_cannot_be_used_is_explained(tmp_path: Path) -> None:
    file = tmp_path / "notes.db"
    file.write_text("this is not a database\n" * 100)
    done = run("serve", "--sandbox", "--sandbox-db", str(file))
    assert done.returncode == 1
    assert "--sandbox-db" in done.stderr
    assert "Traceback" not in done.stderr


def test_python_dash_m_is_the_same_command() -> None:
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("scale-mcp ")


@pytest.mark.parametrize(
    ("transport", "installed", "platform", "expected"),
    [
        ("http", True, "linux", True),
        ("http", False, "linux", False),
        ("http", True, "win32", False),
        ("stdio", True, "linux", False),
    ],
)
def test_uvloop_runs_the_http_server_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, transport: str, installed: bool, platform: str, expected: bool
) -> None:
    monkeypatch.setattr(serving, "find_spec", lambda name: object() if installed else None)
    monkeypatch.setattr(serving.sys, "platform", platform)

    assert serving.event_loop(load_settings({"transport": transport})) == {"use_uvloop": expected}

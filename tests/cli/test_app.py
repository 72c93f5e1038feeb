"""The command itself: help worth reading, quick, and a suggestion for what was misspelt."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner, Result

from scale_mcp.cli.app import COMMANDS, app
from scale_mcp.cli.command import flow
from scale_mcp.cli.options import ENVIRONMENT_ONLY
from scale_mcp.settings import Settings


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), prog_name="scale-mcp")


def test_scale_mcp_alone_shows_every_command() -> None:
    result = invoke()
    for name in COMMANDS:
        assert name in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_examples_and_exit_codes(command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    for part in (f"Usage: scale-mcp {command}", "Examples", "Exit codes", f"scale-mcp {command}"):
        assert part in result.output


def test_help_and_version_import_nothing_heavy() -> None:
    heavy = ["mcp", "pydantic", "httpx2", "starlette", "uvicorn", "PIL", "scale_mcp.sandbox", "scale_mcp.tools"]
    code = (
        "import sys\n"
        "from scale_mcp.cli.app import app\n"
        "try:\n    app(['--help'], prog_name='scale-mcp')\n"
        "except SystemExit:\n    pass\n"
        f"print('LOADED', [name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serv"], "serve"),
        (["doktor"], "doctor"),
        (["serve", "--red-only"], "--read-only"),
        (["serve", "--tolsets", "tasks"], "--toolsets"),
        (["sandbox", "--clok", "fast"], "--clock"),
        (["sandbox", "--clock", "quick"], "manual"),
        (["call", "list_projects", "--jsn", "{}"], "--json"),
        (["serve", "extra"], "extra"),
    ],
)
def test_what_is_misspelt_is_refused_with_a_suggestion(arguments: list[str], said: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_every_setting_but_the_keys_is_a_flag_of_serve() -> None:
    shown = invoke("serve", "--help").output
    for name, field in Settings.model_fields.items():
        flag = f"--{name.replace('_', '-')}"
        words = set(shown.split())  # --master-key-file is not --master-key
        assert (flag in words) is (name not in ENVIRONMENT_ONLY and not field.exclude), name


def test_paragraphs_flow_and_tables_stay() -> None:
    assert flow("One\ntwo.\n\nExamples\n  a  b\n  c  d") == "One two.\n\nExamples\n  a  b\n  c  d"

"""The operator's commands before anything is opened: what they ask for, refuse and never repeat."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from scale_mcp.cli.app import app
from scale_mcp.hosting.master_keys import new_master_key

from .conftest import COMMAND, run

CANARY = "live_c4n4ryXq7Zk2Vd9Lm"
SECRET_TAKERS = [("add", "main"), ("add-key", "main"), ("rotate", "main"), ("callback-secret", "main")]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database and a file for master keys, neither of them there yet."""
    monkeypatch.setenv("SCALE_MCP_STORE", f"sqlite:///{tmp_path / 'hosted.db'}")
    monkeypatch.setenv("SCALE_MCP_MASTER_KEY_FILE", str(tmp_path / "master.keys"))
    return tmp_path


def invoke(*arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(app, list(arguments), prog_name="scale-mcp", input=given)


@pytest.mark.parametrize("command", SECRET_TAKERS, ids=lambda command: command[0])
def test_a_key_as_an_argument_is_refused_and_not_repeated(command: tuple[str, str], place: Path) -> None:
    for given in ([CANARY], ["--key", CANARY], [f"--key={CANARY}"], [f"--api-key={CANARY}"]):
        result = invoke("connection", *command, *given)

        assert result.exit_code == 2
        assert "c4n4ry" not in result.output
    assert "a key is never an argument" in invoke("connection", *command, CANARY).output
    assert not (place / "hosted.db").exists()


@pytest.mark.parametrize("command", SECRET_TAKERS, ids=lambda command: command[0])
def test_nothing_on_stdin_and_an_unset_variable_are_told_apart(command: tuple[str, str]) -> None:
    assert "nothing came in on standard input" in invoke("connection", *command, given="\n").output
    from_variable = invoke("connection", *command, "--key-env", "NO_SUCH_VARIABLE", given=CANARY)
    assert "the variable NO_SUCH_VARIABLE is not set" in from_variable.output
    assert from_variable.exit_code == 2


def test_removing_is_asked_about_and_needs_yes_without_a_terminal() -> None:
    result = invoke("connection", "remove", "main")

    assert result.exit_code == 5
    assert "--yes" in result.output


def test_an_empty_list_says_how_to_go_on_and_needs_no_master_key() -> None:
    assert "scale-mcp connection add NAME" in invoke("connection", "list").output
    assert invoke("connection", "list", "--json").stdout.strip() == "[]"


def test_a_saved_master_key_is_not_printed_and_opens_the_vault(place: Path) -> None:
    missing = invoke("vault", "status")
    assert missing.exit_code == 1
    assert "vault new-key --save" in missing.output

    made = invoke("vault", "new-key", "--save")

    content = (place / "master.keys").read_text()
    key_id, _, key = content.strip().partition(":")
    assert key_id in made.output
    assert key not in made.output
    assert (place / "master.keys").stat().st_mode & 0o777 == 0o600
    assert key_id in invoke("vault", "status").output


def test_one_command_rotates_with_a_new_master_key_in_the_file(place: Path) -> None:
    invoke("vault", "new-key", "--save")
    old = (place / "master.keys").read_text().partition(":")[0]
    assert invoke("connection", "add", "main", "--no-check", given=CANARY).exit_code == 0

    rotated = invoke("vault", "rotate", "--new-key")

    new = (place / "master.keys").read_text().partition(":")[0]
    assert new != old
    assert f"2 secrets were sealed anew; all are sealed with {new} now." in rotated.output
    assert "not needed any more" in invoke("vault", "status").output
    assert "is the current master key" in invoke("vault", "forget", new).output
    assert invoke("vault", "forget", old).exit_code == 0
    assert (place / "master.keys").read_text().count(":") == 1
    assert "no master key" in invoke("vault", "forget", old).output
    assert "age" in invoke("connection", "list").output


def test_a_master_key_that_is_needed_is_not_forgotten(place: Path) -> None:
    invoke("vault", "new-key", "--save")
    old = (place / "master.keys").read_text().partition(":")[0]
    invoke("connection", "add", "main", "--no-check", given=CANARY)
    invoke("vault", "new-key", "--save")

    result = invoke("vault", "forget", old)

    assert result.exit_code == 1
    assert "needed by 2 secrets" in result.output
    assert (place / "master.keys").read_text().count(":") == 2


def test_a_missing_master_key_shows_in_the_status_and_in_its_exit_code(place: Path) -> None:
    invoke("vault", "new-key", "--save")
    invoke("connection", "add", "main", "--no-check", given=CANARY)
    (place / "master.keys").write_text(f"{new_master_key().written.get_secret_value()}\n")

    result = invoke("vault", "status")

    assert result.exit_code == 1
    assert "missing: the vault cannot be opened without it" in result.output


def test_the_table_shows_fingerprints_and_retired_keys_only_when_asked() -> None:
    invoke("vault", "new-key", "--save")
    invoke("connection", "add", "main", "--no-check", given=CANARY)
    invoke("connection", "rotate", "main", "--no-check", given="live_0ther")

    assert "retired" not in invoke("connection", "list").output
    every = invoke("connection", "list", "--all").output
    assert "retired" in every
    assert "0ther" not in every


def test_a_password_in_the_address_of_the_database_is_not_shown() -> None:
    result = invoke("connection", "list", "--store", "postgresql://ada:hunter2@127.0.0.1:1/x")

    assert result.exit_code == 1
    assert "cannot be used" in result.output
    assert "hunter2" not in result.output


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals")
def test_a_key_that_is_typed_at_the_prompt_is_not_echoed() -> None:
    import pty

    invoke("vault", "new-key", "--save")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "connection", "add", "main", "--no-check"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,  # without the terminal of whoever runs the tests
        close_fds=True,
    )
    os.close(theirs)
    shown = b""
    try:
        while b"Scale API key: " not in shown:  # the blank comes once the echo is off
            shown += os.read(ours, 4096)
        os.write(ours, f"{CANARY}\n".encode())
        with suppress(OSError):  # the other end is closed: it has ended
            while more := os.read(ours, 4096):
                shown += more
        assert process.wait(timeout=60) == 0, shown
    finally:
        process.kill()
        process.wait()
        os.close(ours)

    assert b"Added main" in shown
    assert b"c4n4ry" not in shown


def test_a_key_that_is_piped_in_is_not_repeated() -> None:
    invoke("vault", "new-key", "--save")

    done = run("connection", "add", "main", "--no-check", given=CANARY)

    assert done.returncode == 0
    assert "c4n4ry" not in done.stdout + done.stderr


def test_a_sandbox_is_looked_for_where_it_listens_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scale_mcp.cli.connection.SANDBOX", "http://127.0.0.1:1/v1")
    invoke("vault", "new-key", "--save")

    assert "http://127.0.0.1:1/v1" in invoke("connection", "add", "box", "--kind", "sandbox", given=CANARY).output
    elsewhere = ("--kind", "sandbox", "--api-url", "http://127.0.0.1:2/v1")
    assert "http://127.0.0.1:2/v1" in invoke("connection", "add", "box", *elsewhere, given=CANARY).output


def test_an_address_on_this_machine_that_is_not_called_a_sandbox_is_pointed_out() -> None:
    invoke("vault", "new-key", "--save")

    added = invoke("connection", "add", "box", "--api-url", "http://127.0.0.1:1/v1", "--no-check", given=CANARY)

    assert added.exit_code == 0
    assert "--kind sandbox" in added.output

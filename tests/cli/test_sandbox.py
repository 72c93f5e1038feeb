"""``scale-mcp sandbox`` as a process: it serves, it says where, and it ends in order."""

import json
import re
import signal
import socket
from pathlib import Path

import httpx2
import pytest

from .conftest import Start, run


def address_of(process: object) -> str:
    """The address it says it listens on, as soon as it says so."""
    said = ""
    while line := process.stderr.readline():  # type: ignore[attr-defined]
        said += line
        if "Ctrl-C ends it" in line:
            break
    found = re.search(r"Scale's API in a box: (http://\S+)/v1", said)
    assert found, said
    return found[1]


def test_it_serves_scales_api_over_http_and_ends_on_sigterm(start: Start) -> None:
    process = start("sandbox", "--port", "0")
    address = address_of(process)
    with httpx2.Client(base_url=address, timeout=10) as client:
        assert client.get("/v1/projects").status_code == 401
        assert client.get("/v1/projects", auth=("test_me", "")).json() == []
        assert client.get("/openapi.json").json()["openapi"].startswith("3.")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert out == ""
    assert "The sandbox has ended." in err


def test_what_it_was_told_is_kept_in_its_file(start: Start, tmp_path: Path) -> None:
    file = str(tmp_path / "box.db")
    project = {"name": "kept", "type": "imageannotation"}
    for expected in ([], ["kept"]):
        process = start("sandbox", "--port", "0", "--db", file)
        with httpx2.Client(base_url=address_of(process), auth=("live_me", ""), timeout=10) as client:
            assert [item["name"] for item in client.get("/v1/projects").json()] == expected
            if not expected:
                assert client.post("/v1/projects", json=project).status_code == 200
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def test_a_manual_clock_moves_only_when_told(start: Start) -> None:
    process = start("sandbox", "--port", "0", "--clock", "manual", "--seed", "3", "--workers", "2")
    with httpx2.Client(base_url=address_of(process), timeout=10) as client:
        before = client.get("/_sandbox/clock").json()
        assert client.get("/_sandbox/clock").json() == before
        client.post("/_sandbox/clock/advance", json={"seconds": 3600})
        assert client.get("/_sandbox/clock").json() != before


def test_a_port_in_use_is_explained() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("sandbox", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "--port 0 takes any free port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_database_is_explained(tmp_path: Path) -> None:
    file = tmp_path / "notes.db"
    file.write_text(json.dumps({"not": "a database"}) * 100)
    done = run("sandbox", "--port", "0", "--db", str(file))
    assert done.returncode == 1
    assert "Give another file with --db" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["--speed", "0"], ["--workers", "0"], ["--port", "70000"]])
def test_values_out_of_range_are_refused(arguments: list[str]) -> None:
    done = run("sandbox", *arguments)
    assert done.returncode == 2
    assert arguments[0] in done.stderr

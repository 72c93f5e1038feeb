"""``scale-mcp doctor``: every finding with a cure, and never a character of the key."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scale_mcp.cli.connecting import NoKey, check_key
from scale_mcp.cli.hosts import PLACEHOLDER
from scale_mcp.settings import load_settings

from .conftest import Start, run
from .test_sandbox import address_of

SECRET = "live_5up3rs3cr3tv4lu3"


@contextmanager
def answering(reply: bytes) -> Iterator[str]:
    """Something on a port that gives the same answer to every request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(reply)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def findings(output: str) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in json.loads(output)["checks"]}


def test_all_is_well_with_a_sandbox_over_http_and_the_key_stays_hidden(start: Start) -> None:
    address = address_of(start("sandbox", "--port", "0"))
    done = run("doctor", "--json", SCALE_API_KEY=SECRET, SCALE_API_URL=f"{address}/v1")
    found = findings(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    expected = ["Versions", "Key", "Address", "Clock", "Login", "Tools", "Start"]
    assert {name: check["status"] for name, check in found.items()} == dict.fromkeys(expected, "ok")
    assert "live key" in found["Key"]["detail"]
    assert "46 tools" in found["Tools"]["detail"]
    assert "46 tools" in found["Start"]["detail"]
    chunks = [SECRET[at : at + 5] for at in range(5, len(SECRET) - 4)]
    assert not [chunk for chunk in chunks if chunk in done.stdout + done.stderr]


def test_a_person_reads_marks_and_a_conclusion() -> None:
    done = run("doctor", "--sandbox")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✓ Tools" in done.stdout
    assert "All in order." in done.stdout


def test_the_started_server_has_the_settings_that_were_asked_about() -> None:
    done = run("doctor", "--sandbox", "--json", "--toolsets", "team,files", "--read-only")
    found = findings(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert found["Tools"]["detail"].startswith("2 tools")
    assert "2 tools" in found["Start"]["detail"]


def test_a_closed_port_is_named_with_its_cure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    done = run("doctor", "--json", SCALE_API_KEY=SECRET, SCALE_API_URL=f"http://127.0.0.1:{port}/v1")
    address = findings(done.stdout)["Address"]
    assert done.returncode == 3
    assert address["detail"] == f"nothing listens on 127.0.0.1:{port}"
    assert "scale-mcp sandbox" in address["cure"]
    assert findings(done.stdout)["Login"]["status"] == "skip"


def test_a_name_that_does_not_exist_is_told_from_a_network_that_does_not_work() -> None:
    done = run("doctor", "--json", SCALE_API_KEY=SECRET, SCALE_API_URL="https://no-such-host.invalid/v1")
    assert done.returncode == 3
    assert "no-such-host.invalid could not be resolved" in findings(done.stdout)["Address"]["detail"]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 5\r\n\r\nlogin", "Something else is at"),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "ends in /v1"),
    ],
)
def test_something_else_at_the_address_is_not_taken_for_scale(reply: bytes, said: str) -> None:
    with answering(reply) as url:
        done = run("doctor", "--json", SCALE_API_KEY=SECRET, SCALE_API_URL=url)
    assert done.returncode == 3
    assert said in findings(done.stdout)["Address"]["cure"]


def test_a_server_that_speaks_no_tls_is_explained() -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url:
        done = run("doctor", "--json", SCALE_API_KEY=SECRET, SCALE_API_URL=url.replace("http:", "https:"))
    assert done.returncode == 3
    assert "does not speak TLS" in findings(done.stdout)["Address"]["detail"]


def test_a_refused_key_and_a_wrong_clock_are_found() -> None:
    refusal = (
        b"HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ndate: Sat, 01 Jan 2022 00:00:00 GMT\r\n"
        b'content-length: 40\r\n\r\n{"status_code":401,"error":"Bad key."}  '
    )
    with answering(refusal) as url:
        done = run("doctor", "--json", SCALE_API_KEY=SECRET, SCALE_API_URL=url)
    found = findings(done.stdout)
    assert done.returncode == 4
    assert found["Login"]["detail"] == "the key was refused"
    assert found["Clock"]["status"] == "warn"
    assert "ahead of the server" in found["Clock"]["detail"]


def test_without_a_key_both_ways_to_go_on_are_named() -> None:
    with answering(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n") as url:
        done = run("doctor", SCALE_API_URL=url)
    assert done.returncode == 2
    assert "SCALE_API_KEY" in done.stdout
    assert "--sandbox" in done.stdout


def test_settings_that_cannot_be_used_are_explained_at_once() -> None:
    done = run("doctor", SCALE_MCP_REDONLY="true")
    assert done.returncode == 2
    assert "Did you mean SCALE_MCP_READ_ONLY?" in done.stderr


@pytest.mark.parametrize(
    ("key", "said"),
    [("", "no Scale API key"), (PLACEHOLDER, "placeholder"), ("${SCALE_API_KEY}", "without filling it in")],
)
def test_what_is_only_in_the_place_of_a_key_is_recognised(key: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALE_API_KEY", key)
    with pytest.raises(NoKey, match=said):
        check_key(load_settings())
    check_key(load_settings({"sandbox": True}))


HOSTED = {"SCALE_MCP_HOSTED": "true"}


def test_a_hosted_server_that_is_not_set_up_yet_is_told_what_comes_next(tmp_path: Path) -> None:
    where = {"SCALE_MCP_STORE": f"sqlite:///{tmp_path / 'hosted.db'}"}
    keys = {"SCALE_MCP_MASTER_KEY_FILE": str(tmp_path / "master.keys")}

    without_key = run("doctor", "--hosted", "--json", "--port", "1", **where, **keys)
    run("vault", "new-key", "--save", **keys)
    empty = run("doctor", "--hosted", "--json", "--port", "1", **where, **keys)

    assert without_key.returncode == 1
    assert "vault new-key --save" in findings(without_key.stdout)["Vault"]["detail"]
    assert empty.returncode == 0, empty.stdout + empty.stderr
    found = findings(empty.stdout)
    assert "connection add" in found["Account"]["cure"]
    assert "persona add" in found["Personas"]["cure"]
    assert "serve --transport http --hosted" in found["Server"]["cure"]


def test_a_hosted_server_with_everything_is_in_order_and_what_is_missing_is_named(start: Start, tmp_path: Path) -> None:
    address = f"{address_of(start('sandbox', '--port', '0'))}/v1"
    own = {**HOSTED, "SCALE_MCP_STORE": f"sqlite:///{tmp_path / 'hosted.db'}"}
    own["SCALE_MCP_MASTER_KEY_FILE"] = str(tmp_path / "master.keys")
    run("vault", "new-key", "--save", **own)
    run("connection", "add", "main", "--kind", "sandbox", "--api-url", address, "--key-env", "KEY", KEY=SECRET, **own)
    run("persona", "add", "ada", "--scope", "*:read", "--route", "main", **own)

    without_token = run("doctor", "--json", "--port", "1", **own)
    run("persona", "token", "ada", **own)
    whole = run("doctor", "--json", "--port", "1", **own)
    run("persona", "add", "lost", "--scope", "*:read", **own)
    with_lost = run("doctor", "--json", "--port", "1", **own)

    assert findings(without_token.stdout)["Persona"]["cure"] == "scale-mcp persona token ada"
    in_order = {name: check["status"] for name, check in findings(whole.stdout).items() if name != "Server"}
    assert set(in_order) == {"Versions", "Settings", "Store", "Vault", "Account", "Personas"}
    assert set(in_order.values()) == {"ok"}
    assert "lost has no route" in findings(with_lost.stdout)["Persona"]["detail"]
    assert SECRET[5:] not in whole.stdout + with_lost.stdout + without_token.stdout


def test_settings_a_hosted_server_would_not_start_with_and_a_key_that_is_refused_fail(tmp_path: Path) -> None:
    own = {**HOSTED, "SCALE_MCP_STORE": f"sqlite:///{tmp_path / 'hosted.db'}"}
    own["SCALE_MCP_MASTER_KEY_FILE"] = str(tmp_path / "master.keys")
    run("vault", "new-key", "--save", **own)
    with answering(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n{}") as address:
        place = ("--api-url", address, "--no-check")
        run("connection", "add", "main", *place, "--key-env", "KEY", KEY=SECRET, **own)
        refused = run("doctor", "--json", "--port", "1", **own)
    foreign = run("doctor", "--json", "--port", "1", "--public-url", "https://tools.example.com", **own)

    assert refused.returncode == 4
    assert findings(refused.stdout)["Account"]["cure"].endswith("connection rotate main")
    assert foreign.returncode == 2
    assert "--allowed-hosts" in findings(foreign.stdout)["Settings"]["detail"]

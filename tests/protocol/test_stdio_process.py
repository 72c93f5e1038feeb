"""The stdio server as a process: only JSON-RPC on stdout, and a clean end however it comes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.doors import ROOT, SMALL, environment
from tests.small_cards import CANARY

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}},
}
READY = {"jsonrpc": "2.0", "method": "notifications/initialized"}


class Raw:
    """A server process spoken to line by line, without any SDK."""

    def __init__(self, *arguments: str) -> None:
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, *SMALL, *arguments],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.log: list[bytes] = []
        self.drain = threading.Thread(target=self._read_log, daemon=True)
        self.drain.start()

    def _read_log(self) -> None:
        assert self.process.stderr
        self.log.extend(self.process.stderr)

    def send(self, *messages: dict[str, Any] | bytes) -> None:
        assert self.process.stdin
        for message in messages:
            line = message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n"
            self.process.stdin.write(line)
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def call(self, number: int, tool: str, **arguments: Any) -> dict[str, Any]:
        return {
            "jsonrpc": "2.0",
            "id": number,
            "method": "tools/call",
            "params": {"name": tool, "arguments": arguments},
        }

    def greet(self) -> None:
        self.send(HELLO)
        assert self.receive()["id"] == 1
        self.send(READY)


@pytest.fixture
def raw() -> Iterator[Raw]:
    server = Raw("log_level=debug")
    yield server
    if server.process.poll() is None:
        server.process.kill()
    server.process.wait()
    server.drain.join(timeout=5)
    for stream in (server.process.stdin, server.process.stdout, server.process.stderr):
        if stream and not stream.closed:
            stream.close()


def test_closing_stdin_ends_it_with_zero(raw: Raw) -> None:
    raw.greet()
    assert raw.process.stdin
    raw.process.stdin.close()

    assert raw.process.wait(timeout=10) == 0
    assert raw.process.stdout
    assert raw.process.stdout.read() == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_zero_while_stdin_stays_open(raw: Raw, number: int) -> None:
    raw.greet()
    raw.process.send_signal(number)

    assert raw.process.wait(timeout=10) == 0


def test_a_signal_ends_it_in_the_middle_of_a_call(raw: Raw) -> None:
    raw.greet()
    waiting = raw.call(2, "wait")
    waiting["params"]["_meta"] = {"progressToken": 1}
    raw.send(waiting)
    assert raw.receive()["method"] == "notifications/progress"
    raw.process.send_signal(signal.SIGTERM)

    assert raw.process.wait(timeout=10) == 0


def test_a_client_that_writes_everything_and_closes_still_gets_its_answers() -> None:
    messages = [HELLO, READY, *({"jsonrpc": "2.0", "id": n, "method": "tools/list"} for n in range(2, 6))]
    finished = subprocess.run(
        [sys.executable, *SMALL],
        cwd=ROOT,
        env=environment(),
        input=b"\n".join(json.dumps(message).encode() for message in messages),  # and no newline at the end
        capture_output=True,
        timeout=20,
        check=True,
    )

    assert sorted(json.loads(line)["id"] for line in finished.stdout.splitlines()) == [1, 2, 3, 4, 5]


def test_every_line_on_stdout_is_json_rpc_whatever_goes_wrong(raw: Raw) -> None:
    raw.greet()
    raw.send(b"garbage\n", b"\n", b"[]\n", b'{"jsonrpc":"2.0"}\n', b"\xff\xfe\n", b"[" * 5000 + b"\n")
    for number, how in enumerate(["expected", "crash", "scale", "validation", "recursion"], 2):
        raw.send(raw.call(number, "fail", how=how))
    answers = {}
    while len(answers) < 5:
        answer = raw.receive()
        assert answer["jsonrpc"] == "2.0"
        if "id" in answer and isinstance(answer["id"], int):
            answers[answer["id"]] = answer
    raw.process.send_signal(signal.SIGTERM)
    raw.process.wait(timeout=10)

    assert raw.process.stdout
    assert CANARY not in json.dumps(answers)
    for line in raw.process.stdout.read().splitlines():
        assert json.loads(line)["jsonrpc"] == "2.0"
    raw.drain.join(timeout=5)
    for line in raw.log:
        assert json.loads(line)["event"], line  # debug logs are one JSON object per line, tracebacks included


def test_a_client_that_writes_far_ahead_without_reading_does_not_block_it(raw: Raw) -> None:
    raw.greet()
    raw.send(*(raw.call(number, "say", text="x" * 2000) for number in range(2, 502)))

    assert {raw.receive()["id"] for _ in range(500)} == set(range(2, 502))


def test_a_message_may_come_in_pieces(raw: Raw) -> None:
    raw.greet()
    line = json.dumps(raw.call(2, "look", name="tree ü")).encode() + b"\n"
    for start in range(0, len(line), 7):
        raw.send(line[start : start + 7])

    assert raw.receive()["result"]["structuredContent"] == {"said": "tree ü"}


def test_stdin_from_the_null_device_is_an_end_at_once() -> None:
    finished = subprocess.run(
        [sys.executable, *SMALL],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        check=False,
    )

    assert (finished.returncode, finished.stdout) == (0, b"")


@pytest.mark.parametrize(
    ("requested", "agreed"),
    [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ],
)
def test_every_older_version_is_agreed_on(raw: Raw, requested: str, agreed: str) -> None:
    raw.send({**HELLO, "params": {**HELLO["params"], "protocolVersion": requested}}, READY)  # type: ignore[dict-item]
    hello = raw.receive()["result"]
    raw.send({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}, {"jsonrpc": "2.0", "id": 3, "method": "ping"})
    answers = {answer["id"]: answer["result"] for answer in (raw.receive(), raw.receive())}

    assert hello["protocolVersion"] == agreed
    assert hello["capabilities"]["tools"] == {"listChanged": False}
    assert len(answers[2]["tools"]) == 9
    assert answers[3] == {}

"""The command with its front, and without it, as a host starts it: the same answers, the same exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable

import pytest

from front_answers import WITHOUT_FRONT
from tests.doors import ROOT, environment
from tests.front.wording import HANDSHAKE, LISTS, hello, modern, request

FRONT = [sys.executable, "-m", "scale_mcp", "serve", "--sandbox"]
PLAIN = [*WITHOUT_FRONT, "--sandbox"]
LIST = request("tools/list")
CALL = request("tools/call", 7, name="list_projects", arguments={})
MODERN_CALL = modern("tools/call", 7, name="list_projects", arguments={})
Outcome = tuple[int, Counter[str]]


def outcome(code: int, written: bytes) -> Outcome:
    written = re.sub(rb"scale-data [0-9a-f]{8}", b"scale-data", written)  # the fence around results is drawn each time
    return code, Counter(json.dumps(json.loads(line), sort_keys=True) for line in written.splitlines())


def by_pipe(command: list[str], script: bytes) -> Outcome:
    done = subprocess.run(command, input=script, capture_output=True, cwd=ROOT, env=environment(), timeout=30)
    return outcome(done.returncode, done.stdout)


def by_file(command: list[str], script: bytes) -> Outcome:
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as sink:
        source.write(script)
        source.seek(0)
        code = subprocess.run(
            command, stdin=source, stdout=sink, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment(), timeout=30
        ).returncode
        sink.seek(0)
        return outcome(code, sink.read())


def by_one_socket(command: list[str], script: bytes, *, blocking: bool = True) -> Outcome:
    """One socket is both stdin and stdout."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.setblocking(blocking)
            process = subprocess.Popen(
                command, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment()
            )
        ours.settimeout(30)
        ours.sendall(script)
        ours.shutdown(socket.SHUT_WR)
        written = b""
        while chunk := ours.recv(1 << 16):
            written += chunk
        return outcome(process.wait(timeout=30), written)


def by_one_socket_that_does_not_block(command: list[str], script: bytes) -> Outcome:
    return by_one_socket(command, script, blocking=False)


def by_the_null_device(command: list[str], script: bytes) -> Outcome:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, cwd=ROOT, env=environment(), timeout=30
    )
    return outcome(done.returncode, done.stdout)


EVERYTHING = HANDSHAKE + b"".join(request(method, method) for method in LISTS) + CALL
CONVERSATIONS: dict[str, tuple[Callable[[list[str], bytes], Outcome], bytes]] = {
    "handshake, lists and a call": (by_pipe, EVERYTHING),
    "modern lists and a call": (by_pipe, modern("server/discover", 1) + modern("tools/list", 2) + MODERN_CALL),
    "only lists": (by_pipe, HANDSHAKE + LIST),
    "no message": (by_pipe, b""),
    "the end within a line": (by_pipe, HANDSHAKE + LIST + CALL[:-20]),
    "noise": (by_pipe, b"noise\n" + HANDSHAKE + LIST + b"\xff\n" + CALL),
    "two eras": (by_pipe, HANDSHAKE + LIST + modern("tools/list", 5) + hello(number=6) + CALL),
    "a regular file": (by_file, EVERYTHING),
    "a regular file without a call": (by_file, HANDSHAKE + LIST),
    "one socket": (by_one_socket, EVERYTHING),
    "one socket that does not block": (by_one_socket_that_does_not_block, EVERYTHING),
    "the null device": (by_the_null_device, b""),
}


@pytest.mark.parametrize(("way", "script"), CONVERSATIONS.values(), ids=list(CONVERSATIONS))
def test_answers_and_exit_code_are_those_of_the_command_without_its_front(way, script: bytes):
    with_front = way(FRONT, script)

    assert with_front == way(PLAIN, script)
    assert with_front[0] == 0


REFUSED = {
    "an unknown tool": ["--sandbox", "--tools", "get_tasks"],
    "an unknown flag": ["--sandbox", "--read_only"],
    "a wrong value": ["--sandbox", "--confirm", "allways"],
    "no key": [],
}


@pytest.mark.parametrize("arguments", REFUSED.values(), ids=list(REFUSED))
def test_a_start_that_is_refused_is_refused_in_the_same_words(arguments: list[str]):
    said = [
        subprocess.run(
            [*command, *arguments], input=HANDSHAKE + LIST, capture_output=True, cwd=ROOT, env=environment(), timeout=30
        )
        for command in (FRONT[:-1], PLAIN[:-1])
    ]

    assert said[0].returncode == said[1].returncode == 2
    assert said[0].stderr == said[1].stderr
    assert said[0].stdout == said[1].stdout == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("command", "answered", "more"),
    [
        (FRONT, [hello()], b""),  # the front speaks
        (FRONT, [HANDSHAKE, LIST], CALL),  # the front steps back, and the server is being imported
        (FRONT, [HANDSHAKE, LIST, CALL], b""),  # the server speaks
        (PLAIN, [hello()], b""),
    ],
    ids=["front", "handover", "server", "without front"],
)
def test_a_process_told_to_end_ends_as_one_that_has_done_its_work(command, answered, more: bytes, number: int):
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env=environment(),
    ) as process:
        assert process.stdin
        assert process.stdout
        for message in answered:
            process.stdin.write(message)
            process.stdin.flush()
            assert "result" in json.loads(process.stdout.readline())
        process.stdin.write(more)
        process.stdin.flush()
        process.send_signal(number)
        assert process.wait(timeout=30) == 0
        assert {json.loads(line)["id"] for line in process.stdout} <= {7}  # if anything, the answer to the call


def test_a_client_that_stops_reading_and_leaves_makes_no_failure():
    for command in (FRONT, PLAIN):
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env=environment(),
        ) as process:
            assert process.stdin
            assert process.stdout
            process.stdout.close()
            process.stdin.write(HANDSHAKE + LIST)
            process.stdin.close()
            assert process.wait(timeout=30) == 0


def test_the_list_is_answered_before_anything_heavy_is_imported():
    script = """
import sys
from scale_mcp.cli import main
sys.argv = ["scale-mcp", "serve", "--sandbox", "--toolsets", "all", "--upload-root", "."]
try:
    main()
except SystemExit as end:
    sys.stderr.write(" ".join(sorted(sys.modules)) + f" {end.code}")
"""
    floor = "import json, os, select, sys; sys.stderr.write(' '.join(sorted(sys.modules)))"
    loaded, least = (
        subprocess.run(
            [sys.executable, "-c", code],
            input=HANDSHAKE + LIST,
            capture_output=True,
            cwd=ROOT,
            env=environment(),
            timeout=30,
        )
        for code in (script, floor)
    )

    assert [json.loads(line)["id"] for line in loaded.stdout.splitlines()] == [0, 1]
    *modules, code = loaded.stderr.decode().split()
    own = {"__future__", "scale_mcp", "scale_mcp.cli"} | {f"scale_mcp.front{part}" for part in ("", *PARTS)}
    assert code == "0"
    assert set(modules) - set(least.stderr.decode().split()) == own
    assert not {"asyncio", "typing", "logging", "pathlib", "argparse", "signal", "pydantic", "mcp"} & set(modules)


PARTS = (".answers", ".handover", ".opening", ".options", ".start")


def test_nothing_strays_onto_the_wire_from_the_front_on():
    """What is printed on descriptor 1 by whatever is imported goes to stderr."""
    stray = "import os; os.write(1, b'stray'); print('stray')\n"
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "anyio.py"), "w") as file:  # noqa: PTH118, PTH123
            file.write(f"{stray}raise SystemExit(9)\n")
        variables = environment({"PYTHONPATH": os.pathsep.join((folder, str(ROOT)))})
        done = subprocess.run(FRONT, input=HANDSHAKE + CALL, capture_output=True, env=variables, timeout=30)

    assert done.returncode == 9
    assert b"stray" in done.stderr
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [0]

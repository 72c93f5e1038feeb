"""The doors of a server as a process: stdio, /mcp and /sse, each for both protocol eras."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.sse import sse_client

ROOT = Path(__file__).parent.parent
Door = Literal["stdio", "mcp", "sse"]
ERAS = ("legacy", "2026-07-28")
EVERY_DOOR = pytest.mark.parametrize(
    ("door", "era"), [(door, era) for door in ("stdio", "mcp", "sse") for era in ERAS], ids=lambda value: str(value)
)
SMALL = ("-m", "tests.small_server")
REAL = ("-m", "scale_mcp", "serve")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What the process gets: nothing of ours but the way to the interpreter and the code."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "SYSTEMROOT") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **(extra or {})}


@dataclass
class Running:
    """A server process that listens on HTTP. ``log`` grows with what it writes to stderr."""

    process: subprocess.Popen[str]
    base: str
    log: list[str] = field(default_factory=list)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=10)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log if line.startswith("{")]


@contextmanager
def listening(command: Sequence[str], extra: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Start a server on a free port and wait until it says that it listens."""
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment(extra),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stdout is not None
    log: list[str] = []
    base = ""
    for line in process.stderr:
        log.append(line)
        if '"listening"' in line:
            base = json.loads(line)["mcp"].removesuffix("/mcp")
            break
    drain = threading.Thread(target=lambda stream: log.extend(stream), args=(process.stderr,), daemon=True)
    drain.start()
    try:
        assert base, "".join(log)
        yield Running(process, base, log)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=10)
        drain.join(timeout=5)
        written = process.stdout.read()
        process.stdout.close()
        process.stderr.close()
    assert written == ""  # nothing of an HTTP server's belongs on stdout


def at(base: str, door: str, era: str, **options: Any) -> Client:
    """A client of the official SDK at one of the HTTP doors."""
    target: Any = sse_client(f"{base}/sse") if door == "sse" else f"{base}/mcp"
    return Client(target, mode=era, **options)


def over_stdio(command: Sequence[str], era: str, extra: Mapping[str, str] | None = None, **options: Any) -> Client:
    """A client that starts the server itself."""
    parameters = StdioServerParameters(
        command=sys.executable, args=list(command), env=environment(extra), cwd=str(ROOT)
    )
    return Client(parameters, mode=era, **options)

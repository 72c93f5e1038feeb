"""The servers that a measurement needs, as processes of their own: the sandbox, the bare API, the contestants."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _common import KEY, PEERS, ROOT


def environment(**extra: str) -> dict[str, str]:
    """What a contestant gets of ours: hardly anything, as from a host."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "SYSTEMROOT") if name in os.environ}
    return {**kept, **extra}


@contextmanager
def process(command: Sequence[str], **extra: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server that runs until the end of the block. Its output goes nowhere."""
    running = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(**extra),
        cwd=ROOT,
    )
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(timeout=15)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, server: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Until somebody listens."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if server.poll() is not None:
            raise RuntimeError(f"{server.args!r} ended with {server.returncode} before it listened")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{server.args!r} did not listen")


@contextmanager
def sandbox(python: str, *flags: str) -> Iterator[str]:
    """The sandbox over HTTP. Yields its address, without ``/v1``."""
    port = free_port()
    with process([python, "-m", "scale_mcp", "sandbox", "--port", str(port), *flags]) as server:
        wait_for(port, server)
        yield f"http://127.0.0.1:{port}"


@contextmanager
def bare_api(python: str = sys.executable) -> Iterator[str]:
    """The bare API of ``_bare_api.py``. Yields its address, without ``/v1``."""
    port = free_port()
    with process([python, str(Path(__file__).with_name("_bare_api.py")), str(port)]) as server:
        wait_for(port, server)
        yield f"http://127.0.0.1:{port}"


def ask(url: str, body: Any = None, method: str | None = None) -> Any:
    """One plain request, POST when there is a body, and its JSON."""
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), method=method)
    request.add_header("Authorization", "Basic " + base64.b64encode(f"{KEY}:".encode()).decode())
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=600) as answer:
            return json.loads(answer.read() or "null")
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{request.get_method()} {url}: {error.code} {error.read()[:300]!r}") from None


def definitions(python: str, *flags: str) -> list[dict[str, Any]]:
    """The tools as our server lists them."""
    command = [python, "-m", "scale_mcp", "tools", "--json", *flags]
    done = subprocess.run(command, capture_output=True, env=environment(), cwd=ROOT, check=True)
    listed: list[dict[str, Any]] = json.loads(done.stdout)
    return listed


def peer(name: str) -> str:
    return str(PEERS / name)

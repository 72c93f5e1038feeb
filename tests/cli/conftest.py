"""What the tests of the command line share: a clean environment, and real processes that are always ended."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import scale_mcp

COMMAND = [sys.executable, "-W", "error::ResourceWarning", "-m", "scale_mcp"]
TREE = str(Path(scale_mcp.__file__).parent.parent)
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def same_terminal_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", TREE)
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def start() -> Iterator[Start]:
    """Start ``scale-mcp …`` as a process of its own."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def run(
    *arguments: str, given: str = "", timeout: float = 60, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run ``scale-mcp …`` to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, **environment},
    )

"""Where output goes: results a person asked for to stdout, everything else to stderr, both safe for terminals."""

from __future__ import annotations

import json
import sys
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILED = 1  # the command ran, and what it did or checked failed
    USAGE = 2  # wrong flags, arguments or settings; nothing was sent
    UNREACHABLE = 3  # Scale, or whatever stands at the API address, could not be reached
    REFUSED = 4  # the key was refused, or may not do this
    DECLINED = 5  # a person was asked and did not agree


def write(text: str) -> None:
    """A result, to stdout."""
    typer.echo(text)


def write_json(value: Any) -> None:
    """A result for machines, to stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def say(text: str = "") -> None:
    """A remark for the person, to stderr."""
    typer.echo(text, err=True)


def stop(code: Exit, text: str) -> NoReturn:
    """Say why and leave."""
    say(f"scale-mcp: {text}")
    raise typer.Exit(code)


def stdout_console() -> Console:
    """Rich on stdout: styled on a terminal, plain text at a readable width elsewhere."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def stderr_console() -> Console:
    """Rich on stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 120)

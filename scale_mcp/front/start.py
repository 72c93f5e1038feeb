"""Starting with the front, where it understands what it is started with."""

from __future__ import annotations

import os
import sys

from scale_mcp.front.answers import answers
from scale_mcp.front.handover import leave
from scale_mcp.front.options import understood


def open_with_front(arguments: list[str]) -> tuple[dict[str, object], bool] | None:
    """Speak for ``scale-mcp serve <arguments>`` until the server itself is needed.

    Returns the flags to start it with, and whether the client waits for it; the conversation waits in ``handover``.
    None when the front stays out of it.
    Leaves the process when the client closes its end before that.
    """
    known = understood(arguments)
    ready = answers(known[1]) if known else None
    if known is None or ready is None:
        return None
    from scale_mcp.front.opening import converse

    _end_quietly_on_sigterm()
    source, sink = _private_wire()
    handover = converse(source, sink, ready)
    if handover is None:
        raise SystemExit(0)
    leave(handover)
    return dict(known[0]), handover.awaited


def _private_wire() -> tuple[int, int]:
    """Duplicates of 0 and 1. From here on 0 reads nothing and 1 writes to stderr: nothing strays onto the wire."""
    source, sink = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    sys.stdout.flush()
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    return source, sink


def _end_quietly_on_sigterm() -> None:
    """Until the server installs its own handling, being told to end is no failure."""
    import _signal  # type: ignore[import-not-found]  # the C module; ``signal`` builds enums first

    for number in (_signal.SIGTERM, _signal.SIGINT):
        _signal.signal(number, _leave)


def _leave(number: int, frame: object) -> None:
    os._exit(0)

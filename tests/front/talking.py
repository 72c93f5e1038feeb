"""A conversation over pipes inside this process: with the front and the server behind it, or the server alone."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import anyio

from scale_mcp.front.answers import answers
from scale_mcp.front.handover import Handover, leave
from scale_mcp.front.opening import converse
from scale_mcp.server.build import build_server
from scale_mcp.server.connection import Connection
from scale_mcp.server.transports.stdio import serve_stdio
from scale_mcp.settings import load_settings
from tests.small_cards import FakeApi

Values = dict[str, bool | str | list[str]]
PATIENCE = 30  # seconds until a test that hangs fails


class _UntilLoading:
    """In a script: the client writes nothing more until the front has stepped back."""


QUIET = _UntilLoading()
Script = Sequence[bytes | _UntilLoading]


@dataclass
class Said:
    """What a client got.

    handover   where the front stepped back; None when it spoke to the end, or was not there
    left       all that whoever serves next has to read, up to the end of input; nothing after the end
    """

    written: bytes
    handover: Handover | None
    left: bytes

    @property
    def messages(self) -> list[dict[str, Any]]:
        assert self.written.endswith(b"\n") or not self.written
        return [json.loads(line) for line in self.written.splitlines()]

    @property
    def values(self) -> Counter[str]:
        """The messages as JSON values, in no order."""
        return Counter(json.dumps(message, sort_keys=True) for message in self.messages)


@contextmanager
def client(script: Script, loading: threading.Event, *, ahead: bool) -> Iterator[tuple[int, int, bytearray, bytearray]]:
    """The server's ends of the wire, which are closed at the end.

    Also what the client will have read by then, and what the server will not have read.
    """
    source, to_server = os.pipe()
    from_server, sink = os.pipe()
    read, unread = bytearray(), bytearray()

    def write() -> None:
        try:
            for piece in script:
                if isinstance(piece, bytes):
                    view = memoryview(piece)
                    while view:
                        view = view[os.write(to_server, view) :]
                else:
                    assert loading.wait(PATIENCE)
        finally:
            os.close(to_server)

    def listen() -> None:
        if ahead:
            threads[0].join(PATIENCE)
        while chunk := os.read(from_server, 1 << 16):
            read.extend(chunk)

    threads = [threading.Thread(target=write, daemon=True), threading.Thread(target=listen, daemon=True)]
    for thread in threads:
        thread.start()
    try:
        yield source, sink, read, unread
    finally:
        loading.set()
        os.close(sink)
        threads[1].join(PATIENCE)
        while chunk := os.read(source, 1 << 16):
            unread += chunk
        threads[0].join(PATIENCE)
        os.close(source)
        os.close(from_server)


def with_front(script: Script, values: Values | None = None) -> Said:
    return _talk(script, values or {}, front=True, server=True)


def without_front(script: Script, values: Values | None = None) -> Said:
    return _talk(script, values or {}, front=False, server=True)


def front_alone(script: Script, values: Values | None = None, *, ahead: bool = False) -> Said:
    """Only the front: what it said before it stepped back, and what it left unserved.

    ahead   the client reads nothing before it has written everything
    """
    return _talk(script, values or {}, front=True, server=False, ahead=ahead)


def _talk(script: Script, values: Values, *, front: bool, server: bool, ahead: bool = False) -> Said:
    loading = threading.Event()
    handover = None
    with client(script, loading, ahead=ahead) as (source, sink, read, unread):
        if front:
            known = answers(values)
            assert known is not None
            handover = converse(source, sink, known)
        loading.set()
        if server and (handover or not front):
            leave(handover or Handover(source, sink, b"", []))
            real = build_server(Connection(cast(Any, FakeApi()), "live"), load_settings(values))
            anyio.run(serve_stdio, real)
    unserved = handover.unserved if handover else b""
    return Said(bytes(read), handover, unserved + bytes(unread))

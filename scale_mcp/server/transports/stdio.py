"""stdio: one JSON-RPC message per line.

The SDK's own stdio makes three thread hops per message and reads in a worker thread that cannot be interrupted, so a
SIGTERM would wait for the client's next line. Here pipes are served in the event loop, and whatever else stdin and
stdout may be by two daemon threads. As with the SDK, the wire is moved off descriptors 0 and 1 first, so that a stray
print or a child process cannot corrupt it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import mcp.types as t
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.lowlevel import Server
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.jsonrpc_dispatcher import cancelled_request_id_from_params
from mcp.shared.message import SessionMessage

from scale_mcp.front.handover import Handover, take
from scale_mcp.server.logs import get_logger
from scale_mcp.server.shortcut import Shortcut, shortcut_of
from scale_mcp.server.transports.pipes import PipeLines, PipeOutput, are_pipes
from scale_mcp.server.transports.stdio_calls import StdioCalls
from scale_mcp.server.transports.threads import ThreadLines, ThreadOutput

log = get_logger(__name__)

LONGEST_LINE = 160 * 1024 * 1024  # bytes; an upload of 80 MB comes as base64 in one message
AHEAD = 256  # lines read before the server has taken them
UNSENT = 64 * 1024 * 1024  # bytes a client may leave unread, while it writes on, before the server waits for it
BETWEEN = 64  # messages between the wire and the server; the other way none may be under way when it ends
LAST_ANSWERS = 1.5  # seconds for calls still running when stdin closes; hosts wait about two before they kill

Inbound = SessionMessage | Exception
Lines = PipeLines[Inbound] | ThreadLines[Inbound]
Output = PipeOutput | ThreadOutput


async def serve_stdio(server: Server[Any]) -> None:
    """Serve one client until it closes stdin or the process is told to end."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_cancel_on_signal, tasks.cancel_scope)
        async with wire(shortcut_of(server)) as (reader, writer):
            await server.run(reader, writer, server.create_initialization_options())
        tasks.cancel_scope.cancel()


async def _cancel_on_signal(scope: anyio.CancelScope) -> None:
    if sys.platform == "win32":  # signals cannot be awaited there; a closed stdin ends the server
        return
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.info("stopping", signal=signal.Signals(number).name)
            scope.cancel()
            return


@asynccontextmanager
async def wire(
    shortcut: Shortcut | None = None,
) -> AsyncIterator[tuple[MemoryObjectReceiveStream[Inbound], MemoryObjectSendStream[SessionMessage]]]:
    """The streams that ``Server.run`` takes, over this process's stdin and stdout. Plain calls take the short way."""
    to_server, reader = anyio.create_memory_object_stream[Inbound](BETWEEN)
    writer, from_server = anyio.create_memory_object_stream[SessionMessage](0)
    with _begun_wire() as begun:
        lines: Lines
        output: Output = PipeOutput(begun.sink, UNSENT) if are_pipes(begun) else ThreadOutput(begun.sink, UNSENT)
        open_calls = _OpenCalls(begun.answered)
        calls = StdioCalls(shortcut, output.put, open_calls.is_open)

        def read(line: bytes) -> Inbound | None:
            """The message for the server; None for a call that takes the short way."""
            try:
                message = t.jsonrpc_message_adapter.validate_json(line, by_name=False)
            except ValueError as problem:  # the server's loop knows what to do with a message that is none
                return problem
            if calls.take(message):
                return None
            open_calls.started(message)
            return SessionMessage(message)

        if are_pipes(begun):
            lines = PipeLines(begun, AHEAD, LONGEST_LINE, read)
        else:
            lines = ThreadLines(begun, AHEAD, LONGEST_LINE, read)
        async with to_server, reader, writer, from_server, anyio.create_task_group() as tasks:
            tasks.start_soon(_pump_in, lines, to_server, open_calls, calls)
            tasks.start_soon(_pump_out, from_server, output, open_calls, calls)
            try:
                yield reader, writer
            finally:
                await calls.close(answering=False)
                tasks.cancel_scope.cancel()
                output.finish()


async def _pump_in(
    lines: Lines, to_server: MemoryObjectSendStream[Inbound], open_calls: _OpenCalls, calls: StdioCalls
) -> None:
    async with to_server:
        async for message in lines:
            await to_server.send(message)
        with anyio.move_on_after(LAST_ANSWERS):
            await calls.all_done()
            await open_calls.all_answered()
        await calls.close(answering=True)


async def _pump_out(
    from_server: MemoryObjectReceiveStream[SessionMessage], output: Output, open_calls: _OpenCalls, calls: StdioCalls
) -> None:
    async for message in from_server:
        calls.answered(message.message)
        if not open_calls.client_knows(message):
            await output.put(message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
        open_calls.answered(message)


class _OpenCalls:
    """The requests that have no answer yet: a client that writes and closes stdin at once still gets its answers."""

    def __init__(self, answered_by_front: list[str | int]) -> None:
        self._ids: Counter[t.RequestId] = Counter()  # a client may use one twice
        self._known_to_client = list(answered_by_front)
        self._none_left = anyio.Event()
        self._closing = False

    def started(self, message: t.JSONRPCMessage) -> None:
        if isinstance(message, t.JSONRPCRequest) and message.method != "subscriptions/listen":
            self._ids[coerce_request_id(message.id)] += 1
        elif isinstance(message, t.JSONRPCNotification) and message.method == "notifications/cancelled":
            self._settle(cancelled_request_id_from_params(message.params))  # the server will not answer it

    def is_open(self, identity: t.RequestId) -> bool:
        return coerce_request_id(identity) in self._ids

    def answered(self, message: SessionMessage) -> None:
        self._settle(_answered_id(message))

    def _settle(self, identity: t.RequestId | None) -> None:
        if identity is None or (key := coerce_request_id(identity)) not in self._ids:
            return
        self._ids[key] -= 1
        if not self._ids[key]:
            del self._ids[key]
        if self._closing and not self._ids:
            self._none_left.set()

    def client_knows(self, message: SessionMessage) -> bool:
        """Whether this answers a request that the front has answered and replayed for the server's state; once each."""
        identity = _answered_id(message)
        if identity is None or identity not in self._known_to_client:
            return False
        self._known_to_client.remove(identity)
        return True

    async def all_answered(self) -> None:
        self._closing = True
        if self._ids:
            await self._none_left.wait()


def _answered_id(message: SessionMessage) -> t.RequestId | None:
    answer = message.message
    return answer.id if isinstance(answer, t.JSONRPCResponse | t.JSONRPCError) else None


@contextmanager
def _begun_wire() -> Iterator[Handover]:
    """The wire as the front left it, or duplicates of stdin and stdout made here.

    Meanwhile fd 0 reads the null device and fd 1 writes to stderr. The duplicates stay open at the end: a thread may
    still sit in a read on one of them.
    """
    if begun := take():
        yield begun
        return
    source, sink = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    sys.stdout.flush()
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    if sys.platform == "win32":
        import msvcrt

        for descriptor in (source, sink):
            msvcrt.setmode(descriptor, os.O_BINARY)
    try:
        yield Handover(source, sink, b"", [])
    finally:
        os.dup2(source, 0)
        os.dup2(sink, 1)

"""Plain tool calls on stdio: each a task of its own that writes its answer to the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import mcp.types as t
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.jsonrpc_dispatcher import cancelled_request_id_from_params
from mcp.types.version import MODERN_PROTOCOL_VERSIONS

from scale_mcp.server.shortcut import PlainCall, Shortcut, refusal

CLOSED = t.ErrorData(code=t.CONNECTION_CLOSED, message="Connection closed")  # as the SDK says it
LAST_WORDS = 1.0  # seconds in which a client may take them


class StdioCalls:
    """Takes plain calls off the stream of messages, once the server has accepted the client.

    ``put`` writes one line, ``is_open`` knows the ids of the requests that are left to the server. What server and
    client have agreed on is learnt from what passes by.
    """

    def __init__(
        self,
        shortcut: Shortcut | None,
        put: Callable[[bytes], Awaitable[None]],
        is_open: Callable[[t.RequestId], bool],
    ) -> None:
        self._shortcut = shortcut
        self._put = put
        self._is_open = is_open
        self._version = ""  # of the protocol, once it is agreed on
        self._opening: dict[t.RequestId, str] = {}  # requests that may settle it: a version, or that it is negotiated
        self._running: dict[t.RequestId, asyncio.Task[None]] = {}
        self._closing = False

    def take(self, message: t.JSONRPCMessage) -> bool:
        """Whether the message was a plain call; it is under way then."""
        if self._shortcut is None:
            return False
        if isinstance(message, t.JSONRPCNotification):
            self._cancel(message)
        if not isinstance(message, t.JSONRPCRequest):
            return False
        if message.method == "initialize" or not self._version:
            self._expect(message)
            return False
        call = self._shortcut.plain_call(message, self._version)
        key = coerce_request_id(message.id)
        if call is None or key in self._running or self._is_open(message.id):
            return False
        task = asyncio.get_running_loop().create_task(self._serve(call))
        self._running[key] = task
        task.add_done_callback(lambda _: self._running.pop(key))
        return True

    def answered(self, message: t.JSONRPCMessage) -> None:
        """Learn from the server's answer to any other request."""
        if self._opening and isinstance(message, t.JSONRPCResponse | t.JSONRPCError) and message.id is not None:
            settled = self._opening.pop(message.id, None)
            if settled is not None and isinstance(message, t.JSONRPCResponse):
                self._version = settled or str(message.result.get("protocolVersion"))

    async def all_done(self) -> None:
        """Wait for the calls that are under way."""
        while self._running:
            await asyncio.wait(self._running.values())

    async def close(self, *, answering: bool) -> None:
        """End what is still under way; ``answering`` says so to the client, who is still there."""
        self._closing = answering
        for task in self._running.values():
            task.cancel()
        if self._running:
            with anyio.CancelScope(shield=True):
                await asyncio.wait(self._running.values(), timeout=LAST_WORDS)

    def _expect(self, request: t.JSONRPCRequest) -> None:
        """Remember a request whose good answer tells the version: the handshake, or any in the envelope without one."""
        meta = (request.params or {}).get("_meta")
        if request.method == "initialize":
            self._opening[request.id] = ""
        elif isinstance(meta, dict) and meta.get(t.PROTOCOL_VERSION_META_KEY) in MODERN_PROTOCOL_VERSIONS:
            self._opening[request.id] = str(meta[t.PROTOCOL_VERSION_META_KEY])

    def _cancel(self, notification: t.JSONRPCNotification) -> None:
        """The server hears of it, too, and does not know the call."""
        if notification.method == "notifications/cancelled":
            identity = cancelled_request_id_from_params(notification.params)
            if identity is not None and (task := self._running.get(coerce_request_id(identity))):
                task.cancel()

    async def _serve(self, call: PlainCall) -> None:
        try:
            message, _ = await call.answer()
        except asyncio.CancelledError:
            if not self._closing:  # a cancelled call is not answered
                raise
            message = refusal(call.id, CLOSED)
        await self._put(message + b"\n")

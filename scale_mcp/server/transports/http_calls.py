"""Plain tool calls on ``/mcp``: answered before they reach the SDK's application, which gets everything else."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from functools import lru_cache
from http import HTTPStatus

import anyio
import mcp.types as t
import pydantic_core
from mcp.server.streamable_http import REQUEST_CANCELLED
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS, MCP_PROTOCOL_VERSION_HEADER
from mcp.shared.jsonrpc_dispatcher import cancelled_request_id_from_params
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scale_mcp.server.shortcut import PlainCall, Shortcut, refusal
from scale_mcp.server.transports.draining import STOPPING, InFlight
from scale_mcp.server.transports.http_reply import Reply
from scale_mcp.server.transports.sessions import PATH, SESSION, KnownSessions, Principal, principal_of

VERSION = MCP_PROTOCOL_VERSION_HEADER.encode()
CANCELLED = t.ErrorData(code=REQUEST_CANCELLED, message="Request cancelled")
SESSION_ENDED = t.ErrorData(code=t.INTERNAL_ERROR, message="Session terminated before the request completed")

Owner = tuple[str, Principal]  # a session, and whose it is
Headers = dict[bytes, bytes]


class Running:
    """A call under way. ``reason`` is what a given-up call answers; None where nobody is left to hear it."""

    __slots__ = ("reason", "scope")

    def __init__(self, scope: anyio.CancelScope) -> None:
        self.scope = scope
        self.reason: t.ErrorData | None = STOPPING

    def give_up(self, reason: t.ErrorData | None) -> None:
        self.reason = reason
        self.scope.cancel()


class HttpCalls:
    """ASGI middleware, directly around the SDK's application and inside of whatever verifies the caller."""

    def __init__(
        self, app: ASGIApp, shortcut: Shortcut, sessions: KnownSessions, in_flight: InFlight, longest: int
    ) -> None:
        self.app = app
        self._shortcut = shortcut
        self._sessions = sessions
        self._in_flight = in_flight
        self._longest = longest  # bytes of a body
        self._running: dict[tuple[Owner, t.RequestId], Running] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            await self.app(scope, receive, send)
            return
        headers: Headers = dict(scope["headers"])
        session = headers.get(SESSION, b"").decode("latin-1")
        if scope["method"] != "POST" or not self._has_plain_head(scope, headers):
            await self.app(scope, receive, self._watched(scope, session, send))
            return
        body, received = await _whole(receive)
        if body is not None:
            call, owner = self._call_in(body, scope, headers, session)
            if call is not None:
                await self._serve(call, owner, receive, send)
                return
        await self.app(scope, _again(received, receive), self._watched(scope, session, send))

    def _has_plain_head(self, scope: Scope, headers: Headers) -> bool:
        """Whether the head is as all clients write it: no header twice, a length, and types that the SDK would take."""
        length = headers.get(b"content-length", b"")
        return (
            len(headers) == len(scope["headers"])
            and length.isdigit()
            and int(length) <= self._longest
            and headers.get(b"content-type", b"").partition(b";")[0] == b"application/json"
            and _takes_both(headers.get(b"accept", b""))
        )

    def _call_in(
        self, body: bytes, scope: Scope, headers: Headers, session: str
    ) -> tuple[PlainCall | None, Owner | None]:
        """The plain call that a body holds, and in whose session; none of either where the SDK is to look at it."""
        version = headers[VERSION].decode("latin-1") if VERSION in headers else None
        if version in MODERN_PROTOCOL_VERSIONS:
            return (self._modern_call(body, version, scope, headers) if b"tools/call" in body else None), None
        if version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS:
            return None, None
        owner = session, principal_of(scope)
        agreed = self._sessions.version(*owner)
        if agreed is None:
            return None, None
        if b"notifications/cancelled" in body:
            self._cancel(body, owner)
        if b"tools/call" not in body:
            return None, None
        try:
            message = t.jsonrpc_message_adapter.validate_python(pydantic_core.from_json(body), by_name=False)
        except ValueError:
            return None, None
        if not isinstance(message, t.JSONRPCRequest) or (owner, coerce_request_id(message.id)) in self._running:
            return None, None
        return self._shortcut.plain_call(message, agreed, scope), owner

    def _modern_call(self, body: bytes, version: str, scope: Scope, headers: Headers) -> PlainCall | None:
        try:
            request = t.JSONRPCRequest.model_validate(json.loads(body))
        except (ValueError, RecursionError):
            return None
        shown = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
        return self._shortcut.plain_call(request, version, scope, shown)

    async def _serve(self, call: PlainCall, owner: Owner | None, receive: Receive, send: Send) -> None:
        """Run the call and answer it. ``owner`` is None from 2026-07-28 on, and errors have their own status then."""
        reply = Reply(send, session=owner[0] if owner else "")
        try:
            answer = await self._answer(call, owner, receive)
            if answer is not None:
                await reply.finish(*answer)
        finally:
            reply.leave()

    async def _answer(self, call: PlainCall, owner: Owner | None, receive: Receive) -> tuple[bytes, int] | None:
        """The message and the status of its response; None when the client has hung up, which cancels a modern call."""
        with anyio.CancelScope() as scope:
            running = Running(scope)
            self._in_flight.add(scope)
            key = (owner, coerce_request_id(call.id)) if owner else None
            if key is not None:
                self._running[key] = running
            watch = None if owner else asyncio.get_running_loop().create_task(_give_up_when_gone(running, receive))
            try:
                message, code = await call.answer()
            finally:
                self._in_flight.discard(scope)
                if key is not None:
                    del self._running[key]
                if watch is not None:
                    watch.cancel()
        if scope.cancelled_caught:
            if running.reason is None:
                return None
            message, code = refusal(call.id, running.reason), running.reason.code
        if owner is None:
            return message, ERROR_CODE_HTTP_STATUS.get(code, HTTPStatus.OK)
        ended = scope.cancelled_caught and running.reason is SESSION_ENDED
        return message, HTTPStatus.INTERNAL_SERVER_ERROR if ended else HTTPStatus.OK

    def _cancel(self, body: bytes, owner: Owner) -> None:
        """The server hears of it, too, and does not know the call."""
        try:
            message = t.jsonrpc_message_adapter.validate_python(pydantic_core.from_json(body), by_name=False)
        except ValueError:
            return
        if isinstance(message, t.JSONRPCNotification) and message.method == "notifications/cancelled":
            identity = cancelled_request_id_from_params(message.params)
            if identity is not None and (running := self._running.get((owner, coerce_request_id(identity)))):
                running.give_up(CANCELLED)

    def _watched(self, scope: Scope, session: str, send: Send) -> Send:
        """``send``, which also notices that a session has ended: by its client, or unknown to the SDK by now."""
        if not session:
            return send

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                deleted = scope["method"] == "DELETE" and message["status"] < 300
                if deleted or message["status"] == HTTPStatus.NOT_FOUND:
                    self._end((session, principal_of(scope)))
            await send(message)

        return watch

    def _end(self, owner: Owner) -> None:
        self._sessions.forget(*owner)
        for key, running in self._running.items():
            if key[0] == owner:
                running.give_up(SESSION_ENDED)


async def _give_up_when_gone(running: Running, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    running.give_up(None)


async def _whole(receive: Receive) -> tuple[bytes | None, list[Message]]:
    """The body, None when the client has gone before its end, and the messages it came in."""
    received = [await receive()]
    while received[-1]["type"] == "http.request" and received[-1].get("more_body"):
        received.append(await receive())
    if received[-1]["type"] != "http.request":
        return None, received
    return b"".join([message.get("body", b"") for message in received]), received


def _again(received: list[Message], receive: Receive) -> Receive:
    """``receive`` as if nothing had been received yet."""
    waiting = deque(received)

    async def receive_again() -> Message:
        return waiting.popleft() if waiting else await receive()

    return receive_again


@lru_cache(maxsize=64)
def _takes_both(accept: bytes) -> bool:
    """Whether JSON and event streams are named, without wildcards."""
    kinds = {kind.partition(b";")[0].strip() for kind in accept.lower().split(b",")}
    return {b"application/json", b"text/event-stream"} <= kinds

"""The ASGI application: reads a request, finds its handler by the raw path, and writes the reply.

Order of work: body → key → due events → fault (before) → handler → commit → fault (after) → request log → reply.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs

from scale_mcp.sandbox import accounts, decisions
from scale_mcp.sandbox.http import ApiError, Reply, Request, Route, Router

if TYPE_CHECKING:
    from scale_mcp.sandbox.sandbox import Sandbox

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_LIMIT = 90 * 2**20  # above the 80 MB that a file may have, below what would hurt
SECONDS_PER_REQUEST = 0.1  # of due events: a request does not pay for a long sleep of the sandbox all at once
API_PREFIX, ADMIN_PREFIX = "/v1", "/_sandbox/"

logger = logging.getLogger(__name__)


class ConnectionDropped(Exception):
    """The caller gets no (more) bytes: a fault, on purpose."""


@dataclass
class Exchange:
    """One finished request for the log. ``headers`` come without Authorization; ``status`` 0: dropped."""

    key_id: str  # the key's fingerprint; "" when it was bad or absent
    method: str
    path: str  # raw, still encoded, without the query
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    at: str  # virtual time
    operation: str | None = None  # the route's name, None when none matched
    status: int = 0
    seconds: float = 0.0  # real
    fault: str | None = None
    notes: dict[str, Any] = field(default_factory=dict)


class Faults(Protocol):
    """Trouble on demand, asked once before and once after every routed /v1 request (never on admin routes)."""

    async def before(self, request: Request, route: Route, exchange: Exchange) -> Reply | None:
        """Sleep (slow connections), or give the reply that stands in for the handler (429, 5xx before commit).

        A reply with ``cut_after=-1`` is a connection dropped before anything happened. Set ``exchange.fault``.
        """

    async def after(self, request: Request, route: Route, reply: Reply, exchange: Exchange) -> Reply:
        """The reply to send, the handler's work being committed: 5xx, ``cut_after`` for drops and truncation."""

    def loses_callback(self, account_id: str, url: str) -> bool:
        """Whether the next callback attempt vanishes without a request."""


class RequestLog(Protocol):
    def record(self, exchange: Exchange) -> None: ...


class App:
    """One instance per sandbox; serves ``/v1/…``, ``/_sandbox/…`` and ``/openapi.json``."""

    def __init__(self, sandbox: Sandbox, routes: list[Route], faults: Faults, log: RequestLog) -> None:
        self.sandbox, self.faults, self.log = sandbox, faults, log
        self.routes = routes
        self._admin = Router(route for route in routes if route.template.startswith((ADMIN_PREFIX, "/openapi")))
        self._api = Router(route for route in routes if route not in self._admin.routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            raise RuntimeError(f"The sandbox does not speak {scope['type']}.")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.sandbox.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.sandbox.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        raw_path = (scope.get("raw_path") or scope["path"].encode()).split(b"?")[0].decode("latin-1")
        exchange = Exchange(
            key_id="",
            method=scope["method"],
            path=raw_path,
            query=parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True),
            headers={name: value for name, value in headers.items() if name != "authorization"},
            body=b"",
            at=self.sandbox.clock.iso(),
        )
        try:
            exchange.body = await _read_body(receive, headers)
            reply = await self._answer(scope, headers, exchange)
        except ApiError as error:
            reply = error.reply()
        except RecursionError:
            reply = ApiError(400, "The request body is nested too deeply.").reply()
        except Exception:
            logger.exception("%s %s failed", exchange.method, exchange.path)
            reply = ApiError(500, "The sandbox failed to answer; its log says why.").reply()
        exchange.status = 0 if reply.cut_after == -1 else reply.status
        exchange.seconds = time.perf_counter() - started
        self.log.record(exchange)
        await _send(reply, exchange.method, receive, send)

    async def _answer(self, scope: Scope, headers: dict[str, str], exchange: Exchange) -> Reply:
        host = headers.get("host") or "sandbox.localhost"
        base_url = f"{scope.get('scheme', 'http')}://{host}{API_PREFIX}"
        is_api = exchange.path.startswith(API_PREFIX + "/")
        key = accounts.key_from_header(headers.get("authorization"))
        account = accounts.account_for(key) if key else None
        if account is None and is_api:
            raise ApiError(401, decisions.UNAUTHORIZED_TEXT.value)
        account = account or accounts.NOBODY
        exchange.key_id = account.key_id
        if is_api:
            self.sandbox.greet(account, base_url)
        await self.sandbox.agenda.run_due(SECONDS_PER_REQUEST)
        router, path = (self._api, exchange.path.removeprefix(API_PREFIX)) if is_api else (self._admin, exchange.path)
        route, params = router.match(exchange.method, path)
        exchange.operation = route.name
        request = Request(
            sandbox=self.sandbox,
            account=account,
            method=exchange.method,
            path=exchange.path,
            params=params,
            query=exchange.query,
            headers=headers,
            body=exchange.body,
            base_url=base_url,
        )
        if not is_api:
            return await self._handle(route, request)
        instead = await self.faults.before(request, route, exchange)
        if instead is not None:
            return instead
        try:
            reply = await self._handle(route, request)
        except ApiError as error:
            reply = error.reply()
        await self.sandbox.agenda.run_due(SECONDS_PER_REQUEST)  # what the request itself has caused: callbacks
        return await self.faults.after(request, route, reply, exchange)

    async def _handle(self, route: Route, request: Request) -> Reply:
        if inspect.iscoroutinefunction(route.handler):
            return await route.handler(request)  # type: ignore[no-any-return]
        if route.method == "GET":
            return route.handler(request)  # type: ignore[return-value]
        with self.sandbox.store.transaction():
            self.sandbox.clock.save()
            return route.handler(request)  # type: ignore[return-value]


async def _read_body(receive: Receive, headers: dict[str, str]) -> bytes:
    if headers.get("content-length", "0").isdigit() and int(headers.get("content-length", "0")) > BODY_LIMIT:
        raise ApiError(decisions.BODY_TOO_LARGE.value, "The request body is too large.", {"Connection": "close"})
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ApiError(400, "The request ended before its body was complete.")
        body += message.get("body", b"")
        if len(body) > BODY_LIMIT:
            raise ApiError(decisions.BODY_TOO_LARGE.value, "The request body is too large.", {"Connection": "close"})
        if not message.get("more_body", False):
            return bytes(body)


async def _send(reply: Reply, method: str, receive: Receive, send: Send) -> None:
    body = b"" if method == "HEAD" else reply.encode()
    if reply.cut_after == -1:
        await _hang_up(receive)
        return
    head = {"content-type": reply.content_type, "content-length": str(len(body)), **reply.headers}
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in head.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": encoded})
    if reply.cut_after is None:
        await send({"type": "http.response.body", "body": body})
        return
    await send({"type": "http.response.body", "body": body[: reply.cut_after], "more_body": True})
    await _hang_up(receive)


async def _hang_up(receive: Receive) -> None:
    """Drop the connection. ASGI has no word for it: under uvicorn the transport is reached through ``receive``."""
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is None:
        raise ConnectionDropped
    transport.close()  # after what was sent has left
    while (await receive())["type"] != "http.disconnect":
        pass  # returning earlier, uvicorn would complain about an answer that never came

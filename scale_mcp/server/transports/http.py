"""HTTP: Streamable HTTP on ``/mcp`` (both eras), the older SSE pair on ``/sse`` and ``/messages/``, ``/healthz``.

Legacy ``/mcp`` clients get sessions: asking a person during a call needs a way back to the client. What a handler
needs lives in the server object, so it does not matter that SSE enters the lifespan once per connection.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import anyio
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http import EventStore
from mcp.server.transport_security import DEFAULT_MAX_REQUEST_BODY_SIZE, TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from scale_mcp.server.logs import get_logger
from scale_mcp.server.shortcut import shortcut_of
from scale_mcp.server.transports.doorman import Doorman
from scale_mcp.server.transports.draining import InFlight
from scale_mcp.server.transports.http_calls import HttpCalls
from scale_mcp.server.transports.listening import listen
from scale_mcp.server.transports.sessions import KnownSessions
from scale_mcp.settings import Settings, SettingsError

log = get_logger(__name__)

MAX_BODY = DEFAULT_MAX_REQUEST_BODY_SIZE  # 4 MiB
Enclose = Callable[[Starlette], None]
LAST_ANSWERS = 2.0  # seconds for calls still running when the process is told to end


def web_app(
    server: Server[Any],
    settings: Settings,
    event_store: EventStore | None = None,
    in_flight: InFlight | None = None,
    enclose: Enclose | None = None,
) -> Starlette:
    """One application with every route. Its lifespan runs the session manager, so keep it the outermost one.

    ``enclose`` adds what stands between the doorman and everything else: whoever verifies callers, and its routes.
    ``in_flight`` knows the calls that take the short way; the others it knows as the server's middleware. With an
    ``event_store`` there is no short way, as its answers could not be fetched again.
    """
    # The doorman has looked at Host and Origin of every request before; the SDK's own check would only repeat it.
    checked = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    sse = SseServerTransport("/messages/", security_settings=checked, max_request_body_size=MAX_BODY)
    app = server.streamable_http_app(
        transport_security=checked,
        max_request_body_size=MAX_BODY,
        event_store=event_store,
        retry_interval=500 if event_store is not None else None,
    )
    app.router.routes += [
        Route("/sse", endpoint=_ServeSse(server, sse), methods=["GET"]),
        Mount("/messages/", app=sse.handle_post_message),
        Route("/healthz", endpoint=_health(server), methods=["GET"]),
    ]
    own_origin = () if settings.public_url is None else (settings.public_url,)  # of the operator's page
    origins = (*settings.allowed_origins, *own_origin)
    app.user_middleware.append(Middleware(Doorman, hosts=settings.allowed_hosts, origins=origins))
    if enclose is not None:
        enclose(app)
    shortcut = shortcut_of(server)
    if shortcut is not None and event_store is None:
        sessions = KnownSessions()
        server.middleware.insert(0, sessions)
        around = Middleware(
            HttpCalls, shortcut=shortcut, sessions=sessions, in_flight=in_flight or InFlight(), longest=MAX_BODY
        )
        app.user_middleware.append(around)  # the innermost: whoever verifies callers stands before it
    return app


async def serve_http(
    server: Server[Any], settings: Settings, event_store: EventStore | None = None, enclose: Enclose | None = None
) -> None:
    """Listen until SIGTERM or SIGINT. Raises ``SettingsError`` when the address cannot be taken."""
    listener = _listen(settings)
    host, port = listener.getsockname()[:2]
    in_flight = InFlight()
    server.middleware.insert(0, in_flight)
    config = uvicorn.Config(
        web_app(server, settings, event_store, in_flight, enclose),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the peer's address is what it is; nobody may say otherwise
        timeout_graceful_shutdown=1,  # whatever ran has ended before
        lifespan="on",
        http=_protocol(),
    )
    runner = _Uvicorn(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_stop_on_signal, runner, in_flight)
        shown = f"[{host}]" if ":" in host else host
        gc.collect()
        gc.freeze()  # what was imported stays; collections need not look at it again
        log.info("listening", mcp=f"http://{shown}:{port}/mcp", sse=f"http://{shown}:{port}/sse")
        try:
            await runner.serve(sockets=[listener])
        finally:
            listener.close()
            tasks.cancel_scope.cancel()


def _protocol() -> Any:
    """uvicorn's parser with an end to waiting, where the faster one is installed."""
    if importlib.util.find_spec("httptools") is None:
        return "auto"
    from scale_mcp.server.transports.patience import PatientProtocol

    return PatientProtocol


class _Uvicorn(uvicorn.Server):
    """uvicorn raises the signal that stopped it once more, which would make a clean end look like a crash."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


async def _stop_on_signal(runner: uvicorn.Server, in_flight: InFlight) -> None:
    if sys.platform == "win32":
        return
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.info("stopping", signal=signal.Signals(number).name)
            await in_flight.finish(LAST_ANSWERS)
            runner.handle_exit(number, None)  # ends idle event streams as well


def _listen(settings: Settings) -> socket.socket:
    try:
        return listen(settings.host, settings.port)
    except OSError as problem:
        raise SettingsError(
            f"Cannot listen on {settings.host}:{settings.port}: {problem.strerror}. Choose another --port (0 is any)."
        ) from None


class _ServeSse:
    """An ASGI object, because Starlette takes a function for a request-response endpoint."""

    def __init__(self, server: Server[Any], sse: SseServerTransport) -> None:
        self._server = server
        self._sse = sse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._sse.connect_sse(scope, receive, send) as (reader, writer):
            await self._server.run(reader, writer, self._server.create_initialization_options())


def _health(server: Server[Any]) -> Any:
    async def health(request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "name": server.name, "version": server.version})

    return health

"""Serving personas: open the house, build the server, put it behind the gate, and work until told to end."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware

from scale_mcp.hosting.house import House
from scale_mcp.server.exporting import exporting
from scale_mcp.server.hosted.callbacks import Callbacks
from scale_mcp.server.hosted.console import console_routes
from scale_mcp.server.hosted.figures import Doors, Figures
from scale_mcp.server.hosted.gate import put_behind_gate
from scale_mcp.server.hosted.hall import hosted_server
from scale_mcp.server.hosted.metrics import Metrics
from scale_mcp.server.hosted.named_answers import NamedAnswers
from scale_mcp.server.hosted.oauth import sign_in_for
from scale_mcp.server.hosted.sessions import Sessions
from scale_mcp.server.hosted.streams import Streams
from scale_mcp.server.hosted.visit import current_visit
from scale_mcp.server.logs import configure_logging
from scale_mcp.server.request_ids import request_id
from scale_mcp.server.transports.http import serve_http
from scale_mcp.settings import SettingsError

if TYPE_CHECKING:
    from scale_mcp.server.telemetry import Telemetry
    from scale_mcp.settings import Settings

BETWEEN_LOOKS = 1.0  # seconds between two looks of the background work at what is due


async def serve_hosted(settings: Settings) -> None:
    """Serve until SIGTERM. Raises ``SettingsError``, ``StoreError`` and ``VaultError`` for what cannot be used."""
    configure_logging(settings.log_level, settings.log_format)
    with exporting(settings, of_this_request) as telemetry:
        await _serve(settings, telemetry)


async def _serve(settings: Settings, telemetry: Telemetry | None) -> None:
    async with House.opened(settings) as house:
        server, watches = hosted_server(house, settings)
        if telemetry is not None:
            server.observe(telemetry)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(house.work, BETWEEN_LOOKS)
                tasks.start_soon(watches.run)
                await serve_http(server, settings, enclose=partial(enclose, house=house, settings=settings))
                tasks.cancel_scope.cancel()
        except* SettingsError as problems:  # out of the wrapping that the tasks beside it give
            raise problems.exceptions[0] from None


def enclose(app: Starlette, *, house: House, settings: Settings) -> None:
    """Put the gate before everything, beside it the doors that have proofs of their own, and an id on every answer."""
    sign_in, callbacks = sign_in_for(settings, house.directory), Callbacks(house.inbox, house.connections)
    doors = Doors(Sessions(), Streams(sign_in), callbacks.outcomes)
    put_behind_gate(app, sign_in, settings, streams=doors.streams, sessions=doors.sessions)
    app.router.routes += callbacks.routes()
    app.router.routes += Metrics(Figures(house, doors), settings).routes()
    if settings.console:
        app.router.routes += console_routes(house, settings)
    app.user_middleware.insert(0, Middleware(NamedAnswers, answers=doors.answers))


def of_this_request() -> dict[str, str]:
    """What a span tells of a persona's request: whose it is, and the id under which the trail has it."""
    visit = current_visit()
    if visit is None:
        return {}
    return {"scale_mcp.persona": visit.signed_in.caller.persona.name, "scale_mcp.request_id": request_id()}

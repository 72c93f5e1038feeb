"""Starting the server: build it for the connection and open the door the settings name."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scale_mcp.server.connection import Connection
from scale_mcp.server.exporting import exporting
from scale_mcp.server.logs import configure_logging
from scale_mcp.settings import Settings
from scale_mcp.tools.card import Card

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server


async def serve(connection: Connection, settings: Settings, cards: Mapping[str, Card] | None = None) -> None:
    """Serve until SIGTERM, or until the client closes stdin. Whoever opened the connection closes it.

    ``cards`` stands in for the registry in tests.

    Raises ``SettingsError`` for names and addresses that turn out unusable.
    """
    key = settings.api_key.get_secret_value() if settings.api_key else ""
    configure_logging(settings.log_level, settings.log_format, secrets=[key])

    from scale_mcp.server.build import build_server

    with exporting(settings) as telemetry:
        server = build_server(connection, settings, cards)
        if telemetry is not None:
            server.observe(telemetry)
        await _serve(server, settings)


async def _serve(server: Server[Any], settings: Settings) -> None:
    if settings.transport == "http":
        from scale_mcp.server.transports.http import serve_http

        events = None
        if settings.conformance:
            from scale_mcp.server.conformance import EventLog

            events = EventLog()
        await serve_http(server, settings, events)
        return
    from scale_mcp.server.transports.stdio import serve_stdio

    gc.freeze()  # without collecting first, which costs a tenth of the start and finds next to nothing
    gc.enable()  # the fast front turned it off while it loaded all this
    await serve_stdio(server)

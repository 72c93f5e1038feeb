"""Looks at Host, Origin and Authorization of every HTTP request, on every route, before anything else does.

A web page that a person visits can make their browser talk to a server on their own machine, and with a name that
resolves to 127.0.0.1 it even counts as the same origin (DNS rebinding). The browser cannot lie in these two headers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from scale_mcp.server.logs import get_logger
from scale_mcp.server.sparing import Sparing
from scale_mcp.settings import is_loopback
from scale_mcp.text import one_line

log = get_logger(__name__)

HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?")
ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<host>[^/?#@\s]+)")
SCALE_KEY = re.compile(r"(?i)(?:bearer\s+|basic\s+)?(?:live_|test_|bGl2ZV|dGVzdF)")  # plain, or as Basic encodes it


class Doorman:
    """ASGI middleware. Loopback names pass with any port; ``hosts`` and ``origins`` are the operator's additions.

    An entry without a port admits every port of that name; ``https://tools.example.com`` admits exactly that origin.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str] = (), origins: Sequence[str] = ()) -> None:
        self.app = app
        self.hosts = {host.lower() for host in hosts}
        self.origins = {origin.lower().rstrip("/") for origin in origins}
        self._say_host = Sparing(log.warning, "foreign_host_refused")
        self._say_origin = Sparing(log.warning, "foreign_origin_refused")
        self._say_key = Sparing(log.warning, "scale_key_in_request_refused")
        self._known_host = lru_cache(maxsize=64)(self._is_known_host)  # a client sends the same one with every request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            # Blanks around a value are no part of it, but not every HTTP parser takes them off.
            headers = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
            scope = {**scope, "headers": headers}
            if refusal := self._refusal(headers):
                await refusal(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _refusal(self, headers: Iterable[tuple[bytes, bytes]]) -> PlainTextResponse | None:
        looked_at: dict[bytes, list[str]] = {b"host": [], b"origin": [], b"authorization": []}
        for name, value in headers:
            if name in looked_at:
                looked_at[name].append(value.decode("latin-1"))
        hosts, origins = looked_at[b"host"], looked_at[b"origin"]
        if len(hosts) != 1 or not self._known_host(hosts[0]):
            self._say_host(host=one_line(", ".join(hosts), 120))
            return PlainTextResponse("This server is not addressed by that Host.", status_code=421)
        if not all(self._known_origin(origin) for origin in origins):
            self._say_origin(origin=one_line(", ".join(origins), 120))
            return PlainTextResponse("Requests from that Origin are not accepted.", status_code=403)
        if any(SCALE_KEY.match(value.strip()) for value in looked_at[b"authorization"]):
            self._say_key()
            return PlainTextResponse(
                "Do not send Scale API keys here. They belong to the server alone, which its operator sets up.",
                status_code=401,
            )
        return None

    def _is_known_host(self, value: str) -> bool:
        found = HOST.fullmatch(value)
        if found is None:
            return False
        return is_loopback(found["name"]) or value.lower() in self.hosts or found["name"].lower() in self.hosts

    def _known_origin(self, value: str) -> bool:
        found = ORIGIN.fullmatch(value.lower())
        if found is None:  # "null", or a scheme that no server of ours has
            return value.lower() in self.origins
        host = HOST.fullmatch(found["host"])
        return value.lower() in self.origins or (host is not None and is_loopback(host["name"]))

"""Which sessions of ``/mcp`` the SDK has served lately, and to whom.

The SDK makes sessions, ends them when nobody asks for half an hour, and gives them to nobody but whoever opened them.
A call that takes the short way past it relies on having seen it serve the same session to the same caller a moment
ago; now and then such a call goes its way again, and then the SDK counts the session as used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mcp.server import ServerRequestContext
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import principal_components
from mcp.server.context import CallNext, HandlerResult
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.requests import Request

PATH = "/mcp"
SESSION = b"mcp-session-id"
TRUSTED = 300.0  # seconds; far less than the SDK keeps an idle session
PROVES_NOTHING = frozenset({"initialize", "ping"})  # answered in sessions that are not open, too

Principal = tuple[str, str | None, str | None] | None  # a verified caller as the SDK tells callers apart


@dataclass(frozen=True, slots=True)
class _Served:
    version: str  # of the protocol
    at: float


class KnownSessions:
    """Server middleware that remembers the sessions in which a request went well."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._served: dict[tuple[str, Principal], _Served] = {}
        self._swept_at = clock()

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        result = await call_next(ctx)
        request = ctx.request
        if (
            isinstance(request, Request)
            and ctx.request_id is not None
            and ctx.method not in PROVES_NOTHING
            and ctx.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS
            and request.scope["path"] == PATH
            and (session := request.headers.get(SESSION.decode()))
        ):
            self._sweep()
            self._served[session, principal_of(request.scope)] = _Served(ctx.protocol_version, self._clock())
        return result

    def __len__(self) -> int:
        return len(self._served)

    def version(self, session: str, principal: Principal) -> str | None:
        """The protocol version of a session that was served to this caller lately; None for any other."""
        served = self._served.get((session, principal))
        return served.version if served is not None and self._clock() - served.at < TRUSTED else None

    def forget(self, session: str, principal: Principal) -> None:
        self._served.pop((session, principal), None)

    def _sweep(self) -> None:
        """Drop what is too old to be relied on, once in a while."""
        now = self._clock()
        if now - self._swept_at > TRUSTED:
            self._swept_at = now
            self._served = {owner: served for owner, served in self._served.items() if now - served.at < TRUSTED}


def principal_of(scope: Mapping[str, Any]) -> Principal:
    """Whom the middleware outside has verified; None where callers are not told apart."""
    user = scope.get("user")
    return principal_components(user.access_token) if isinstance(user, AuthenticatedUser) else None

"""Ending in order: calls that are running may finish for a moment, then they are given up with an answer."""

from __future__ import annotations

from typing import Any

import anyio
import mcp.types as t
from mcp import MCPError
from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult

from scale_mcp.server.request_ids import named

NEVER_ENDING = frozenset({"subscriptions/listen"})
STOPPING = t.ErrorData(
    code=t.INTERNAL_ERROR, message="The server is stopping; what this call did is not known."
)  # what a call that was given up is answered


class InFlight:
    """Middleware that knows which requests are running."""

    def __init__(self) -> None:
        self._scopes: set[anyio.CancelScope] = set()
        self._streams: set[anyio.CancelScope] = set()
        self._idle = anyio.Event()

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        running = self._streams if ctx.method in NEVER_ENDING else self._scopes
        with anyio.CancelScope() as scope:
            running.add(scope)
            try:
                return await call_next(ctx)
            finally:
                running.discard(scope)
                self._wake_when_idle()
        raise MCPError.from_error_data(named(STOPPING))

    def add(self, scope: anyio.CancelScope) -> None:
        """A call that does not come through the server's middleware. Whoever adds it answers when it is given up."""
        self._scopes.add(scope)

    def discard(self, scope: anyio.CancelScope) -> None:
        self._scopes.discard(scope)
        self._wake_when_idle()

    def _wake_when_idle(self) -> None:
        if not self._scopes:
            self._idle.set()

    async def finish(self, grace: float) -> None:
        """Wait until nothing runs, at most ``grace`` seconds; then give up what still does."""
        if self._scopes:
            self._idle = anyio.Event()
            with anyio.move_on_after(grace):
                await self._idle.wait()
        for scope in [*self._scopes, *self._streams]:
            scope.cancel()
        with anyio.move_on_after(1):  # long enough to send the refusals
            while self._scopes or self._streams:
                self._idle = anyio.Event()
                await self._idle.wait()

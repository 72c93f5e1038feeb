"""The response to one plain call on ``/mcp``.

It is JSON, as every client of this transport must take it. A call that takes long becomes an event stream whose
comments keep the connection open, as the SDK's do.
"""

from __future__ import annotations

import asyncio

from starlette.types import Send

from scale_mcp.server.transports.sessions import SESSION

PING_EVERY = 15.0  # seconds without an answer after which, and then between which, the client is told to be patient


class Reply:
    """One JSON document, or an event stream once the answer has been long in coming."""

    def __init__(self, send: Send, session: str) -> None:
        self._send = send
        self._session = [(SESSION, session.encode("latin-1"))] if session else []
        self._streams = False
        self._pings: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._patience = self._loop.call_later(PING_EVERY, self._start_pings)

    async def finish(self, message: bytes, status: int) -> None:
        self.leave()
        if self._pings is not None:
            await asyncio.wait([self._pings])
        if self._streams:
            event = b"event: message\r\ndata: " + message + b"\r\n\r\n"
            await self._send({"type": "http.response.body", "body": event})
            return
        head = [(b"content-type", b"application/json"), (b"content-length", str(len(message)).encode()), *self._session]
        await self._send({"type": "http.response.start", "status": int(status), "headers": head})
        await self._send({"type": "http.response.body", "body": message})

    def leave(self) -> None:
        """Send nothing any more of its own accord. Whoever made it leaves it, answered or not."""
        self._patience.cancel()
        if self._pings is not None:
            self._pings.cancel()

    def _start_pings(self) -> None:
        self._pings = self._loop.create_task(self._ping())

    async def _ping(self) -> None:
        head = [
            (b"content-type", b"text/event-stream"),
            (b"cache-control", b"no-cache, no-transform"),
            (b"x-accel-buffering", b"no"),
            *self._session,
        ]
        await self._send({"type": "http.response.start", "status": 200, "headers": head})
        self._streams = True
        while True:
            await self._send({"type": "http.response.body", "body": b": ping\r\n\r\n", "more_body": True})
            await asyncio.sleep(PING_EVERY)

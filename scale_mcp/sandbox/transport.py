"""The sandbox as an httpx2 transport: no socket, but the same failures as one."""

from __future__ import annotations

import httpx2

from scale_mcp.sandbox.app import App, ConnectionDropped


class InProcessTransport(httpx2.AsyncBaseTransport):
    """Hands requests to the application in this process. A dropped connection raises what a socket's client raises."""

    def __init__(self, app: App) -> None:
        self._inner = httpx2.ASGITransport(app=app)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            return await self._inner.handle_async_request(request)
        except ConnectionDropped:
            raise httpx2.RemoteProtocolError(
                "Server disconnected without sending a response.", request=request
            ) from None

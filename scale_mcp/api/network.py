"""The transport of a connection whose caller names none."""

from __future__ import annotations

import asyncio
import re
from urllib.request import getproxies

import httpx2

OLDEST_MINOR = 14  # of aiohttp 3: older ones leave an error behind when an upload is given up


def open_network(*, https: bool, in_flight: int) -> httpx2.AsyncBaseTransport:
    """aiohttp where the extra ``fast`` is installed and asyncio runs, else httpx2's own.

    For https, proxies come from the environment; then all is httpx2's, which knows the ways through them. Plain http
    goes direct, to this machine.
    """
    limits = httpx2.Limits(max_connections=2 * in_flight, max_keepalive_connections=in_flight)
    if https and any(getproxies().get(scheme) for scheme in ("http", "https", "all")):
        return _ThroughProxies(httpx2.AsyncClient(limits=limits, trust_env=True))
    return _over_aiohttp(limits, https=https) or httpx2.AsyncHTTPTransport(limits=limits, trust_env=https)


def _over_aiohttp(limits: httpx2.Limits, *, https: bool) -> httpx2.AsyncBaseTransport | None:
    try:
        asyncio.get_running_loop()
        import aiohttp
    except (ImportError, RuntimeError):
        return None
    number = re.match(r"3\.(\d+)\.", aiohttp.__version__)
    if number is None or int(number[1]) < OLDEST_MINOR:
        return None  # another version than the extra asks for
    from scale_mcp.api.aiohttp_transport import AiohttpTransport

    return AiohttpTransport(limits=limits, trust_env=https)


class _ThroughProxies(httpx2.AsyncBaseTransport):
    """httpx2's client as a transport: it finds the proxy for each address, or none."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await self._client.send(request, stream=True, auth=None, follow_redirects=False)

    async def aclose(self) -> None:
        await self._client.aclose()

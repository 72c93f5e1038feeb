"""The transport of a connection whose caller names none."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable
from typing import cast
from urllib.request import getproxies

import httpx2

WELL_BUSY = 16  # requests in one of httpx2's pools; with more, the next pool is opened
OLDEST_MINOR = 14  # of aiohttp 3: older ones leave an error behind when an upload is given up


def open_network(*, https: bool, in_flight: int) -> httpx2.AsyncBaseTransport:
    """aiohttp where the extra ``fast`` is installed and asyncio runs, else httpx2's own.

    For https, proxies come from the environment; then all is httpx2's, which knows the ways through them. Plain http
    goes direct, to this machine.
    """
    limits = httpx2.Limits(max_connections=2 * in_flight, max_keepalive_connections=in_flight)
    if https and any(getproxies().get(scheme) for scheme in ("http", "https", "all")):
        return _ThroughProxies(httpx2.AsyncClient(limits=limits, trust_env=True))
    if (fast := _over_aiohttp(limits, https=https)) is not None:
        return fast
    if in_flight <= WELL_BUSY:
        return httpx2.AsyncHTTPTransport(limits=limits, trust_env=https)
    return Pools(in_flight, httpx2.create_ssl_context(trust_env=https))


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


class Pools(httpx2.AsyncBaseTransport):
    """Several of httpx2's pools as one: a pool looks through all of its connections for each request.

    With 128 under way that takes longer than all the rest, in pools of sixteen nearly nothing. There may be twice as
    many connections as requests in flight, as with one pool.
    """

    def __init__(self, in_flight: int, verify: ssl.SSLContext) -> None:
        self._most = -(-in_flight // WELL_BUSY)
        self._verify = verify
        self._pools: list[_Pool] = []
        self._closed = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        pool = self._least_busy()
        pool.busy += 1
        try:
            response = await pool.transport.handle_async_request(request)
        except BaseException:
            pool.busy -= 1
            raise
        response.stream = _UntilClosed(cast("httpx2.AsyncByteStream", response.stream), pool.left)
        return response

    def _least_busy(self) -> _Pool:
        if self._closed:
            raise httpx2.ConnectError("The pools of connections are closed.")
        least = min(self._pools, key=lambda pool: pool.busy, default=None)
        if least is None or (least.busy >= WELL_BUSY and len(self._pools) < self._most):
            least = _Pool(self._verify)
            self._pools.append(least)
        return least

    async def aclose(self) -> None:
        self._closed = True
        for pool in self._pools:
            await pool.transport.aclose()


class _Pool:
    """One pool, and how many requests are in it."""

    def __init__(self, verify: ssl.SSLContext) -> None:
        limits = httpx2.Limits(max_connections=2 * WELL_BUSY, max_keepalive_connections=WELL_BUSY)
        self.transport = httpx2.AsyncHTTPTransport(verify=verify, limits=limits, trust_env=False)
        self.busy = 0

    def left(self) -> None:
        self.busy -= 1


class _UntilClosed(httpx2.AsyncByteStream):
    """A body that tells once when it is closed."""

    def __init__(self, body: httpx2.AsyncByteStream, tell: Callable[[], None]) -> None:
        self._body = body
        self._tell: Callable[[], None] | None = tell

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._body)

    async def aclose(self) -> None:
        tell, self._tell = self._tell, None
        try:
            await self._body.aclose()
        finally:
            if tell is not None:
                tell()

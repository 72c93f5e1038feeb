"""The network by way of aiohttp: the same as httpx2's own transport, for a fraction of its CPU time.

Installed with the extra ``fast``. Whatever a user of httpx2's transport may rely on holds here too, and the same tests
run over both: one attempt and never a hidden second one, no redirects, cookies, proxies, netrc or decompression, the
address byte for byte, httpx2's exceptions, and a connection that is closed when its request is given up.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any, cast

import aiohttp
import httpx2
from multidict import CIMultiDict
from yarl import URL

from scale_mcp.api.aiohttp_errors import translated
from scale_mcp.api.aiohttp_upload import Upload
from scale_mcp.api.time_limit import FAR, FarLimit

LONGEST_HEADER = 64 * 1024  # bytes
WRITTEN_AT_ONCE = 64 * 1024  # bytes of a body that the buffer of an idle connection takes, so that nothing can stall
NOT_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")  # headers that aiohttp would add of its own
TIMERS_OF_AIOHTTP: nullcontext[None] = nullcontext()  # they do without a limit of ours


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """A pool of connections. It belongs to the event loop of its first request, which must be asyncio's.

    ``verify`` is what certificates are checked with, by default what httpx2 takes. Of ``limits`` the number of idle
    connections is not looked at: they are at most as many as connections at all, and expire.
    """

    def __init__(
        self,
        *,
        verify: ssl.SSLContext | None = None,
        limits: httpx2.Limits | None = None,
        trust_env: bool = True,
    ) -> None:
        self._verify = verify
        self._trust_env = trust_env  # for the place of trusted certificates, as httpx2 has it; for nothing else
        self._limits = limits or httpx2.Limits(max_connections=100)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._free = asyncio.Semaphore(self._limits.max_connections or 2**31)
        self._timeouts: dict[tuple[float | None, float | None], aiohttp.ClientTimeout] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request. Whoever has the answer reads its body, and closes it, which frees the connection."""
        given: Mapping[str, float | None] = request.extensions.get("timeout", {})
        address, headers = _address(request.url), _headers(request)
        chunked = True if headers.popall("Transfer-Encoding", ()) else None
        if not self._free.locked():
            await self._free.acquire()
        else:
            await self._take_place(given.get("pool"))
        upload: Upload | None = None
        failure: BaseException
        try:
            if isinstance(request.stream, httpx2.ByteStream) and len(content := request.read()) <= WRITTEN_AT_ONCE:
                answer = await self._begin(request.method, address, headers, content or None, given)
            else:
                upload = Upload(request, given.get("write"))
                async with upload.watched():
                    answer = await self._begin(request.method, address, headers, upload, given, chunked=chunked)
        except BaseException as error:
            failure = error
        else:
            return httpx2.Response(
                answer.status,
                headers=answer.raw_headers,
                stream=_Body(answer, upload, self._free.release),
                extensions={"http_version": b"HTTP/1.1", "reason_phrase": (answer.reason or "").encode()},
            )
        self._free.release()
        if upload is not None:
            await upload.aclose()
            if upload.failure is not None and isinstance(failure, Exception):
                failure = upload.failure
        raise failure

    async def exchange(
        self,
        method: str,
        address: str,
        headers: Sequence[tuple[str, str]],
        content: bytes | None,
        timeouts: Mapping[str, float | None],
        most: int,
    ) -> tuple[int, Sequence[tuple[bytes, bytes]], bytes]:
        """Status, headers and the whole body, undecoded; of a body with more than ``most`` bytes only the beginning.

        The same without httpx2's objects, which take half as long again as aiohttp itself. The address goes out as it
        is, ``headers`` hold no line breaks, and ``content`` has at most WRITTEN_AT_ONCE bytes. Where there is plenty of
        time for reading, it counts from the beginning of the request, and again from each piece of the body.
        """
        if not self._free.locked():
            await self._free.acquire()
        else:
            await self._take_place(timeouts.get("pool"))
        clock, read = asyncio.get_running_loop().time, timeouts.get("read")
        limit: FarLimit | None = None
        if read is not None and read > FAR and read >= (timeouts.get("connect") or 0.0):
            limit = FarLimit(clock() + read)  # aiohttp makes and cancels a timer with each piece
            timeouts = {**timeouts, "read": None}
        middlewares = () if method == "POST" else None  # aiohttp itself sends no POST twice
        answer: _Answer | None = None
        failure: Exception
        parts: list[bytes] = []
        try:
            with limit or TIMERS_OF_AIOHTTP:
                target, given = URL(address, encoded=True), CIMultiDict(headers)
                answer = await self._begin(method, target, given, content, timeouts, middlewares=middlewares)
                body, size = answer.content, 0
                while size <= most and not body.at_eof():
                    parts.append(piece := await body.readany())
                    size += len(piece)
                    if limit is not None and read is not None:
                        limit.move(clock() + read)
            if not answer.was_reset:  # for aiohttp a body without a length is complete then
                return answer.status, answer.raw_headers, b"".join(parts)
            failure = httpx2.ReadError("The connection was reset.")
        except httpx2.HTTPError as error:
            failure = error
        except Exception as error:
            if limit is not None and limit.expired():
                failure = httpx2.ReadTimeout("Nothing came in time.")
            elif answer is not None and answer.was_reset:
                failure = httpx2.ReadError("The connection was reset.")
            else:
                failure = translated(error)
        finally:
            if answer is not None:
                answer.close()
            self._free.release()
        raise failure  # outside of the handler: aiohttp's errors hold the headers, so none is kept as context

    def _begin(
        self,
        method: str,
        address: URL,
        headers: CIMultiDict[str],
        body: bytes | Upload | None,
        timeouts: Mapping[str, float | None],
        *,
        chunked: bool | None = None,
        middlewares: tuple[()] | None = None,
    ) -> Awaitable[_Answer]:
        """Send a request and give the answer when its head is there."""
        sent = self._open_session().request(
            method,
            address,
            headers=headers,
            data=body,
            chunked=chunked,
            skip_auto_headers=[name for name in NOT_ADDED if name not in headers] or None,
            allow_redirects=False,
            timeout=self._timeout(timeouts.get("connect"), timeouts.get("read")),
            ssl=self._checks if address.scheme == "https" else True,
            middlewares=middlewares,
        )
        return cast("Awaitable[_Answer]", sent)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise httpx2.ConnectError("The pool of connections is closed.")
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=0,  # counted here, which tells waiting for a connection from making one
                keepalive_timeout=self._limits.keepalive_expiry,
                resolver=aiohttp.ThreadedResolver(),  # the system's, like everybody else's
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                max_line_size=LONGEST_HEADER,
                max_field_size=LONGEST_HEADER,
                response_class=_Answer,
                middlewares=(_one_attempt,),
            )
        return self._session

    @cached_property
    def _checks(self) -> ssl.SSLContext:
        """How certificates are checked. Takes tens of milliseconds to build, so plain http does without."""
        made = self._verify or httpx2.create_ssl_context(trust_env=self._trust_env)
        made.set_alpn_protocols(["http/1.1"])
        return made

    def _timeout(self, connect: float | None, read: float | None) -> aiohttp.ClientTimeout:
        known = self._timeouts.get((connect, read))
        if known is None:
            known = aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=connect, sock_read=read)
            self._timeouts[connect, read] = known
        return known

    async def _take_place(self, within: float | None) -> None:
        """Wait until there may be one more connection."""
        try:
            async with asyncio.timeout(within):
                await self._free.acquire()
            return
        except TimeoutError:
            pass
        raise httpx2.PoolTimeout("All connections were busy for too long.")

    async def aclose(self) -> None:
        """Close all connections. Requests after this are refused."""
        self._closed = True
        if self._session is not None:
            await self._session.close()


class _Answer(aiohttp.ClientResponse):
    """An answer that still knows its connection's protocol when the connection is gone."""

    protocol: Any = None

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        self.protocol = connection.protocol
        return await super().start(connection)

    @property
    def was_reset(self) -> bool:
        """Whether the connection broke, rather than being closed by the other side."""
        return self.protocol is not None and isinstance(self.protocol.exception(), aiohttp.ClientOSError)


class _Body(httpx2.AsyncByteStream):
    """The body of an answer as it comes."""

    def __init__(self, answer: _Answer, upload: Upload | None = None, free: Callable[[], None] | None = None) -> None:
        self._answer = answer
        self._upload = upload
        self._free = free

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        failure: Exception | None = None
        try:
            piece = await self._answer.content.readany()
        except Exception as error:
            failure = httpx2.ReadError("The connection was reset.") if self._answer.was_reset else translated(error)
        else:
            if piece:
                return piece
            if self._answer.was_reset:  # for aiohttp a body without a length is complete then
                failure = httpx2.ReadError("The connection was reset.")
        if failure is not None:
            raise failure
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Free the connection: for the next request if the body was read to its end, else by closing it."""
        free, self._free = self._free, None
        if free is None:
            return
        self._answer.close()
        free()
        if self._upload is not None:
            await self._upload.aclose()


async def _one_attempt(
    request: aiohttp.ClientRequest, send: Callable[[aiohttp.ClientRequest], Any]
) -> aiohttp.ClientResponse:
    """Within aiohttp's own loop, which would send some methods a second time if it saw its own exceptions."""
    if request.method not in ("POST", "PUT", "PATCH") and not request.body:
        request.headers.pop("Content-Length", None)  # of a body that there is not
    try:
        answer: aiohttp.ClientResponse = await send(request)
        return answer
    except Exception as error:
        failure = translated(error)
    raise failure  # outside of the handler: aiohttp's errors hold the headers, so none is kept as context


def _address(url: httpx2.URL) -> URL:
    """The same address, no byte of it quoted or unquoted again."""
    if url.scheme not in ("http", "https"):
        raise httpx2.UnsupportedProtocol(f"Request URL has an unsupported protocol '{url.scheme}://'.")
    try:
        return URL(f"{url.scheme}://{url.netloc.decode('ascii')}{url.raw_path.decode('ascii')}", encoded=True)
    except ValueError:
        pass
    raise httpx2.LocalProtocolError("The address cannot be used.")


def _headers(request: httpx2.Request) -> CIMultiDict[str]:
    """The same headers, as they are written. What no header may hold is refused before anything is sent."""
    raw = request.headers.raw
    together = b"".join([part for pair in raw for part in pair])
    if b"\r" in together or b"\n" in together or b"\0" in together:
        raise httpx2.LocalProtocolError("Illegal header value")
    try:
        return CIMultiDict([(name.decode("ascii"), value.decode()) for name, value in raw])
    except UnicodeDecodeError:
        pass
    raise httpx2.LocalProtocolError("Illegal header value")

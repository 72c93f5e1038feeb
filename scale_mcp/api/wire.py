"""The only module that touches the network: one pool, one signature, httpx2's errors in our terms."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, cast

from scale_mcp.api import trace
from scale_mcp.api.answers import Answer
from scale_mcp.api.connection import Connection
from scale_mcp.api.errors import ConnectionFailed, RefusedBeforeSending, ScaleError, UnexpectedAnswer
from scale_mcp.api.operation import Operation
from scale_mcp.api.options import ApiOptions
from scale_mcp.api.retry import retry_after
from scale_mcp.text import one_line
from scale_mcp.version import version

if TYPE_CHECKING:
    import httpx2

    from scale_mcp.api.addresses import Address

Named = Sequence[tuple[bytes, bytes]]  # headers as they came

PLAIN_CONTENT = 64 * 1024  # bytes; a larger body has a way of its own to be sent
REQUEST_ID_HEADERS = (b"x-request-id", b"x-amzn-requestid", b"x-amz-request-id", b"cf-ray")
REQUEST_ID = "request_id"  # where a response keeps it, cleaned


@dataclass(frozen=True, slots=True)
class Plain:
    """A request with a small body, if any, on its short way over a network that takes it as it is."""

    method: str
    address: Address
    content: bytes | None


class PlainNetwork(Protocol):
    """What a transport may do besides sending httpx2's requests."""

    async def exchange(
        self,
        method: str,
        address: str,
        headers: Sequence[tuple[str, str]],
        content: bytes | None,
        timeouts: Mapping[str, float | None],
        most: int,
    ) -> tuple[int, Named, bytes]:
        """Status, headers and the whole body, undecoded; of a body with more than ``most`` bytes only the beginning."""
        ...


class Wire:
    """Builds, signs, sends and reads single requests. httpx2 is imported at the first one."""

    def __init__(
        self, connection: Connection, transport: httpx2.AsyncBaseTransport | None, options: ApiOptions
    ) -> None:
        self._connection = connection
        self._transport = transport
        self._options = options
        self._closed = False

    @cached_property
    def _network(self) -> httpx2.AsyncBaseTransport:
        """What sends requests. Without httpx2's client around it: no cookies, redirects or credentials of others."""
        from scale_mcp.api.network import open_network

        for name in ("httpx2", "httpcore2"):  # they log whole URLs
            logging.getLogger(name).setLevel(logging.WARNING)
        https = self._connection.base_url.startswith("https:")
        return self._transport or open_network(https=https, in_flight=self._options.max_in_flight)

    def with_key(self, connection: Connection) -> Wire:
        """The same network with another key of the account."""
        return Wire(connection, self._network, self._options)

    def prepare(self, operation: Operation) -> httpx2.Request | Plain:
        """A fresh request, as plain as the network takes it. Whatever can be refused is refused here."""
        if operation.stream is not None or not hasattr(self._network, "exchange"):
            return self.request(operation)
        content = operation.encoded_body()
        if content is not None and len(content) > PLAIN_CONTENT:
            return self.request(operation)
        return Plain(operation.method, self._address(operation), content)

    def request(self, operation: Operation) -> httpx2.Request:
        """A fresh request for an operation, without the key. Whatever can be refused is refused here."""
        import httpx2

        url, content = self._address(operation).url, operation.encoded_body()
        method, stream = operation.method, operation.stream
        if stream is not None:
            more = {"Content-Type": stream.content_type, "Content-Length": str(stream.length)}
            headers, pieces = self._headers | more, stream.pieces()
            return httpx2.Request(method, url, headers=headers, content=pieces, extensions=self._timeouts)
        return httpx2.Request(
            method,
            url,
            headers=self._headers | _body_headers(method, content),
            content=content,
            extensions=self._timeouts,
        )

    def _address(self, operation: Operation) -> Address:
        if self._closed:
            raise RefusedBeforeSending("The connection to Scale is closed.", next_step="Open a new one.")
        from scale_mcp.api.addresses import address

        return address(self._connection.base_url, operation.path, tuple(operation.pairs()))

    def get(self, url: httpx2.URL) -> httpx2.Request:
        """A request for an address that a redirect led to."""
        import httpx2

        return httpx2.Request("GET", url, headers=self._headers, extensions=self._timeouts)

    async def exchange(self, request: Plain, exchange: trace.Exchange) -> Answer:
        """Send a plain request and read the whole answer: the short way, without httpx2's objects in between."""
        import httpx2

        network, most = cast("PlainNetwork", self._network), self._options.max_answer_bytes
        try:
            received = self._received(  # no variable keeps the key or what echoes it: tracebacks may show them
                await network.exchange(
                    request.method,
                    request.address.text,
                    self._signed_headers(request),
                    request.content,
                    self._timeouts["timeout"],
                    most,
                )
            )
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            failure = self._translated(error)
        else:
            if isinstance(received, Answer):
                trace.note(exchange, received.status, received.request_id)
                return received
            trace.note(exchange, received.status_code, received.extensions[REQUEST_ID])
            return await self.read(received)
        trace.note(exchange, None, None)
        raise failure

    def _signed_headers(self, request: Plain) -> list[tuple[str, str]]:
        headers = [*self._plain_headers, *_body_headers(request.method, request.content).items()]
        if (value := self._connection.authorization(request.address.url)) is not None:
            headers.append(("Authorization", value))
        return headers

    def _received(self, whole: tuple[int, Named, bytes]) -> Answer | httpx2.Response:
        """The answer; as httpx2's response where it is compressed, too large or no success, to be read more closely."""
        status, named, content = whole
        given = {name.lower(): value for name, value in named}
        request_id = self._request_id(given)
        if status < 300 and b"content-encoding" not in given and len(content) <= self._options.max_answer_bytes:
            return Answer(status, content, b"html" in given.get(b"content-type", b""), None, request_id)
        import httpx2

        response = httpx2.Response(status, headers=named, content=_in_slices(content))
        response.extensions[REQUEST_ID] = request_id
        return response

    async def send(
        self, request: httpx2.Request, exchange: trace.Exchange, *, with_key: bool = True
    ) -> httpx2.Response:
        """Send one request and give the response before its body is read. The caller closes it."""
        import httpx2

        if with_key:
            self._connection.sign(request)
        try:
            response = await self._network.handle_async_request(request)
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            failure = self._translated(error)
        else:
            response.request = request
            response.extensions[REQUEST_ID] = request_id = self._request_id(
                {name.lower(): value for name, value in response.headers.raw}
            )
            trace.note(exchange, response.status_code, request_id)
            return response
        trace.note(exchange, None, None)
        raise failure  # outside of the handler: httpx2's error holds the whole request, so it is not kept as context

    async def chunks(self, response: httpx2.Response) -> AsyncIterator[bytes]:
        """The decoded body, piece by piece."""
        import httpx2

        try:
            async for piece in response.aiter_bytes():
                yield piece
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            failure = self._translated(error)
        else:
            return
        raise failure

    async def read(self, response: httpx2.Response) -> Answer:
        """The whole answer, up to the configured size."""
        import httpx2

        given = {name.lower(): value for name, value in response.headers.raw}
        # Without an encoding httpx2's decoders only hand the pieces on, so they are left out.
        coded = b"content-encoding" in given
        pieces = response.aiter_bytes() if coded else aiter(cast("httpx2.AsyncByteStream", response.stream))
        most, size, parts = self._options.max_answer_bytes, 0, []
        failure: ScaleError | None = None
        try:
            async for piece in pieces:
                parts.append(piece)
                size += len(piece)
                if size > most:
                    break
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            failure = self._translated(error)
        finally:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()
        if failure is not None:
            raise failure
        if size > most:
            raise UnexpectedAnswer(
                f"The answer has more than {most // (1024 * 1024)} MB.",
                next_step="Ask for less at once.",
                in_doubt=response.status_code < 400,
            )
        return Answer(
            status=response.status_code,
            content=b"".join(parts),
            is_html=b"html" in given.get(b"content-type", b""),
            retry_after=retry_after(response.headers) if b"retry-after" in given else None,
            request_id=response.extensions[REQUEST_ID],
        )

    async def close(self, response: httpx2.Response) -> None:
        """Free the connection of an answer that was read, or that nobody wants."""
        await cast("httpx2.AsyncByteStream", response.stream).aclose()

    def _request_id(self, given: Mapping[bytes, bytes]) -> str | None:
        """Scale's id of a request, for support, from headers by their names in lower case."""
        for name in REQUEST_ID_HEADERS:
            if value := given.get(name):
                return one_line(self._connection.scrub(value.decode("utf-8", "replace")), 100)
        return None

    async def aclose(self) -> None:
        """Close the pool. Requests after this are refused."""
        self._closed = True
        if (network := self.__dict__.get("_network")) is not None:
            await network.aclose()

    @cached_property
    def _plain_headers(self) -> list[tuple[str, str]]:
        """Those of every plain request, but for its body's and the key."""
        import httpx2

        if any(character in self._headers["User-Agent"] for character in "\r\n\0"):
            raise RefusedBeforeSending("The user agent holds a line break.", next_step="Give one without.")
        return [("Host", httpx2.URL(self._connection.base_url).netloc.decode("ascii")), *self._headers.items()]

    @cached_property
    def _headers(self) -> dict[str, str]:
        import platform

        agent = f"scale-mcp/{version()} Python/{platform.python_version()} {self._options.user_agent}".rstrip()
        return {"Accept": "application/json, */*", "Accept-Encoding": "gzip, deflate", "User-Agent": agent}

    @cached_property
    def _timeouts(self) -> dict[str, Any]:
        io, connect = self._options.io_timeout, self._options.connect_timeout
        return {"timeout": {"connect": connect, "pool": io, "read": io, "write": io}}

    def _translated(self, error: Exception) -> ScaleError:
        """httpx2's error in our terms. The question is whether Scale can have received the request."""
        import httpx2

        kind, words = type(error).__name__, one_line(self._connection.scrub(str(error)), 200)
        detail = f"{kind}: {words}" if words else kind
        if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
            return RefusedBeforeSending(
                f"The request could not be sent ({detail}).", next_step="Check the API address and what was to be sent."
            )
        if isinstance(error, httpx2.DecodingError | httpx2.StreamError):
            return UnexpectedAnswer(f"Scale's answer could not be read ({detail}).", retryable=True, in_doubt=True)
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout | httpx2.ProxyError):
            return ConnectionFailed(f"Scale could not be reached ({detail}).", retryable=True)
        return ConnectionFailed(f"The connection to Scale was lost ({detail}).", retryable=True, in_doubt=True)


async def _in_slices(content: bytes) -> AsyncIterator[bytes]:
    """So that a small body that decodes into a huge one is noticed before it is in memory."""
    for start in range(0, len(content), PLAIN_CONTENT):
        yield content[start : start + PLAIN_CONTENT]


def _body_headers(method: str, content: bytes | None) -> dict[str, str]:
    if content is not None:
        return {"Content-Type": "application/json", "Content-Length": str(len(content))}
    return {"Content-Length": "0"} if method in ("POST", "PUT") else {}

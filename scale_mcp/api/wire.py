"""The only module that touches the network: one pool, one signature, httpx2's errors in our terms."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from scale_mcp.api import trace
from scale_mcp.api.answers import Answer
from scale_mcp.api.connection import Connection
from scale_mcp.api.errors import ConnectionFailed, RefusedBeforeSending, ScaleError, UnexpectedAnswer
from scale_mcp.api.operation import Operation
from scale_mcp.api.options import ApiOptions
from scale_mcp.api.retry import retry_after
from scale_mcp.text import one_line

if TYPE_CHECKING:
    import httpx2


REQUEST_ID_HEADERS = ("x-request-id", "x-amzn-requestid", "x-amz-request-id", "cf-ray")


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
    def _http(self) -> httpx2.AsyncClient:
        """The pool. Proxies come from the environment, credentials never; plain http goes direct, to this machine."""
        import httpx2

        for name in ("httpx2", "httpcore2"):  # they log whole URLs
            logging.getLogger(name).setLevel(logging.WARNING)
        most = self._options.max_in_flight
        return httpx2.AsyncClient(
            transport=self._transport,
            trust_env=self._connection.base_url.startswith("https:"),
            limits=httpx2.Limits(max_connections=2 * most, max_keepalive_connections=most),
        )

    def request(self, operation: Operation) -> httpx2.Request:
        """A fresh request for an operation, without the key. Whatever can be refused is refused here."""
        if self._closed:
            raise RefusedBeforeSending("The connection to Scale is closed.", next_step="Open a new one.")
        import httpx2

        path, params = operation.path, operation.pairs()
        address = self._connection.base_url + path
        try:
            url = httpx2.URL(address, params=params) if params else httpx2.URL(address)
        except httpx2.InvalidURL as error:
            reason = one_line(str(error), 100)
            raise RefusedBeforeSending(
                f"No address can be made from this request ({reason}).", next_step="Ask for less at once."
            ) from None
        expected = httpx2.URL(self._connection.base_url).raw_path.rstrip(b"/") + path.encode()
        if url.raw_path.split(b"?")[0] != expected:
            raise RefusedBeforeSending(f"The address made from {operation.template} does not match it.")
        headers, stream, content = dict(self._headers), operation.stream, operation.encoded_body()
        if stream is not None:
            headers |= {"Content-Type": stream.content_type, "Content-Length": str(stream.length)}
        elif content is not None:
            headers["Content-Type"] = "application/json"
        return httpx2.Request(
            operation.method,
            url,
            headers=headers,
            content=stream.pieces() if stream is not None else content,
            extensions=self._timeouts,
        )

    def get(self, url: httpx2.URL) -> httpx2.Request:
        """A request for an address that a redirect led to."""
        import httpx2

        return httpx2.Request("GET", url, headers=self._headers, extensions=self._timeouts)

    async def send(
        self, request: httpx2.Request, exchange: trace.Exchange, *, with_key: bool = True
    ) -> httpx2.Response:
        """Send one request and give the response before its body is read. The caller closes it."""
        import httpx2

        if with_key:
            self._connection.sign(request)
        try:
            response = await self._http.send(request, stream=True, auth=None, follow_redirects=False)
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            failure = self._translated(error)
        else:
            trace.note(exchange, response.status_code, self._request_id(response))
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
        most = self._options.max_answer_bytes
        content = bytearray()
        async for piece in self.chunks(response):
            content += piece
            if len(content) > most:
                raise UnexpectedAnswer(
                    f"The answer has more than {most // (1024 * 1024)} MB.",
                    next_step="Ask for less at once.",
                    in_doubt=response.status_code < 400,
                )
        return Answer(
            status=response.status_code,
            content=bytes(content),
            is_html="html" in response.headers.get("content-type", ""),
            retry_after=retry_after(response.headers),
            request_id=self._request_id(response),
        )

    def _request_id(self, response: httpx2.Response) -> str | None:
        """Scale's id of a request, for support."""
        for name in REQUEST_ID_HEADERS:
            if value := response.headers.get(name):
                return one_line(self._connection.scrub(value), 100)
        return None

    async def aclose(self) -> None:
        """Close the pool. Requests after this are refused."""
        self._closed = True
        if "_http" in self.__dict__:
            await self._http.aclose()

    @cached_property
    def _headers(self) -> dict[str, str]:
        import platform
        from importlib.metadata import PackageNotFoundError, version

        try:
            own = f"scale-mcp/{version('scale-mcp')}"
        except PackageNotFoundError:
            own = "scale-mcp"
        agent = " ".join(
            part for part in (own, f"Python/{platform.python_version()}", self._options.user_agent) if part
        )
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

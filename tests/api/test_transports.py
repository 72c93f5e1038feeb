"""Both transports, httpx2's own and the one over aiohttp, behave the same on a real connection.

What is tested is what the layer above relies on: which error means that nothing was sent, that a request goes out once
and byte for byte, that a body which broke off is not taken for a whole one.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from scale_mcp.api.aiohttp_transport import AiohttpTransport
from scale_mcp.api.wire import PLAIN_CONTENT

from .certificates import Authority
from .raw_server import OK, RawServer, Visitor, always_ok, serving

pytestmark = pytest.mark.anyio

TIMES = {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0}
AUTHORIZATION = "Basic c2VjcmV0Og=="
Make = Callable[..., httpx2.AsyncBaseTransport]


def over_httpx2(*, verify: Any = True, **limits: int) -> httpx2.AsyncBaseTransport:
    return httpx2.AsyncHTTPTransport(verify=verify, limits=httpx2.Limits(**limits))


def over_aiohttp(*, verify: Any = None, **limits: int) -> httpx2.AsyncBaseTransport:
    return AiohttpTransport(verify=verify, limits=httpx2.Limits(**limits))


class Plainly(AiohttpTransport):
    """The short way that small requests take over aiohttp, as a transport like the others."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if not isinstance(request.stream, httpx2.ByteStream) or len(request.read()) > PLAIN_CONTENT:
            return await super().handle_async_request(request)
        url, headers = request.url, [(name.decode(), value.decode()) for name, value in request.headers.raw]
        address = f"{url.scheme}://{url.netloc.decode()}{url.raw_path.decode()}"
        times = request.extensions.get("timeout", {})
        content = request.content or None
        status, named, body = await self.exchange(request.method, address, headers, content, times, 10**9)
        return httpx2.Response(status, headers=named, stream=httpx2.ByteStream(body))


def over_aiohttp_plainly(*, verify: Any = None, **limits: int) -> httpx2.AsyncBaseTransport:
    return Plainly(verify=verify, limits=httpx2.Limits(**limits))


@pytest.fixture(params=[over_httpx2, over_aiohttp, over_aiohttp_plainly], ids=["httpx2", "aiohttp", "aiohttp plainly"])
def make(request: pytest.FixtureRequest) -> Make:
    return request.param


@pytest.fixture(params=[over_httpx2, over_aiohttp], ids=["httpx2", "aiohttp"])
def full(request: pytest.FixtureRequest) -> Make:
    """Those that take whatever httpx2 can say, and give an answer before its body is there."""
    return request.param


@asynccontextmanager
async def connected(
    make: Make, behaviour: Any, **options: Any
) -> AsyncIterator[tuple[RawServer, httpx2.AsyncBaseTransport]]:
    async with serving(behaviour) as server, make(**options) as transport:
        yield server, transport


def ask(
    server: RawServer, target: str = "/", *, method: str = "GET", content: Any = None, times: Any = None, **headers: str
) -> httpx2.Request:
    named = {"Accept": "*/*", "Authorization": AUTHORIZATION} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    extensions = {"timeout": TIMES | (times or {})}
    return httpx2.Request(method, server.url + target, headers=named, content=content, extensions=extensions)


async def whole(transport: httpx2.AsyncBaseTransport, request: httpx2.Request) -> tuple[int, bytes]:
    """Status and decoded body."""
    response = await transport.handle_async_request(request)
    try:
        return response.status_code, b"".join([piece async for piece in response.aiter_bytes()])
    finally:
        await response.aclose()


def answering(*parts: bytes, end: str = "close") -> Any:
    """A server that answers each request with these bytes and then closes, resets or keeps the connection."""

    async def behave(visitor: Visitor) -> None:
        while await visitor.request() is not None:
            for part in parts:
                await visitor.send(part)
            if end == "reset":
                visitor.reset()
            if end != "keep":
                visitor.close()
                return

    return behave


# what goes out

TARGETS = [
    "/v1/task/a%2Fb%20c",
    "/v1/batches/%C3%A4%F0%9F%90%88%27%28%29%2A%21",
    "/v1/batches/%2e%2E/x%2F..%2F",
    "/v1/batches/a+b;c,d=e:f@g",
    "/v1/projects/100%25",
    "/v1/tasks?project=a%2Fb&tags=x+y&tags=%26&start_time=2026-01-01T00%3A00%3A00%2B02%3A00",
    "/v1/tasks?x=%41%7E'()*!",
]


@pytest.mark.parametrize("target", TARGETS)
async def test_the_address_goes_out_byte_for_byte(make: Make, target: str):
    async with connected(make, always_ok) as (server, transport):
        request = ask(server, target)
        await whole(transport, request)

    assert server.requests[0].line == f"GET {request.url.raw_path.decode()} HTTP/1.1"
    assert "%2F" not in target or "%2F" in server.requests[0].line


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("content", [None, b'{"a": 1}'])
async def test_the_headers_go_out_as_they_are_and_no_others(make: Make, method: str, content: bytes | None):
    async with connected(make, always_ok) as (server, transport):
        request = ask(server, method=method, content=content, X_CaSe="Kept", User_Agent="us")
        await whole(transport, request)

    (received,) = server.requests
    assert received.headers == {name.decode(): value.decode() for name, value in request.headers.raw}
    assert received.body == (content or b"")
    assert ("Content-Length" in received.headers) is (content is not None or method in ("POST", "PUT"))


async def test_a_request_without_any_header_gets_none_added(make: Make):
    async with connected(make, always_ok) as (server, transport):
        await whole(transport, httpx2.Request("POST", server.url, content=b"x"))

    assert server.requests[0].headers == {"Host": f"127.0.0.1:{server.port}", "Content-Length": "1"}


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 3_000_000])
async def test_a_body_in_memory_arrives_whole(make: Make, size: int):
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    async with connected(make, always_ok) as (server, transport):
        assert await whole(transport, ask(server, method="POST", content=content)) == (200, b"ok")

    assert server.requests[0].body == content


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_in_pieces_arrives_whole(make: Make, announced: bool):
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(50):
            yield bytes([number]) * 10_000

    async with connected(make, always_ok) as (server, transport):
        headers = {"Content_Length": "500000"} if announced else {}
        request = ask(server, method="POST", content=pieces(), **headers)
        assert await whole(transport, request) == (200, b"ok")

    assert server.requests[0].body == b"".join(bytes([number]) * 10_000 for number in range(50))
    assert ("Transfer-Encoding" in server.requests[0].headers) is not announced


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b"])
async def test_a_header_that_would_become_two_is_refused_before_anything_is_sent(full: Make, value: str):
    async with connected(full, always_ok) as (server, transport):
        with pytest.raises(httpx2.LocalProtocolError):
            await whole(transport, ask(server, X_Name=value))

    assert server.requests == []


async def test_another_scheme_is_refused(full: Make):
    async with full() as transport:
        with pytest.raises(httpx2.UnsupportedProtocol):
            await transport.handle_async_request(httpx2.Request("GET", "ftp://127.0.0.1/x"))


async def test_proxies_of_the_environment_are_not_asked(make: Make, monkeypatch: pytest.MonkeyPatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with connected(make, always_ok) as (server, transport):
        assert await whole(transport, ask(server)) == (200, b"ok")


async def test_credentials_of_the_environment_are_not_sent(make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login eve password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with connected(make, always_ok) as (server, transport):
        await whole(transport, httpx2.Request("GET", server.url))

    assert "Authorization" not in server.requests[0].headers


# what comes back


async def test_an_answer_comes_with_status_reason_and_headers_as_they_were_written(full: Make):
    head = (
        b"HTTP/1.1 418 I am a teapot\r\nX-CaSe: Kept\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n"
    )
    async with connected(full, answering(head)) as (server, transport):
        response = await transport.handle_async_request(ask(server))
        await response.aclose()

    assert (response.status_code, response.reason_phrase, response.http_version) == (418, "I am a teapot", "HTTP/1.1")
    assert (b"X-CaSe", b"Kept") in response.headers.raw
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n0123456789",
        b"HTTP/1.0 200 OK\r\n\r\n0123456789",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789",
    ],
    ids=["length", "chunks", "until the end", "old", "after hints"],
)
async def test_a_body_is_read_however_its_end_is_told(make: Make, answer: bytes):
    async with connected(make, answering(answer)) as (server, transport):
        assert await whole(transport, ask(server)) == (200, b"0123456789")


@pytest.mark.parametrize(("method", "status"), [("HEAD", b"200 OK"), ("GET", b"204 No Content"), ("GET", b"304 Same")])
async def test_an_answer_without_body_ends_with_its_head(make: Make, method: str, status: bytes):
    answer = b"HTTP/1.1 " + status + (b"\r\nContent-Length: 5" if method == "HEAD" else b"") + b"\r\n\r\n"
    async with connected(make, answering(answer, end="keep")) as (server, transport):
        assert (await whole(transport, ask(server, method=method)))[1] == b""


async def test_a_body_comes_encoded_as_it_was_sent_and_is_decoded_above(make: Make):
    packed = gzip.compress(b"plain" * 1000)
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
    async with connected(make, answering(answer, end="keep")) as (server, transport):
        response = await transport.handle_async_request(ask(server))
        assert b"".join([piece async for piece in response.aiter_raw()]) == packed
        assert await whole(transport, ask(server)) == (200, b"plain" * 1000)


async def test_a_redirect_is_not_followed(make: Make):
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    async with connected(make, answering(answer)) as (server, transport):
        assert await whole(transport, ask(server)) == (302, b"")

    assert len(server.requests) == 1


async def test_no_cookie_is_kept(make: Make):
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=1; Path=/\r\nContent-Length: 0\r\n\r\n"
    async with connected(make, answering(answer, end="keep")) as (server, transport):
        for _ in range(2):
            await whole(transport, ask(server))

    assert not any("Cookie" in received.headers for received in server.requests)


async def test_a_long_body_comes_in_pieces_and_is_not_taken_into_memory(full: Make):
    sent = 0

    async def endless(visitor: Visitor) -> None:
        nonlocal sent
        await visitor.request()
        await visitor.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(1000):
            await visitor.send(b"x" * 100_000)
            sent += 100_000

    async with connected(full, endless) as (server, transport):
        response = await transport.handle_async_request(ask(server))
        pieces = response.aiter_bytes()
        assert len(await anext(pieces)) <= 1_000_000
        await asyncio.sleep(0.05)  # time that a transport without a brake would fill
        assert sent < 20_000_000
        await pieces.aclose()
        await response.aclose()
        await asyncio.wait_for(server.finished.wait(), 5)


# connections


async def test_a_connection_is_used_again_once_the_body_was_read(make: Make):
    async with connected(make, always_ok) as (server, transport):
        for _ in range(3):
            assert await whole(transport, ask(server, method="POST", content=b"{}")) == (200, b"ok")

    assert (server.connections, len(server.requests)) == (1, 3)


async def test_a_connection_that_the_server_closed_meanwhile_is_not_used(make: Make):
    async with connected(make, answering(OK)) as (server, transport):
        for _ in range(3):
            assert await whole(transport, ask(server, method="POST", content=b"{}")) == (200, b"ok")
            await server.finished.wait()
            server.finished.clear()
            await asyncio.sleep(0.02)  # the end of the connection is on its way through the kernel

    assert (server.connections, len(server.requests)) == (3, 3)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_a_kept_connection_that_closes_without_an_answer_is_an_error_and_no_second_attempt(
    make: Make, method: str
):
    async def second_time_never(visitor: Visitor) -> None:
        await visitor.request()
        await visitor.send(OK)
        await visitor.request()
        visitor.close()

    async with connected(make, second_time_never) as (server, transport):
        await whole(transport, ask(server))
        with pytest.raises(httpx2.RemoteProtocolError):
            await whole(transport, ask(server, method=method))

    assert (server.connections, len(server.requests)) == (1, 2)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_a_kept_connection_that_breaks_is_an_error_and_no_second_attempt(make: Make, method: str):
    async def second_time_never(visitor: Visitor) -> None:
        await visitor.request()
        await visitor.send(OK)
        await visitor.request()
        visitor.reset()

    async with connected(make, second_time_never) as (server, transport):
        await whole(transport, ask(server))
        with pytest.raises(httpx2.ReadError):
            await whole(transport, ask(server, method=method, content=b"x"))

    assert (server.connections, len(server.requests)) == (1, 2)


async def test_many_requests_at_once_share_the_connections_there_may_be(make: Make):
    async with connected(make, always_ok, max_connections=5) as (server, transport):
        assert set(await asyncio.gather(*(whole(transport, ask(server)) for _ in range(60)))) == {(200, b"ok")}

    assert server.connections <= 5
    assert len(server.requests) == 60


async def test_an_answer_that_is_closed_before_its_end_closes_the_connection(full: Make):
    async def half(visitor: Visitor) -> None:
        await visitor.request()
        await visitor.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await visitor.gone()

    async with connected(full, half, max_connections=1) as (server, transport):
        for expected in (1, 2):
            response = await transport.handle_async_request(ask(server))
            await response.aclose()
            await asyncio.wait_for(server.finished.wait(), 5)
            server.finished.clear()
            assert server.connections == expected


@pytest.mark.parametrize("after", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"], ids=["head", "body"])
async def test_a_request_that_is_given_up_closes_its_connection(make: Make, after: bytes):
    waiting = asyncio.Event()

    async def silent(visitor: Visitor) -> None:
        await visitor.request()
        await visitor.send(after)
        waiting.set()
        await visitor.gone()

    async with connected(make, silent, max_connections=1) as (server, transport):
        task = asyncio.create_task(whole(transport, ask(server, method="POST", content=b"{}")))
        await waiting.wait()
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.finished.wait(), 5)
        server.behaviour = always_ok
        assert await whole(transport, ask(server)) == (200, b"ok")  # its place in the pool is free again


async def test_closing_the_transport_closes_its_connections(make: Make):
    async with serving(always_ok) as server:
        transport = make()
        await whole(transport, ask(server))
        await transport.aclose()
        await asyncio.wait_for(server.finished.wait(), 5)


# what fails


async def test_a_refused_connection_is_a_connect_error(make: Make):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with make() as transport:
            with pytest.raises(httpx2.ConnectError):
                await transport.handle_async_request(ask(RawServer(always_ok, port=taken.getsockname()[1])))


async def test_a_name_that_nobody_knows_is_a_connect_error(make: Make, monkeypatch: pytest.MonkeyPatch):
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    async with make() as transport:
        with pytest.raises(httpx2.ConnectError):
            await transport.handle_async_request(ask(RawServer(always_ok, port=1, host="nobody.example")))


HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
FAILURES: dict[str, tuple[Any, type[Exception]]] = {
    "closed without an answer": (answering(), httpx2.RemoteProtocolError),
    "broken without an answer": (answering(end="reset"), httpx2.ReadError),
    "closed within the head": (answering(b"HTTP/1.1 200 OK\r\nContent-Le"), httpx2.RemoteProtocolError),
    "not HTTP": (answering(b"\x00\xff 220 smtp.example ready\r\n\r\n"), httpx2.RemoteProtocolError),
    "a length that is none": (answering(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), httpx2.RemoteProtocolError),
    "two lengths": (
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
        httpx2.RemoteProtocolError,
    ),
    "cut short by length": (answering(HALF), httpx2.RemoteProtocolError),
    "cut short in chunks": (
        answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf"),
        httpx2.RemoteProtocolError,
    ),
    "without the last chunk": (
        answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        httpx2.RemoteProtocolError,
    ),
    "a chunk that is none": (
        answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhalf\r\n"),
        httpx2.RemoteProtocolError,
    ),
}


@pytest.mark.parametrize("case", FAILURES)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_failure_has_the_same_name_and_is_never_tried_again(make: Make, case: str, method: str):
    behaviour, expected = FAILURES[case]
    async with connected(make, behaviour) as (server, transport):
        with pytest.raises(httpx2.HTTPError) as caught:
            await whole(transport, ask(server, method=method, content=b"{}" if method == "POST" else None))

    assert type(caught.value) is expected
    assert len(server.requests) == 1


HEADS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
]


@pytest.mark.parametrize("head", HEADS, ids=["length", "chunks", "until the end"])
@pytest.mark.parametrize("read_before", [True, False])
async def test_a_connection_that_breaks_within_a_body_is_never_taken_for_its_end(
    full: Make, head: bytes, read_before: bool
):
    half_read = asyncio.Event()

    async def breaks(visitor: Visitor) -> None:
        await visitor.request()
        await visitor.send(head + b"half")
        if read_before:
            await half_read.wait()
        else:
            await asyncio.sleep(0.02)
        visitor.reset()

    async with connected(full, breaks) as (server, transport):
        with pytest.raises(httpx2.ReadError):  # noqa: PT012
            response = await transport.handle_async_request(ask(server))
            try:
                async for _ in response.aiter_bytes():
                    half_read.set()
            finally:
                await response.aclose()


@pytest.mark.parametrize("head", HEADS, ids=["length", "chunks", "until the end"])
async def test_a_connection_that_breaks_within_a_plainly_read_body_is_never_taken_for_its_end(head: bytes):
    async with connected(over_aiohttp_plainly, answering(head + b"half", end="reset")) as (server, transport):
        with pytest.raises(httpx2.ReadError):
            await whole(transport, ask(server))


async def test_of_an_endless_body_only_the_beginning_is_read_and_the_connection_closed():
    async def endless(visitor: Visitor) -> None:
        await visitor.request()
        await visitor.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await visitor.send(b"x" * 100_000)

    async with serving(endless) as server, AiohttpTransport() as transport:
        status, _, body = await transport.exchange("GET", server.url + "/", [("Host", "x")], None, TIMES, 1_000_000)
        assert (status, 1_000_000 < len(body) < 2_000_000) == (200, True)
        await asyncio.wait_for(server.finished.wait(), 5)


async def test_an_answer_that_never_comes_is_a_read_timeout(make: Make):
    async def silent(visitor: Visitor) -> None:
        await visitor.request()
        await visitor.gone()

    async with connected(make, silent) as (server, transport):
        with pytest.raises(httpx2.ReadTimeout):
            await whole(transport, ask(server, method="POST", content=b"{}", times={"read": 0.05}))
        await asyncio.wait_for(server.finished.wait(), 5)


async def test_a_body_that_stops_coming_is_a_read_timeout(make: Make):
    async def stops(visitor: Visitor) -> None:
        await visitor.request()
        await visitor.send(HALF)
        await visitor.gone()

    async with connected(make, stops) as (server, transport):
        with pytest.raises(httpx2.ReadTimeout):
            await whole(transport, ask(server, times={"read": 0.05}))
        await asyncio.wait_for(server.finished.wait(), 5)


async def test_a_handshake_that_never_ends_is_a_connect_timeout(make: Make):
    async def silent(visitor: Visitor) -> None:
        await visitor.gone()

    async with connected(make, silent) as (server, transport):
        server.scheme = "https"
        with pytest.raises(httpx2.ConnectTimeout):
            await whole(transport, ask(server, times={"connect": 0.05}))


async def test_waiting_for_a_connection_is_a_pool_timeout(make: Make):
    waiting = asyncio.Event()

    async def silent(visitor: Visitor) -> None:
        await visitor.request()
        waiting.set()
        await visitor.gone()

    async with connected(make, silent, max_connections=1) as (server, transport):
        first = asyncio.create_task(whole(transport, ask(server)))
        await waiting.wait()
        with pytest.raises(httpx2.PoolTimeout):
            await whole(transport, ask(server, times={"pool": 0.05}))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first

    assert len(server.requests) == 1


@pytest.mark.parametrize("in_memory", [True, False])
async def test_a_server_that_takes_no_more_of_a_body_is_a_write_timeout(make: Make, in_memory: bool):
    async def takes_nothing(visitor: Visitor) -> None:
        await asyncio.Event().wait()

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(500):
            yield b"x" * 100_000

    async with connected(make, takes_nothing) as (server, transport):
        content: Any = b"x" * 50_000_000 if in_memory else pieces()
        request = ask(
            server, method="POST", content=content, times={"write": 0.1, "read": 0.3}, Content_Length="50000000"
        )
        with pytest.raises(httpx2.WriteTimeout):
            await whole(transport, request)


async def test_a_source_that_fails_ends_the_request_with_its_own_error(make: Make):
    closed = False

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            yield b"x" * 10
            raise LookupError("the file is gone")
        finally:
            closed = True

    async def reads(visitor: Visitor) -> None:
        await visitor.head()
        await visitor.gone()

    async with connected(make, reads) as (server, transport):
        with pytest.raises(LookupError, match="the file is gone"):
            await whole(transport, ask(server, method="POST", content=pieces(), Content_Length="20"))
        await asyncio.wait_for(server.finished.wait(), 5)

    assert closed


@pytest.mark.parametrize("announced", [9, 11])
async def test_a_body_of_another_length_than_announced_is_not_sent_as_if_it_were_right(make: Make, announced: int):
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x" * 10

    async def reads(visitor: Visitor) -> None:
        await visitor.head()
        await visitor.gone()

    async with connected(make, reads) as (server, transport):
        with pytest.raises(Exception, match="data for declared Content-Length"):
            await whole(transport, ask(server, method="POST", content=pieces(), Content_Length=str(announced)))
        await asyncio.wait_for(server.finished.wait(), 5)


async def test_an_upload_that_is_given_up_ends_its_source_and_its_connection(make: Make):
    started, closed = asyncio.Event(), asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 100_000
                started.set()
        finally:
            closed.set()

    async def reads(visitor: Visitor) -> None:
        await visitor.head()
        await visitor.gone()

    async with connected(make, reads) as (server, transport):
        request = ask(server, method="POST", content=pieces(), Content_Length="99999999999")
        task = asyncio.create_task(whole(transport, request))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(closed.wait(), 5)
        await asyncio.wait_for(server.finished.wait(), 5)


async def test_no_error_holds_what_was_sent(make: Make):
    for behaviour, _ in FAILURES.values():
        async with connected(make, behaviour) as (server, transport):
            with pytest.raises(httpx2.HTTPError) as caught:
                await whole(transport, ask(server, "/secret-name"))

        assert "secret-name" not in str(caught.value)
        assert AUTHORIZATION not in "".join(traceback.format_exception(caught.value))


# TLS


async def test_a_certificate_of_a_trusted_authority_is_taken(make: Make, tmp_path: Path):
    authority = Authority(tmp_path)
    async with (
        serving(always_ok, tls=authority.server("127.0.0.1")) as server,
        make(verify=authority.client()) as transport,
    ):
        assert await whole(transport, ask(server)) == (200, b"ok")


async def test_the_authorities_of_the_environment_are_trusted(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    async with serving(always_ok, tls=authority.server("127.0.0.1")) as server, make() as transport:
        assert await whole(transport, ask(server)) == (200, b"ok")


@pytest.mark.parametrize("trusted", [True, False], ids=["of another host", "of nobody known"])
async def test_any_other_certificate_is_a_connect_error_and_nothing_is_sent(make: Make, tmp_path: Path, trusted: bool):
    authority = Authority(tmp_path)
    tls = authority.server("other.example" if trusted else "127.0.0.1")
    options: dict[str, ssl.SSLContext] = {"verify": authority.client()} if trusted else {}
    async with serving(always_ok, tls=tls) as server, make(**options) as transport:
        with pytest.raises(httpx2.ConnectError):
            await transport.handle_async_request(ask(server))

    assert server.requests == []

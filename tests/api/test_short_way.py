"""The short way of small requests over aiohttp says and understands the same as the long one."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import httpx2
import pytest

from scale_mcp.api import (
    ApiOptions,
    Conflict,
    ConnectionFailed,
    NotFound,
    RateLimited,
    RefusedBeforeSending,
    ScaleApi,
    ScaleError,
    ServerError,
    UnexpectedAnswer,
    aiohttp_transport,
)
from scale_mcp.api.aiohttp_transport import AiohttpTransport
from scale_mcp.api.trace import recording

from .raw_server import RawServer, Visitor, serving
from .scripted import KEY, TASK_ID, TaskRequest
from .test_secrets import ENCODED, everything_about

pytestmark = pytest.mark.anyio

TASK = b'{"task_id": "%s", "unique_id": "u-1"}' % TASK_ID.encode()


def answer(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def saying(*answers: bytes) -> Any:
    """Gives the answers in turn, the last one for ever."""
    left = list(answers)

    async def behave(visitor: Visitor) -> None:
        while await visitor.request() is not None:
            await visitor.send(left.pop(0) if len(left) > 1 else left[0])

    return behave


@pytest.fixture(params=[AiohttpTransport, httpx2.AsyncHTTPTransport], ids=["short", "long"])
def transport(request: pytest.FixtureRequest) -> httpx2.AsyncBaseTransport:
    made: httpx2.AsyncBaseTransport = request.param()
    return made


def scale(server: RawServer, transport: httpx2.AsyncBaseTransport, **options: Any) -> ScaleApi:
    chosen = ApiOptions(**{"attempts": 1, "rate_limited_attempts": 1, **options})
    return ScaleApi(KEY, base_url=f"{server.url}/v1", transport=transport, options=chosen)


@pytest.mark.parametrize("call", ["create", "get", "send_callback", "delete_tags", "clear_unique_id"])
async def test_the_requests_are_the_same_byte_for_byte(call: str):
    calls: dict[str, Any] = {
        "create": lambda api: api.tasks.create(TaskRequest({"unique_id": "u-1", "instruction": "ä"})),
        "get": lambda api: api.tasks.get(TASK_ID),
        "send_callback": lambda api: api.tasks.send_callback(TASK_ID),
        "delete_tags": lambda api: api.tasks.delete_tags(TASK_ID, ["a/b"]),
        "clear_unique_id": lambda api: api.tasks.clear_unique_id(TASK_ID),
    }
    seen = []
    for transport in (AiohttpTransport(), httpx2.AsyncHTTPTransport()):
        async with serving(saying(answer("200 OK", TASK))) as server, scale(server, transport) as api:
            await calls[call](api)
        (received,) = server.requests
        port = f":{server.port}".encode()
        seen.append((received.head.replace(port, b""), received.body))

    assert seen[0] == seen[1]
    assert KEY not in str(seen[0])


@pytest.mark.parametrize("name", ["a/b c", "..%2f", "ä\u202f€", "100%", "a?b#c", "a+b;c"])
async def test_a_name_in_the_path_goes_out_the_same(name: str):
    lines = []
    for transport in (AiohttpTransport(), httpx2.AsyncHTTPTransport()):
        async with serving(saying(answer("200 OK", b'{"name": "x"}'))) as server, scale(server, transport) as api:
            await api.batches.get(name)
        lines.append(server.requests[0].line)

    assert lines[0] == lines[1]
    assert lines[0].count("/") == 4


async def test_a_compressed_answer_is_decoded(transport: httpx2.AsyncBaseTransport):
    packed = answer("200 OK", gzip.compress(TASK), "Content-Encoding: gzip")
    async with serving(saying(packed)) as server, scale(server, transport) as api:
        assert (await api.tasks.get(TASK_ID)).unique_id == "u-1"


@pytest.mark.parametrize("headers", [[], ["Content-Encoding: gzip"]])
async def test_an_answer_without_end_is_not_taken_into_memory(transport: httpx2.AsyncBaseTransport, headers: list[str]):
    body = b" " * 3_000_000
    huge = answer("200 OK", gzip.compress(body) if headers else body, *headers)
    async with serving(saying(huge)) as server, scale(server, transport, max_answer_bytes=1_000_000) as api:
        with pytest.raises(UnexpectedAnswer, match="more than"):
            await api.tasks.get(TASK_ID)


async def test_a_corrupt_answer_is_no_answer(transport: httpx2.AsyncBaseTransport):
    corrupt = answer("200 OK", b"not gzip", "Content-Encoding: gzip")
    async with serving(saying(corrupt)) as server, scale(server, transport) as api:
        with pytest.raises(UnexpectedAnswer, match="could not be read"):
            await api.tasks.get(TASK_ID)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("429 Too Many", RateLimited),
        ("503 Unavailable", ServerError),
        ("409 Conflict", Conflict),
        ("404 Not Found", NotFound),
    ],
)
async def test_a_refusal_brings_its_words_its_wait_and_its_id(
    transport: httpx2.AsyncBaseTransport, status: str, kind: type[ScaleError]
):
    refusal = answer(status, b'{"error": "No, ' + KEY.encode() + b'"}', "Retry-After: 7", "X-Request-Id: r-1")
    async with serving(saying(refusal)) as server, scale(server, transport) as api:
        with recording() as trace, pytest.raises(kind) as caught:
            await api.tasks.get(TASK_ID)

    assert caught.value.request_id == trace.last_request_id == "r-1"
    assert trace.exchanges[0].statuses == [int(status[:3])]
    assert KEY not in str(caught.value)
    if kind in (RateLimited, ServerError):
        assert caught.value.retry_after == 7


async def test_a_read_follows_a_redirect_within_our_origin(transport: httpx2.AsyncBaseTransport):
    moved = answer("307 Moved", b"", "Location: /v2/there")
    async with (
        serving(saying(moved, answer("200 OK", TASK)))
        if isinstance(transport, httpx2.AsyncHTTPTransport)
        else serving(saying(moved, moved, answer("200 OK", TASK))) as server,
        scale(server, transport) as api,
    ):
        assert (await api.tasks.get(TASK_ID)).unique_id == "u-1"

    assert server.requests[-1].line == "GET /v2/there HTTP/1.1"
    assert all("Authorization" in received.headers for received in server.requests)


async def test_a_read_follows_no_redirect_to_elsewhere(transport: httpx2.AsyncBaseTransport):
    moved = answer("302 Found", b"", "Location: http://127.0.0.1:1/")
    async with serving(saying(moved)) as server, scale(server, transport) as api:
        with pytest.raises(UnexpectedAnswer, match="redirected"):
            await api.tasks.get(TASK_ID)


async def test_a_write_follows_no_redirect_and_is_in_doubt(transport: httpx2.AsyncBaseTransport):
    moved = answer("307 Moved", b"", "Location: /v2/there")
    async with serving(saying(moved)) as server, scale(server, transport) as api:
        with pytest.raises(UnexpectedAnswer, match="redirected") as caught:
            await api.tasks.set_metadata(TASK_ID, {})

    assert caught.value.in_doubt
    assert len(server.requests) == 1


async def test_an_answer_that_breaks_off_is_in_doubt(transport: httpx2.AsyncBaseTransport):
    async def half(visitor: Visitor) -> None:
        await visitor.request()
        await visitor.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        visitor.close()

    async with serving(half) as server, scale(server, transport) as api:
        with pytest.raises(ScaleError) as caught:
            await api.tasks.set_metadata(TASK_ID, {})

    assert caught.value.in_doubt
    assert len(server.requests) == 1


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"])
@pytest.mark.parametrize("all_are_far", [True, False])
async def test_an_answer_that_does_not_come_in_time_is_in_doubt_and_its_connection_is_closed(
    transport: httpx2.AsyncBaseTransport, monkeypatch: pytest.MonkeyPatch, begun: bytes, all_are_far: bool
):
    if all_are_far:
        monkeypatch.setattr(aiohttp_transport, "FAR", 0.0)

    async def slow(visitor: Visitor) -> None:
        await visitor.request()
        await visitor.send(begun)
        await visitor.gone()

    short = {"io_timeout": 0.1, "connect_timeout": 0.1}
    async with serving(slow) as server, scale(server, transport, **short) as api:
        with pytest.raises(ConnectionFailed, match="ReadTimeout") as caught:
            await api.tasks.set_metadata(TASK_ID, {})
        await asyncio.wait_for(server.finished.wait(), 5)

    assert caught.value.in_doubt
    assert len(server.requests) == 1


@pytest.mark.parametrize("call", ["write", "read", "delete"])
async def test_nothing_is_sent_twice_when_a_kept_connection_breaks(transport: httpx2.AsyncBaseTransport, call: str):
    calls: dict[str, Any] = {
        "write": lambda api: api.tasks.set_metadata(TASK_ID, {}),
        "read": lambda api: api.tasks.get(TASK_ID),
        "delete": lambda api: api.tasks.delete_tags(TASK_ID, ["a"]),
    }

    async def once(visitor: Visitor) -> None:
        await visitor.request()
        await visitor.send(answer("200 OK", TASK))
        await visitor.request()
        visitor.close()

    async with serving(once) as server, scale(server, transport) as api:
        await api.tasks.get(TASK_ID)
        with pytest.raises(ConnectionFailed) as caught:
            await calls[call](api)

    assert caught.value.in_doubt == (call != "read")
    assert len(server.requests) == 2


async def test_a_refused_connection_leaves_no_doubt(transport: httpx2.AsyncBaseTransport):
    async with serving(saying(b"")) as server:
        pass
    async with scale(server, transport) as api:
        with pytest.raises(ScaleError) as caught:
            await api.tasks.set_metadata(TASK_ID, {})

    assert not caught.value.in_doubt


ECHO = b'{"error": "you sent ' + ENCODED.encode() + b" for " + KEY.encode() + b'"}'


@pytest.mark.parametrize(
    "trouble",
    [
        answer("401 Unauthorized", ECHO),
        answer("500 Error", ECHO, f"X-Request-Id: {KEY}"),
        answer("200 OK", ECHO),
        answer("200 OK", ECHO, "Content-Encoding: gzip"),
        answer("302 Found", ECHO, "Location: https://evil.example/"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"not HTTP " + ECHO + b"\r\n\r\n",
        b"",
    ],
)
async def test_no_failure_on_the_wire_shows_the_key(transport: httpx2.AsyncBaseTransport, trouble: bytes):
    async def fail(visitor: Visitor) -> None:
        await visitor.request()
        await visitor.send(trouble)
        visitor.close()

    async with serving(fail) as server, scale(server, transport) as api:
        with recording() as trace, pytest.raises(ScaleError) as caught:
            await api.tasks.set_metadata(TASK_ID, {})

    for shown in (everything_about(caught.value), str(trace)):
        assert KEY not in shown
        assert ENCODED not in shown


async def test_a_large_body_goes_out_whole(transport: httpx2.AsyncBaseTransport):
    metadata = {"text": "x" * 200_000}
    async with serving(saying(answer("200 OK", TASK))) as server, scale(server, transport) as api:
        await api.tasks.set_metadata(TASK_ID, metadata)

    assert len(server.requests[0].body) == 200_011


@pytest.mark.parametrize("agent", ["a\r\nX-Evil: 1", "a\nb", "a\0b"])
async def test_a_user_agent_that_would_be_two_headers_is_refused(transport: httpx2.AsyncBaseTransport, agent: str):
    async with serving(saying(answer("200 OK", TASK))) as server, scale(server, transport, user_agent=agent) as api:
        with pytest.raises(RefusedBeforeSending):
            await api.tasks.get(TASK_ID)

    assert server.requests == []

"""A request that does not come to its end is not waited for without end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import anyio
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scale_mcp.server.transports.listening import listen
from scale_mcp.server.transports.patience import PatientProtocol
from tests.hosting.hosted import Runner

pytestmark = pytest.mark.anyio


class Hasty(PatientProtocol):
    head_due = 0.2
    body_due = 0.2


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async def slow(request: Request) -> Response:
        await request.body()
        await anyio.sleep(3 * Hasty.body_due)  # an answer may take longer than a request
        return Response("done")

    app = Starlette(routes=[Route("/", slow, methods=["POST"])])
    config = uvicorn.Config(app, log_config=None, access_log=False, http=Hasty, timeout_graceful_shutdown=1)
    runner = Runner(config)
    async with anyio.create_task_group() as tasks:
        with listen("127.0.0.1", 0) as listener:
            tasks.start_soon(partial(runner.serve, sockets=[listener]))
            await runner.up.wait()
            number: int = listener.getsockname()[1]
            yield number
            runner.should_exit = True
            await runner.down.wait()


async def told(port: int, sent: bytes) -> bytes:
    """All that comes until the server closes the connection."""
    heard = b""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        if sent:
            await stream.send(sent)
        with anyio.fail_after(20):
            try:
                while True:
                    heard += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return heard


@pytest.mark.parametrize(
    "sent",
    [b"", b"POST / HTTP/1.1\r\nX-Slow: a", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"],
    ids=["nothing", "half a head", "half a body"],
)
async def test_a_connection_on_which_no_request_ends_is_closed_without_an_answer(port: int, sent: bytes) -> None:
    assert await told(port, sent) == b""


async def test_whoever_has_said_all_is_answered_however_long_that_takes(port: int) -> None:
    heard = await told(port, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc")
    assert heard.startswith(b"HTTP/1.1 200")
    assert heard.endswith(b"done")

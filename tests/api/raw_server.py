"""A server on this machine that does with each connection exactly what a test says, byte by byte."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Received:
    """One request as it came: the head without its last empty line, and the body."""

    head: bytes
    body: bytes

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n")[0].decode()

    @property
    def headers(self) -> dict[str, str]:
        """Names as they were written."""
        return dict(line.split(": ", 1) for line in self.head.decode().split("\r\n")[1:])


class Visitor:
    """One connection, seen from the server."""

    def __init__(self, server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer

    async def request(self) -> Received | None:
        """The next request with its whole body; None when the client has closed the connection."""
        received = await self.head()
        if received is None:
            return None
        headers = {name.lower(): value for name, value in received.headers.items()}
        if "content-length" in headers:
            received.body = await self._reader.readexactly(int(headers["content-length"]))
        elif headers.get("transfer-encoding") == "chunked":
            while size := int(await self._reader.readline(), 16):
                received.body += (await self._reader.readexactly(size + 2))[:-2]
            await self._reader.readline()
        return received

    async def head(self) -> Received | None:
        """The head of the next request. Its body stays where it is."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        received = Received(head[:-4], b"")
        self._server.requests.append(received)
        return received

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        """Break the connection: what is on the way is lost."""
        raw: socket.socket = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def gone(self) -> None:
        """Until the client has closed the connection."""
        try:
            while await self._reader.read(65536):
                pass
        except ConnectionError:
            pass


Behaviour = Callable[[Visitor], Awaitable[None]]


@dataclass
class RawServer:
    behaviour: Behaviour
    port: int = 0
    scheme: str = "http"
    host: str = "127.0.0.1"
    connections: int = 0
    requests: list[Received] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    finished: asyncio.Event = field(default_factory=asyncio.Event)  # a behaviour has come to its end
    visits: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        visit = asyncio.current_task()
        assert visit is not None
        self.visits.add(visit)  # asyncio itself holds it weakly
        try:
            await self.behaviour(Visitor(self, reader, writer))
        except (ConnectionError, asyncio.CancelledError):
            pass
        except BaseException as error:
            self.errors.append(error)
        finally:
            self.finished.set()
            self.visits.discard(visit)
            writer.close()


@asynccontextmanager
async def serving(
    behaviour: Behaviour, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[RawServer]:
    made = RawServer(behaviour, host=host, scheme="https" if tls else "http")
    server = await asyncio.start_server(made._serve, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        visits = [*made.visits]  # what still waits for a client that has gone
        for visit in visits:
            visit.cancel()
        await asyncio.gather(*visits, return_exceptions=True)
    assert not made.errors, made.errors


async def always_ok(visitor: Visitor) -> None:
    """Answers every request, and keeps the connection."""
    while await visitor.request() is not None:
        await visitor.send(OK)

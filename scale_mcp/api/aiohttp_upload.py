"""A body on its way through aiohttp: watched, counted and ended, as httpx2's own transport does it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import anyio
import httpx2

SLICE = 64 * 1024  # bytes


class Upload:
    """What aiohttp's writer takes a body from.

    Stops with WriteTimeout when the connection takes no piece for ``stall`` seconds, and with LocalProtocolError when
    the pieces are not as many bytes as were announced, for the other side would wait for the rest or take it for the
    next request. What stopped the body stays in ``failure``, as aiohttp would report it as a lost connection.
    """

    def __init__(self, request: httpx2.Request, stall: float | None) -> None:
        stream = request.stream
        assert isinstance(stream, httpx2.AsyncByteStream)
        announced = request.headers.get("content-length")
        self._pieces = _slices(request.read()) if isinstance(stream, httpx2.ByteStream) else aiter(stream)
        self._left = int(announced) if announced is not None else None
        self._stall = stall
        self._watch: asyncio.Timeout | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self.failure: Exception | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self._expect_progress(None)
        self._idle.clear()
        try:
            piece = await anext(self._pieces, None)
            self._count(piece)
        except Exception as error:
            self.failure = error
            raise
        finally:
            self._idle.set()
        if piece is None:
            raise StopAsyncIteration
        self._expect_progress(self._stall)
        return piece

    def _count(self, piece: bytes | None) -> None:
        if self._left is None:
            return
        self._left -= len(piece or b"")
        if self._left < 0:
            raise httpx2.LocalProtocolError("Too much data for declared Content-Length")
        if piece is None and self._left > 0:
            raise httpx2.LocalProtocolError("Too little data for declared Content-Length")

    def _expect_progress(self, within: float | None) -> None:
        if self._watch is not None:
            self._watch.reschedule(None if within is None else asyncio.get_running_loop().time() + within)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Until there is an answer, a stalled body ends the request. Leaves ``failure`` behind then."""
        try:
            async with asyncio.timeout(None) as self._watch:
                yield
        except TimeoutError as error:
            self.failure = self.failure or httpx2.WriteTimeout("The connection took no more of the body.")
            raise self.failure from error
        finally:
            self._watch = None

    async def aclose(self) -> None:
        """End the source of the pieces, once whoever takes from it has stopped."""
        with anyio.CancelScope(shield=True):
            await self._idle.wait()
            if isinstance(self._pieces, AsyncGenerator):
                await self._pieces.aclose()


async def _slices(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), SLICE):
        yield content[start : start + SLICE]

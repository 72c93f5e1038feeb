"""stdin and stdout that are no pipes (terminals, sockets, files), moved by two plain threads.

The threads are daemons over raw descriptors: they cannot be interrupted in a read or write, and need not be.
"""

from __future__ import annotations

import asyncio
import math
import os
import select
import threading
from collections.abc import AsyncIterator, Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import anyio

from scale_mcp.front.handover import Handover
from scale_mcp.server.logs import get_logger

log = get_logger(__name__)

Item = TypeVar("Item")
CHUNK = 256 * 1024


class ThreadLines(Generic[Item]):
    """Async iterator over what ``read`` makes of the lines of a descriptor; of one that is dealt with it makes None.

    The lines come from a thread of its own, ``read`` runs in the event loop.
    """

    def __init__(self, begun: Handover, ahead: int, longest: int, read: Callable[[bytes], Item | None]) -> None:
        self._source = begun.source
        self._longest = longest
        self._read = read
        self._unserved = begun.unserved
        self._loop = asyncio.get_running_loop()
        self._put, self._get = anyio.create_memory_object_stream[bytes](math.inf)
        self._room = threading.Semaphore(ahead)
        threading.Thread(target=self._read_lines, name="stdin", daemon=True).start()

    async def __aiter__(self) -> AsyncIterator[Item]:
        with self._get:
            async for line in self._get:
                self._room.release()
                if line.strip() and (item := self._read(line)) is not None:
                    yield item

    def _read_lines(self) -> None:
        rest = bytearray()
        try:
            while chunk := self._chunk():
                rest += chunk
                if b"\n" in chunk:
                    *lines, tail = bytes(rest).split(b"\n")
                    rest = bytearray(tail)
                    for line in lines:
                        self._deliver(line)
                if len(rest) > self._longest:
                    log.error("line_too_long", limit=self._longest)
                    break
            else:
                if rest:
                    self._deliver(bytes(rest))
        except OSError as problem:
            log.warning("stdin_failed", problem=problem.strerror)
        except RuntimeError:  # the event loop has ended; so does this thread
            return
        self._tell(self._put.close)

    def _chunk(self) -> bytes:
        """What the front left first, then what the client sends."""
        unserved, self._unserved = self._unserved, b""
        while not unserved:
            try:
                return os.read(self._source, CHUNK)
            except BlockingIOError:  # what was handed to this process as stdin does not block
                select.select([self._source], [], [])
        return unserved

    def _deliver(self, line: bytes) -> None:
        self._room.acquire()
        self._loop.call_soon_threadsafe(self._accept, line)

    def _accept(self, line: bytes) -> None:
        try:
            self._put.send_nowait(line)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):  # nobody reads any more
            self._room.release()

    def _tell(self, call: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:  # the event loop has ended
            return


class ThreadOutput:
    """Writes messages to a descriptor from a thread, so that a client that does not read stops nothing else."""

    def __init__(self, sink: int, most_unsent: int) -> None:
        self._sink, self._most_unsent = sink, most_unsent
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._unsent = 0
        self._room = asyncio.Event()
        self._thread = threading.Thread(target=self._write, name="stdout", daemon=True)
        self._thread.start()

    async def put(self, data: bytes) -> None:
        self._unsent += len(data)
        self._queue.put(data)
        while self._unsent > self._most_unsent:
            self._room.clear()
            await self._room.wait()

    def _sent(self, size: int) -> None:
        self._unsent -= size
        self._room.set()

    def finish(self) -> None:
        """Write what is queued, unless the client does not take it within a second."""
        self._queue.put(None)
        self._thread.join(timeout=1.0)

    def _write(self) -> None:
        while (data := self._queue.get()) is not None:
            view = memoryview(data)
            try:
                while view:
                    try:
                        view = view[os.write(self._sink, view) :]
                    except BlockingIOError:
                        select.select([], [self._sink], [])
                self._loop.call_soon_threadsafe(self._sent, len(data))
            except OSError as problem:  # the client is gone; it will close stdin too
                log.warning("stdout_failed", problem=problem.strerror)
                return
            except RuntimeError:  # the event loop has ended
                return

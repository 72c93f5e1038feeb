"""The ends of pipes, read and written in the event loop itself: no thread is woken per message.

Neither end is made non-blocking, because that flag belongs to the pipe and not to us: whoever shares the end would be
surprised by it. A read after the loop found the pipe readable does not block, and a pipe that is writable takes
``PIPE_BUF`` bytes at once.
"""

from __future__ import annotations

import asyncio
import os
import select
import stat
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

import anyio

from scale_mcp.front.handover import Handover
from scale_mcp.server.logs import get_logger

log = get_logger(__name__)

Item = TypeVar("Item")
CHUNK = 64 * 1024  # as much as a pipe holds; for more, memory would be fetched from the system on every read
LAST_WORDS = 1.0  # seconds in which a client may still take what is unsent at the end


def are_pipes(begun: Handover) -> bool:
    """Whether both ends can be served here; what else stdin and stdout can be is left to threads."""
    if sys.platform == "win32":
        return False
    return all(stat.S_ISFIFO(os.fstat(descriptor).st_mode) for descriptor in (begun.source, begun.sink))


class PipeLines(Generic[Item]):
    """Async iterator over what ``read`` makes of the lines of a pipe; of a line that is dealt with it makes None.

    Reading pauses while ``ahead`` items wait to be taken.
    """

    def __init__(self, begun: Handover, ahead: int, longest: int, read: Callable[[bytes], Item | None]) -> None:
        self._source = begun.source
        self._read = read
        self._ahead, self._longest = ahead, longest
        self._loop = asyncio.get_running_loop()
        self._items: deque[Item] = deque()
        self._rest = bytearray()
        self._news = anyio.Event()
        self._ended = False
        self._reading = False
        self._take(begun.unserved)
        self._read_on()

    async def __aiter__(self) -> AsyncIterator[Item]:
        try:
            while True:
                while self._items:
                    item = self._items.popleft()
                    if not self._reading and len(self._items) <= self._ahead // 2:
                        self._read_on()
                    yield item
                if self._ended:
                    return
                self._news = anyio.Event()
                await self._news.wait()
        finally:
            self._ended = True
            self._pause()

    def _read_on(self) -> None:
        if not self._ended and not self._reading:
            self._loop.add_reader(self._source, self._readable)
            self._reading = True

    def _pause(self) -> None:
        if self._reading:
            self._loop.remove_reader(self._source)
            self._reading = False

    def _readable(self) -> None:
        try:
            chunk = os.read(self._source, CHUNK)
        except BlockingIOError:  # a pipe that others read, too
            return
        except OSError as problem:
            log.warning("stdin_failed", problem=problem.strerror)
            chunk = b""
        if chunk:
            self._take(chunk)
        else:
            self._end()
        if len(self._items) >= self._ahead:
            self._pause()
        if self._items or self._ended:
            self._news.set()

    def _take(self, chunk: bytes) -> None:
        self._rest += chunk
        if b"\n" in chunk:
            *lines, tail = bytes(self._rest).split(b"\n")
            self._rest = bytearray(tail)
            for line in lines:
                self._offer(line)
        if len(self._rest) > self._longest:
            log.error("line_too_long", limit=self._longest)
            self._rest.clear()
            self._end()

    def _end(self) -> None:
        if self._rest:
            self._offer(bytes(self._rest))
            self._rest.clear()
        self._ended = True
        self._pause()

    def _offer(self, line: bytes) -> None:
        if line.strip() and (item := self._read(line)) is not None:
            self._items.append(item)


class PipeOutput:
    """Writes to a pipe as fast as the client takes it. A client that does not read stops nothing else."""

    def __init__(self, sink: int, most_unsent: int) -> None:
        self._sink, self._most_unsent = sink, most_unsent
        self._loop = asyncio.get_running_loop()
        self._unsent = bytearray()
        self._waiting = False
        self._progress = anyio.Event()

    async def put(self, data: bytes) -> None:
        """Return at once, unless the client has left more unread than it may."""
        self._unsent += data
        if not self._waiting:
            self._write()
        while len(self._unsent) > self._most_unsent:
            self._progress = anyio.Event()
            await self._progress.wait()

    def finish(self) -> None:
        """Write what is left, unless the client does not take it in time."""
        self._wait(wanted=False)
        self._write_what_fits(LAST_WORDS)

    def _write(self) -> None:
        self._write_what_fits(0)
        self._wait(wanted=bool(self._unsent))
        self._progress.set()

    def _wait(self, *, wanted: bool) -> None:
        """Have the loop call again when the pipe takes more, or not any longer."""
        if wanted and not self._waiting:
            self._loop.add_writer(self._sink, self._write)
        elif self._waiting and not wanted:
            self._loop.remove_writer(self._sink)
        self._waiting = wanted

    def _write_what_fits(self, patience: float) -> None:
        try:
            while self._unsent and select.select([], [self._sink], [], patience)[1]:
                with memoryview(self._unsent)[: select.PIPE_BUF] as piece:
                    written = os.write(self._sink, piece)
                del self._unsent[:written]
        except BlockingIOError:  # whoever started us made the pipe non-blocking, and it is fuller than it said
            return
        except OSError as problem:  # the client is gone; it will close stdin too
            log.warning("stdout_failed", problem=problem.strerror)
            self._unsent.clear()

"""Time for tests of waiting: it stands still while anybody can work, then goes on to the next one who sleeps."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel

from scale_mcp.sandbox import Sandbox


class SteppingTime:
    """``clock`` and ``sleep`` for ``ApiOptions``; the sandbox's manual clock, if there is one, goes along.

    For work in this process only: what waits for a socket or a thread would look as if it were idle.
    """

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        self.now = 0.0
        self._sandbox = sandbox
        self._sleepers: list[tuple[float, int, anyio.Event]] = []
        self._count = 0
        self._somebody_sleeps = anyio.Event()

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if seconds == 0:
            await anyio.lowlevel.checkpoint()
            return
        self._count += 1
        sleeper = (self.now + seconds, self._count, anyio.Event())
        heapq.heappush(self._sleepers, sleeper)
        self._somebody_sleeps.set()
        try:
            await sleeper[2].wait()
        except BaseException:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)
                heapq.heapify(self._sleepers)
            raise

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """Let time pass."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._pass)
            yield
            tasks.cancel_scope.cancel()

    async def _pass(self) -> None:
        while True:
            await self.quiet()
            if not self._sleepers:
                self._somebody_sleeps = anyio.Event()
                await self._somebody_sleeps.wait()
                continue
            until, _, event = heapq.heappop(self._sleepers)
            if until > self.now:
                if self._sandbox is not None:
                    await self._sandbox.advance(until - self.now)
                self.now = until
            event.set()

    async def quiet(self) -> None:
        """Wait until nobody else can go on."""
        ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
        await anyio.lowlevel.checkpoint()
        while ready:
            await anyio.lowlevel.checkpoint()

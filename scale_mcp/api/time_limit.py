"""The end of an attempt's time, on every request's way and therefore cheap."""

from __future__ import annotations

import asyncio
import threading
from contextvars import Context
from types import TracebackType
from typing import Protocol, Self

import anyio

FAR = 4.0  # seconds; nearer limits are exact
TICKS = 8  # a second; limits that are far are late by less than one


class TimeLimit(Protocol):
    """A context that raises TimeoutError when its time is over. Only then ``expired`` is true: others raise it, too."""

    async def __aenter__(self) -> TimeLimit: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None: ...

    def expired(self) -> bool: ...


def until(deadline: float) -> TimeLimit:
    """Up to ``deadline`` on the clock of ``anyio.current_time``; what is far away may end an eighth of a second late.

    On asyncio it is asyncio's own, or shared with others, which costs a fifth of anyio's scope: with some hundred
    requests under way, a tenth of all that a create costs. A cancellation from outside that comes in the same moment
    may be heard only at the next checkpoint.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return Scope(deadline)
    if deadline - loop.time() > FAR:
        return FarLimit(deadline)
    return asyncio.timeout_at(deadline)


class _Ends(threading.local):
    """The limits of this thread's running loop by the tick that ends them. Each tick has one timer."""

    loop: asyncio.AbstractEventLoop | None = None
    by_tick: dict[int, set[FarLimit]]


_ends = _Ends()


class FarLimit:
    """asyncio.timeout_at for requests by the hundred: a timer for each that hardly ever ends one costs more than this.

    Can be entered with ``with`` as well. Once, by a task on asyncio.
    """

    __slots__ = ("_cancelling", "_deadline", "_expired", "_others", "_task")

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._expired = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task: asyncio.Task[object] | None = task
        self._cancelling = task.cancelling()
        self._join(self._deadline)
        return self

    def move(self, deadline: float) -> None:
        """Another deadline from now on, while it is entered."""
        self._others.discard(self)
        self._join(deadline)

    def _join(self, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        if _ends.loop is not loop:
            _ends.loop, _ends.by_tick = loop, {}
        tick = int(deadline * TICKS) + 1
        others = _ends.by_tick.get(tick)
        if others is None:
            others = _ends.by_tick[tick] = set()
            loop.call_at(tick / TICKS, _end, _ends.by_tick, tick, context=Context())
        others.add(self)
        self._others = others

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._others.discard(self)
        task, self._task = self._task, None
        ours = self._expired and task is not None and task.uncancel() <= self._cancelling
        if ours and kind is asyncio.CancelledError:
            raise TimeoutError from error

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def expired(self) -> bool:
        return self._expired

    def end(self) -> None:
        if self._task is not None:
            self._expired = True
            self._task.cancel()


def _end(by_tick: dict[int, set[FarLimit]], tick: int) -> None:
    for limit in by_tick.pop(tick):
        limit.end()


class Scope:
    """anyio's scope as a time limit, for other event loops than asyncio's."""

    def __init__(self, deadline: float) -> None:
        self._scope = anyio.CancelScope(deadline=deadline)

    async def __aenter__(self) -> Self:
        self._scope.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        swallowed = self._scope.__exit__(kind, error, traceback)
        if self._scope.cancelled_caught:
            raise TimeoutError
        return swallowed

    def expired(self) -> bool:
        return self._scope.cancelled_caught

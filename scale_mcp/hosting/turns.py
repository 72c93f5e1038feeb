"""Many small writes at once as few transactions: what waits while one is written goes into the next one together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio

Item = TypeVar("Item")
Answer = TypeVar("Answer")

MOST_AT_ONCE = 100


class _Waiting(Generic[Item, Answer]):
    def __init__(self, item: Item) -> None:
        self.item = item
        self.done = anyio.Event()
        self.answer: Answer | None = None
        self.failure: Exception | None = None
        self.given_up = False


class Turns(Generic[Item, Answer]):
    """Whoever comes while nobody writes, writes for all who are waiting by then."""

    def __init__(self, write: Callable[[list[Item]], Awaitable[list[Answer]]]) -> None:
        """``write`` gives one answer per item, in their order. What it raises reaches all who waited for it."""
        self._write = write
        self._waiting: list[_Waiting[Item, Answer]] = []
        self._lock = anyio.Lock()

    async def take(self, item: Item) -> Answer:
        """The answer for this item. Whoever gives up before it is written is left out."""
        mine: _Waiting[Item, Answer] = _Waiting(item)
        self._waiting.append(mine)
        try:
            async with self._lock:
                if not mine.done.is_set():
                    await self._write_waiting()
        finally:
            mine.given_up = True
        if mine.failure is not None:
            raise mine.failure
        return mine.answer  # type: ignore[return-value]  # written, or failed above

    async def _write_waiting(self) -> None:
        """Write what waits. Once begun it ends, as it is not the writer's alone."""
        group = [each for each in self._waiting if not each.given_up][:MOST_AT_ONCE]
        self._waiting = [each for each in self._waiting if each not in group and not each.given_up]
        with anyio.CancelScope(shield=True):
            try:
                answers = await self._write([each.item for each in group])
            except Exception as failure:
                for each in group:
                    each.failure = failure
                    each.done.set()
                return
        for each, answer in zip(group, answers, strict=True):
            each.answer = answer
            each.done.set()

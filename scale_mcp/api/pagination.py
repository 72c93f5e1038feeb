"""Lists as async iterators, for both ways in which Scale cuts them into pages. One page is in memory at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from typing import TypeVar

from scale_mcp.api.errors import UnexpectedAnswer

T = TypeVar("T")

TokenPage = Callable[[str | None], Awaitable[tuple[list[T], str | None, bool]]]
OffsetPage = Callable[[int], Awaitable[tuple[list[T], bool]]]


async def by_token(fetch: TokenPage[T]) -> AsyncIterator[T]:
    """Items of pages that name the next one: ``fetch(token)`` gives the items, the next token and "there is more".

    Raises UnexpectedAnswer when the tokens run in a circle, or when there is more but no token to get it with.
    """
    token: str | None = None
    guard = _CircleGuard()
    while True:
        items, token, more = await fetch(token)
        for item in items:
            yield item
        if not token:
            if more:
                raise UnexpectedAnswer(
                    "Scale said that the list goes on, but not how to get the rest.",
                    next_step="Narrow the list, for example by time.",
                )
            return
        if not more and not items:
            return
        guard.check(token)


async def by_offset(fetch: OffsetPage[T], key: Callable[[T], Hashable]) -> AsyncIterator[T]:
    """Items of pages by offset. What moves down into the next page because something new came is given once."""
    offset = 0
    before: set[Hashable] = set()
    while True:
        items, more = await fetch(offset)
        for item in items:
            if key(item) not in before:
                yield item
        if not more or not items:
            return
        before = {key(item) for item in items}
        offset += len(items)


class _CircleGuard:
    """Notices tokens that repeat, however long the circle, remembering one token only (Brent's algorithm)."""

    def __init__(self) -> None:
        self._kept: str | None = None
        self._steps, self._power = 0, 1

    def check(self, token: str) -> None:
        if token == self._kept:
            raise UnexpectedAnswer(
                "Scale's list runs in a circle: a page token came again.", next_step="Start the list again."
            )
        self._steps += 1
        if self._steps == self._power:
            self._kept, self._steps, self._power = token, 0, self._power * 2

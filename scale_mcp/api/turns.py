"""One attempt's turn: with what it is sent, and where its answer is told, so that the limits learn from it."""

from __future__ import annotations

from typing import Protocol

from scale_mcp.api.limits import Limiter
from scale_mcp.api.wire import Wire


class Turn(Protocol):
    @property
    def wire(self) -> Wire: ...

    def answered(self, status: int, retry_after: float | None) -> None:
        """What came back; ``retry_after`` in seconds, None when the answer does not say."""


class OnlyTurn:
    """The turn of a client with one key, as a context."""

    def __init__(self, wire: Wire, limiter: Limiter) -> None:
        self.wire = wire
        self._limiter = limiter
        self._slot = limiter.slot()
        self._round = 0

    def answered(self, status: int, retry_after: float | None) -> None:
        self._limiter.answered(status, self._round)

    async def __aenter__(self) -> OnlyTurn:
        self._round = await self._slot.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._slot.__aexit__()

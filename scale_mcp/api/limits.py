"""How much goes out at once: a number of requests in flight that adapts, and optionally a rate.

A 429 halves the number (once per round of requests, not once per request), every success adds a little, up to the
configured maximum: additive increase, multiplicative decrease, as TCP does it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import anyio


class Limiter:
    """Slots for requests, first come, first served."""

    def __init__(self, max_in_flight: int, per_second: float, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._most = max(1, max_in_flight)
        self._allowed = float(self._most)
        self._in_flight = 0
        self._waiting: deque[anyio.Event] = deque()
        self._round = 0  # requests of an earlier round were sent before the last decrease
        self._interval = 1 / per_second if per_second > 0 else 0.0
        self._burst = max(1.0, per_second)
        self._booked_until = 0.0
        self._sleep = sleep

    @property
    def allowed(self) -> int:
        """Requests that may be in flight now."""
        return int(self._allowed)

    @property
    def in_flight(self) -> int:
        return self._in_flight

    def slot(self) -> Slot:
        """Wait for the turn of one request. Gives the round, to be handed to ``answered``."""
        return Slot(self)

    async def take(self) -> int:
        if self._interval:
            await self._pace()
        if self._in_flight < self.allowed and not self._waiting:
            self._in_flight += 1
        else:
            await self._wait_for_turn()
        return self._round

    def give_back(self) -> None:
        self._in_flight -= 1
        self._wake()

    def answered(self, status: int, sent_in_round: int) -> None:
        """Learn from an answer."""
        if status == 429:
            if sent_in_round == self._round:
                self._allowed = max(1.0, self._allowed / 2)
                self._round += 1
        elif status < 500 and self._allowed < self._most:
            self._allowed = min(float(self._most), self._allowed + 1 / self._allowed)
            self._wake()

    async def _pace(self) -> None:
        """Keep to the rate, letting through at most one second's worth at once (generic cell rate algorithm)."""
        now = anyio.current_time()
        self._booked_until = max(self._booked_until, now) + self._interval
        wait = self._booked_until - now - self._burst * self._interval
        if wait > 0:
            await self._sleep(wait)

    async def _wait_for_turn(self) -> None:
        turn = anyio.Event()
        self._waiting.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():  # given the slot at the moment of being cancelled: pass it on
                self._in_flight -= 1
                self._wake()
            else:
                self._waiting.remove(turn)
            raise

    def _wake(self) -> None:
        while self._waiting and self._in_flight < self.allowed:
            self._in_flight += 1
            self._waiting.popleft().set()


class Slot:
    """One request's turn, as a context. A plain class costs a third of a generator here, on every request."""

    __slots__ = ("_limiter",)

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    async def __aenter__(self) -> int:
        return await self._limiter.take()

    async def __aexit__(self, *_: object) -> None:
        self._limiter.give_back()

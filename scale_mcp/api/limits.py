"""How much goes out at once: a number of requests in flight that adapts, and optionally a rate.

A 429 here and there costs only the request that it meets, which waits and comes again. When more than a twentieth of
the answers are 429, the API is at a limit: the number halves. It comes back by one per success to three quarters of
what was too high, and from there by steps that grow the longer all goes well, up to the configured maximum. Where one
halving follows the other at once, nobody knows what goes well, and all the way back is by such steps.

The answers are counted in spans, each as many as may be in flight. A halving begins a new round: answers to requests
that were sent before teach nothing, as they met the limit that it answers. Errors of the server teach nothing either.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import anyio

TOLERATED = 0.05  # share of a span's answers that may be 429; a single one always may
SHORTEST_SPAN = 20  # answers; of fewer a single 429 would be too large a share
QUICK_WAY_BACK = 0.75  # of the number that was too high
SPANS_PER_STEP = 8  # after so many good spans the number grows by one more in each


class Limiter:
    """Slots for requests, first come, first served."""

    def __init__(
        self,
        max_in_flight: int,
        per_second: float,
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        self._most = max(1, max_in_flight)
        self._allowed = float(self._most)
        self._in_flight = 0
        self._waiting: deque[anyio.Event] = deque()
        self._round = 0  # requests of an earlier round were sent before the last halving
        self._quick_up_to = 0.0  # below this every success adds one
        self._good_spans = 0  # of this round
        self._answers = self._refused = 0  # of this span
        self._interval = 1 / per_second if per_second > 0 else 0.0
        self._burst = max(1.0, per_second)
        self._booked_until = 0.0
        self._sleep = sleep
        self._clock = clock

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
        if self._waiting:
            self._wake()

    def answered(self, status: int, sent_in_round: int) -> None:
        """Learn from an answer."""
        if status >= 500 or sent_in_round != self._round:
            return
        span = max(SHORTEST_SPAN, self._allowed)
        self._answers += 1
        if status == 429:
            self._refused += 1
            if self._refused > max(1.0, TOLERATED * span):
                self._halve()
                return
        elif self._allowed < self._most:
            quick = self._allowed < self._quick_up_to
            step = 1.0 if quick else (1 + self._good_spans // SPANS_PER_STEP) / span
            self._allowed = min(float(self._most), self._allowed + step)
            self._wake()
        if self._answers >= span:
            self._good_spans += 1
            self._answers = self._refused = 0

    def _halve(self) -> None:
        """Begin a round with half as many."""
        too_high, self._allowed = self._allowed, max(1.0, self._allowed / 2)
        self._quick_up_to = QUICK_WAY_BACK * too_high if self._good_spans else 0.0
        self._round += 1
        self._good_spans = self._answers = self._refused = 0

    async def _pace(self) -> None:
        """Keep to the rate, letting through at most one second's worth at once (generic cell rate algorithm)."""
        now = self._clock()
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

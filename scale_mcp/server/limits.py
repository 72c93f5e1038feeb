"""How many tool calls a minute are let through: one token bucket, refilled steadily."""

from __future__ import annotations

import time
from collections.abc import Callable


class CallLimit:
    """At most ``per_minute`` calls at once and per minute on average; 0 lets everything through."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = float(per_minute)
        self._clock = clock
        self._tokens = self._capacity
        self._filled_at = clock()

    def take(self) -> float:
        """Take one call. 0.0 when it may run, else the seconds to wait until it might."""
        if not self._capacity:
            return 0.0
        now = self._clock()
        per_second = self._capacity / 60
        self._tokens = min(self._capacity, self._tokens + (now - self._filled_at) * per_second)
        self._filled_at = now
        if self._tokens < 1:
            return (1 - self._tokens) / per_second
        self._tokens -= 1
        return 0.0

"""Log lines that anybody on the network can cause, without an end to how many."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

MOST = 20  # lines of one kind within a while
WHILE = 10.0  # seconds


class Sparing:
    """Says one kind of line so often within a while, then nothing; the next one said tells how many were left out."""

    def __init__(
        self,
        say: Callable[..., Any],
        event: str,
        *,
        most: int = MOST,
        within: float = WHILE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = say
        self._event = event
        self._most = most
        self._within = within
        self._clock = clock
        self._began = float("-inf")
        self._said = 0
        self._left_out = 0

    def __call__(self, **facts: Any) -> None:
        now = self._clock()
        if now - self._began >= self._within:
            self._began, self._said = now, 0
        if self._said >= self._most:
            self._left_out += 1
            return
        self._said += 1
        if self._left_out:
            facts["left_out"], self._left_out = self._left_out, 0
        self._say(self._event, **facts)

"""How the HTTP layer behaves: limits, timeouts, retries."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio


@dataclass(frozen=True)
class ApiOptions:
    """Times are seconds. ``sleep``, ``clock`` and ``random`` are replaced in tests."""

    max_in_flight: int = 16  # requests at the same time; fewer after 429s
    requests_per_second: float = 0  # 0: as many as fit
    attempts: int = 4  # of one request, the first included, those answered 429 not counted
    rate_limited_attempts: int = 10  # that may be answered 429, which did nothing and asks for patience
    backoff_base: float = 0.5  # the first pause is around this, each further one doubles …
    backoff_cap: float = 8.0  # … up to this
    max_retry_after: float = 60.0  # a longer Retry-After is handed to the caller instead of waited for; all rests of …
    # … a pool's keys that one call waits for count together
    connect_timeout: float = 10.0
    io_timeout: float = 60.0  # without a byte read or written
    call_timeout: float = 120.0  # a whole call with its retries, when the caller set no nearer deadline
    transfer_timeout: float = 1800.0  # the same for an upload
    max_answer_bytes: int = 256 * 1024 * 1024  # of one JSON answer
    user_agent: str = ""  # added to ours
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    clock: Callable[[], float] = anyio.current_time  # by which keys of a pool rest and keep their pace
    random: Callable[[], float] = random.random  # in [0, 1)

"""One key of a pool: how much may go out with it, when it rests, and what became of its requests.

A key rests after a 429: as long as its ``Retry-After`` says, else 60 seconds, and twice as long each time it is limited
again right after its rest, up to 300. Then it is on probation: one request goes out with it, and only when that is
answered are others let in again; the memory of earlier rests is halved. A key that Scale does not know (401) is left
out for five minutes, unless there is no other. Of a single key without ``Retry-After`` nobody can take the place, so it
rests as briefly as a request pauses before its repetition.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

from scale_mcp.api.connection import Connection
from scale_mcp.api.limits import Limiter
from scale_mcp.api.options import ApiOptions
from scale_mcp.api.wire import Wire

FIRST_REST, LONGEST_REST = 60.0, 300.0  # seconds, where Scale does not say
REFUSED_REST = 300.0  # seconds without a key that Scale did not know

KeyState = Literal["ready", "cooling", "probation", "refused"]


@dataclass(frozen=True)
class KeyHealth:
    """How one key fares. ``cools_for`` is the seconds until it is used again, 0 when it is; counts are of answers."""

    name: str
    state: KeyState
    cools_for: float
    ok: int
    limited: int
    failed: int  # refused with 401, answered with 5xx, or not answered at all
    in_flight: int
    allowed: int  # requests that may be in flight now
    last_status: int | None


class Pool(Protocol):
    """What a key asks of its pool."""

    @property
    def options(self) -> ApiOptions: ...

    @property
    def wire(self) -> Wire: ...

    def is_alone(self, lane: Lane) -> bool: ...

    def wake(self) -> None: ...

    def stir(self) -> None: ...


class Lane:
    """One key: its places in flight, its rests, and what became of its requests."""

    def __init__(self, name: str, connection: Connection, pool: Pool) -> None:
        options = pool.options
        self.name = name
        self.connection = connection
        self.limiter = Limiter(options.max_in_flight, options.requests_per_second, options.sleep, options.clock)
        self.places = 0  # taken, by requests in flight or about to be
        self.rests_until = 0.0
        self.rests = 0  # how many there were
        self.refused = self.probation = self.retired = False
        self.last_turn = 0  # for taking turns
        self.ok = self.limited = self.failed = 0
        self.last_status: int | None = None
        self._in_a_row = 0  # rests, without much good between them
        self._pool = pool

    @cached_property
    def wire(self) -> Wire:
        return self._pool.wire.with_key(self.connection)

    @property
    def load(self) -> float:
        """The share of its places that is taken."""
        return self.places / self.limiter.allowed

    def rests_for(self, now: float) -> float:
        return max(0.0, self.rests_until - now)

    def has_room(self, now: float) -> bool:
        return self.rests_until <= now and self.places < (1 if self.probation else self.limiter.allowed)

    def leave(self) -> None:
        """Give a place back."""
        self.places -= 1
        self._pool.wake()

    def answered(self, status: int | None, retry_after: float | None, after_rests: int) -> None:
        """Learn from an answer, or from the lack of one, to what was sent after so many ``rests``."""
        recent = after_rests == self.rests
        self.last_status = status
        if status == 429:
            self.limited += 1
            self._rest(retry_after, anew=recent)
        elif status == 401:
            self.failed += 1
            self.refused = self.probation = True
            self.rests_until = self._pool.options.clock() + REFUSED_REST
            self._pool.stir()
        elif status is None or status >= 500:
            self.failed += 1
        else:
            self.ok += 1
            self.refused = False
            if recent and self.probation:
                self.probation, self._in_a_row, self.rests_until = False, self._in_a_row // 2, 0.0
        self._pool.wake()

    def rested(self, until: float) -> None:
        """Somebody waited for this key until then. Nothing happens when it has been limited again meanwhile."""
        if self.rests_until == until:
            self.rests_until = 0.0

    def health(self, now: float) -> KeyHealth:
        if self.refused:
            state: KeyState = "refused"
        elif self.rests_until > now:
            state = "cooling"
        else:
            state = "probation" if self.probation else "ready"
        return KeyHealth(
            name=self.name,
            state=state,
            cools_for=self.rests_for(now),
            ok=self.ok,
            limited=self.limited,
            failed=self.failed,
            in_flight=self.limiter.in_flight,
            allowed=1 if self.probation else self.limiter.allowed,
            last_status=self.last_status,
        )

    def _rest(self, retry_after: float | None, *, anew: bool) -> None:
        """Begin a rest, or make the one that has begun longer, when the request was sent before it."""
        options = self._pool.options
        if retry_after is not None:
            seconds = retry_after + min(1.0, options.backoff_base) * options.random()
        elif not anew:
            return
        elif self._pool.is_alone(self):
            longest = min(options.backoff_cap, options.backoff_base * 2.0**self._in_a_row)
            seconds = longest * (0.5 + 0.5 * options.random())
        else:
            seconds = min(LONGEST_REST, FIRST_REST * 2.0**self._in_a_row)
        if anew:
            self.rests += 1
            self._in_a_row = min(self._in_a_row + 1, 30)
        self.probation = True
        self.rests_until = max(self.rests_until, options.clock() + seconds)
        self._pool.stir()

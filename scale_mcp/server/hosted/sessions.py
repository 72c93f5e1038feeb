"""Sessions of older clients on ``/mcp``: how many one principal may have.

The SDK itself binds a session to the principal that opened it, and answers everybody else as if there were none. It
limits sessions only altogether, so that one caller who opens them in a loop would keep all others out for as long as
idle sessions live.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from mcp.server.streamable_http_manager import DEFAULT_SESSION_IDLE_TIMEOUT

from scale_mcp.hosting.clock import Clock, utc_now
from scale_mcp.server.hosted.streams import TooMany

Principal = tuple[str, str, str]

MOST_SESSIONS = 200  # of one principal, of the 10,000 that the SDK holds
IDLE = timedelta(seconds=DEFAULT_SESSION_IDLE_TIMEOUT)  # after which the SDK has ended a session


@dataclass
class _Session:
    principal: Principal
    last_used: datetime
    in_flight: int = 0


class Sessions:
    """What this process knows of the sessions it has open, from the answers that went out."""

    def __init__(self, clock: Clock = utc_now, *, most: int = MOST_SESSIONS) -> None:
        self._clock = clock
        self._most = most
        self._sessions: dict[str, _Session] = {}
        self._held: Counter[Principal] = Counter()

    def __len__(self) -> int:
        """How many are open."""
        self._forget_idle()
        return len(self._sessions)

    @contextmanager
    def opening(self, principal: Principal) -> Iterator[None]:
        """Around a request that may open a session. Raises ``TooMany``."""
        if self._held[principal] >= self._most:
            self._forget_idle()
        if self._held[principal] >= self._most:
            raise TooMany
        self._held[principal] += 1
        try:
            yield
        finally:
            self._let_go(principal)

    @contextmanager
    def using(self, session_id: str) -> Iterator[None]:
        """Around a request of a session."""
        session = self._sessions.get(session_id)
        if session is None:
            yield
            return
        session.in_flight += 1
        try:
            yield
        finally:
            session.in_flight -= 1
            session.last_used = self._clock()

    def opened(self, session_id: str, principal: Principal) -> None:
        self._sessions[session_id] = _Session(principal, self._clock())
        self._held[principal] += 1

    def ended(self, session_id: str) -> None:
        if (session := self._sessions.pop(session_id, None)) is not None:
            self._let_go(session.principal)

    def _forget_idle(self) -> None:
        now = self._clock()
        for session_id, session in list(self._sessions.items()):
            if not session.in_flight and now - session.last_used >= IDLE:
                self.ended(session_id)

    def _let_go(self, principal: Principal) -> None:
        self._held[principal] -= 1
        if not self._held[principal]:
            del self._held[principal]

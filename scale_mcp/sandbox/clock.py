"""The sandbox's time, in seconds since 1970 (UTC): real, accelerated, or moved only by hand.

It never runs backwards, also not over a restart: a file whose time is ahead goes on from there. The order of
creation is therefore the order of ``created_at``, which paging relies on.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Literal

from scale_mcp.sandbox.store import Store

ClockKind = Literal["real", "fast", "manual"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS clock_state (id INTEGER PRIMARY KEY CHECK (id = 1), now REAL NOT NULL);
"""


class Clock:
    """``speed`` is virtual seconds per real second and matters for the fast clock only."""

    def __init__(self, store: Store, kind: ClockKind = "real", speed: float = 3600.0) -> None:
        self.kind: ClockKind = kind
        self.speed = speed if kind == "fast" else 1.0
        self._store = store
        real = time.time()
        saved = store.value("SELECT now FROM clock_state WHERE id = 1")
        self._virtual_start = max(real, saved) if saved is not None and kind == "real" else (saved or real)
        self._real_start = time.monotonic()
        self._last = self._virtual_start
        self.save()

    def now(self) -> float:
        """Virtual seconds since 1970."""
        if self.kind != "manual":
            elapsed = time.monotonic() - self._real_start
            self._last = max(self._last, self._virtual_start + elapsed * self.speed)
        return self._last

    def iso(self, at: float | None = None) -> str:
        """A moment (now, when not given) as Scale writes it: ``2024-03-12T10:15:30.123Z``."""
        return to_iso(self.now() if at is None else at)

    def advance(self, seconds: float) -> float:
        """Jump forward (any kind of clock) and return the new time. Due events run when the agenda is asked to."""
        if seconds < 0:
            raise ValueError("The clock only goes forward.")
        self._virtual_start = self.now() + seconds
        self._real_start = time.monotonic()
        self._last = self._virtual_start
        self.save()
        return self._last

    def real_seconds_until(self, at: float) -> float | None:
        """How long to wait, in real seconds, until the virtual moment ``at``; None when only a hand can move time."""
        if self.kind == "manual":
            return None if at > self.now() else 0.0
        return max(0.0, (at - self.now()) / self.speed)

    def change(self, kind: ClockKind, speed: float) -> None:
        """Go on from the present moment as another kind of clock."""
        self.advance(0)
        self.kind = kind
        self.speed = speed if kind == "fast" else 1.0

    def save(self) -> None:
        """Remember the time in the file, so that a restart goes on from here."""
        self._store.execute(
            "INSERT INTO clock_state (id, now) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET now = excluded.now",
            (self.now(),),
        )


def to_iso(at: float) -> str:
    """Seconds since 1970 as ISO 8601 with milliseconds and Z."""
    return (
        datetime.fromtimestamp(round(at * 1000) / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def from_iso(text: str) -> float:
    """Seconds since 1970 from a date or date-time; one without a zone is UTC.

    Raises ValueError for anything else. Takes ``2021-04-25``, ``2021-04-25T03:14:15-07:00`` and
    ``2021-04-25 03:14:15.000001``.
    """
    # A plus sign that was not percent-encoded arrives as a blank before the offset.
    repaired = (
        re.sub(r" (\d\d:?\d\d)$", r"+\1", text.strip()) if re.search(r":\d\d.* \d\d:?\d\d$", text) else text.strip()
    )
    moment = datetime.fromisoformat(repaired)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

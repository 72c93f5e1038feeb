"""What will happen: due events kept in the database, so that a restart goes on where it stopped.

A handler is synchronous and runs in one transaction with the removal of its event: an event happens exactly once
or, when the process dies in between, again. It uses ``event.at``, not the present, as the time of what it does: with
a fast clock, or after an advance by hand, many events are run late but in order.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio.lowlevel

from scale_mcp.sandbox.clock import Clock
from scale_mcp.sandbox.store import Store, dumps

SCHEMA = """
CREATE TABLE IF NOT EXISTS agenda (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    key TEXT UNIQUE
);
CREATE INDEX IF NOT EXISTS agenda_by_time ON agenda (at, id);
"""

PAUSE = 5  # events after which others get their turn

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """One thing that is due at the virtual moment ``at`` (seconds since 1970)."""

    id: int
    at: float
    kind: str
    payload: dict[str, Any]


Handler = Callable[[Event], None]


class Agenda:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._handlers: dict[str, Handler] = {}
        self._at_work = asyncio.Lock()
        self.changed: Callable[[], None] = lambda: None  # the ticker is told that something may be due sooner

    def on(self, kind: str, handler: Handler) -> None:
        """Say who handles events of a kind."""
        self._handlers[kind] = handler

    def schedule(self, at: float, kind: str, payload: dict[str, Any] | None = None, key: str | None = None) -> None:
        """Plan an event. With a ``key``, an event that is already planned under it stays and this one is dropped."""
        self._store.execute(
            "INSERT INTO agenda (at, kind, payload, key) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
            (at, kind, dumps(payload or {}), key),
        )
        self.changed()

    def cancel(self, key: str) -> None:
        self._store.execute("DELETE FROM agenda WHERE key = ?", (key,))

    def next_due(self) -> float | None:
        """When the next event is due, or None when nothing is planned."""
        at: float | None = self._store.value("SELECT at FROM agenda ORDER BY at, id LIMIT 1")
        return at

    async def run_due(self, seconds: float | None = None) -> int:
        """Run what is due by now, oldest first, and return how many events that were.

        With ``seconds`` it stops after so much real time; the rest is left to the next call. A call made while another
        one is at work returns 0 at once: the other one sees to it.
        """
        if self._at_work.locked():
            return 0
        async with self._at_work:
            return await self._run(seconds, lambda: math.inf)

    async def run_until(self, horizon: Callable[[], float]) -> int:
        """The same without haste, after any other call is done, and only up to a moment that is asked for each time."""
        async with self._at_work:
            return await self._run(None, horizon)

    async def _run(self, seconds: float | None, horizon: Callable[[], float]) -> int:
        done, started = 0, time.monotonic()
        while (seconds is None or time.monotonic() < started + seconds) and self._run_one(horizon()):
            done += 1
            if done % PAUSE == 0:
                await anyio.lowlevel.checkpoint()
        return done

    def _run_one(self, horizon: float) -> bool:
        row = self._store.one(
            "SELECT * FROM agenda WHERE at <= ? ORDER BY at, id LIMIT 1", (min(self._clock.now(), horizon),)
        )
        if row is None:
            return False
        event = Event(row["id"], row["at"], row["kind"], json.loads(row["payload"]))
        try:
            with self._store.transaction():
                # Another process on the same file may have been quicker: only who removes the row runs it.
                if self._store.execute("DELETE FROM agenda WHERE id = ?", (event.id,)).rowcount:
                    self._handlers[event.kind](event)
                    self._clock.save()
        except sqlite3.OperationalError:  # the file is locked or the disk full: the event stays for the next time
            raise
        except Exception:
            logger.exception("An event of kind %s failed and is dropped", event.kind)
            self._store.execute("DELETE FROM agenda WHERE id = ?", (event.id,))
        return True

"""When a key was used last and how Scale took it: written often enough to be true, seldom enough to cost little."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from scale_mcp.hosting.clock import Clock, stamp
from scale_mcp.hosting.connection_records import scale_keys

if TYPE_CHECKING:
    from scale_mcp.hosting.store import Database

SAME_AGAIN_AFTER = 60.0  # seconds before the same status of a key is written again
GOOD_AGAIN_AFTER = 5.0  # seconds that any other status stands before "ok" takes its place
log = logging.getLogger(__name__)


class UseNotes:
    """Keeps the uses of keys, for one process."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._written: dict[str, tuple[str, datetime]] = {}  # key id → what was written last, and when

    async def note(self, key_id: str, status: str) -> None:
        """Write the use down, unless nearly the same was written a moment ago. Raises nothing."""
        now = self._clock()
        before = self._written.get(key_id)
        if before is not None and not _worth(status, before[0], (now - before[1]).total_seconds()):
            return
        self._written[key_id] = (status, now)  # before the wait below, in which others ask
        change = {"last_used_at": stamp(now), "last_status": status[:40]}
        try:
            async with self._database.writing() as connection:
                await connection.execute(sa.update(scale_keys).where(scale_keys.c.id == key_id).values(change))
        except (SQLAlchemyError, OSError) as problem:
            log.warning("The use of key %s could not be noted: %s", key_id, type(problem).__name__)


def _worth(status: str, before: str, seconds: float) -> bool:
    if status == before:
        return seconds >= SAME_AGAIN_AFTER
    return status != "ok" or seconds >= GOOD_AGAIN_AFTER

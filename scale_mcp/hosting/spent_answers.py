"""Which questions were answered, for all replicas: an answer serves once, whichever of them it comes to."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from scale_mcp.hosting.clock import Clock, stamp, utc_now
from scale_mcp.hosting.store import Database, metadata

spent_answers = sa.Table(
    "spent_answers",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("expires_at", sa.String(27), nullable=False, index=True),
)


class SpentAnswers:
    """Remembered in the database until the question's state is void by itself."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    async def spend(self, state: str, lifetime: float) -> bool:
        """False when it was spent before. ``lifetime`` in seconds."""
        now = self._clock()
        row = {
            "digest": hashlib.sha256(state.encode("utf-8", "surrogatepass")).hexdigest(),
            "expires_at": stamp(now + timedelta(seconds=lifetime)),
        }
        try:
            async with self._database.writing() as connection:
                await connection.execute(sa.delete(spent_answers).where(spent_answers.c.expires_at <= stamp(now)))
                await connection.execute(sa.insert(spent_answers).values(row))
        except IntegrityError:
            return False
        return True

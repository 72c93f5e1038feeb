"""Claiming rows so that one replica at a time works on each, and a crashed one loses its claim after a while.

A claim is a token in the row. Whoever finishes says the token again: a worker whose claim has run out, and whose row
another one has taken, changes nothing any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from scale_mcp.hosting.clock import Clock, stamp
from scale_mcp.hosting.ids import new_id
from scale_mcp.hosting.store import Database

WAITING = "waiting"


class Leases:
    """Claims on the rows of one table that has the columns id, state, due_at, lease and leased_until."""

    def __init__(self, database: Database, table: sa.Table, *, length: timedelta, clock: Clock) -> None:
        self._database = database
        self._table = table
        self._length = length
        self._clock = clock

    async def claim(self, count: int, *where: sa.ColumnElement[bool], **values: Any) -> tuple[str, Sequence[Any]]:
        """Up to ``count`` rows that are due and nobody's, those that wait longest first; and the token of the claim.

        ``values`` are set in each of them as well.
        """
        table, now = self._table, self._clock()
        free = sa.or_(table.c.leased_until.is_(None), table.c.leased_until <= stamp(now))
        due = sa.and_(table.c.state == WAITING, table.c.due_at <= stamp(now), free, *where)
        token = new_id("lea")
        async with self._database.reading() as connection:
            if (await connection.execute(sa.select(table.c.id).where(due).limit(1))).first() is None:
                return token, ()  # without becoming the one writer that SQLite has
        oldest = sa.select(table).where(due).order_by(table.c.due_at, table.c.id).limit(count)
        async with self._database.writing() as connection:
            rows = (await connection.execute(oldest.with_for_update(skip_locked=True))).all()
            if rows:
                until = stamp(now + self._length)
                chosen = sa.update(table).where(table.c.id.in_([row.id for row in rows]))
                await connection.execute(chosen.values(lease=token, leased_until=until, **values))
        return token, rows

    async def release(self, row_id: str, token: str, **values: Any) -> bool:
        """Write the outcome into a row and give it back; False when the claim has run out and is another's."""
        async with self._database.writing() as connection:
            return await self.release_in(connection, row_id, token, **values)

    async def release_in(self, connection: AsyncConnection, row_id: str, token: str, **values: Any) -> bool:
        """The same within a transaction of the caller's."""
        table = self._table
        mine = sa.update(table).where(table.c.id == row_id, table.c.lease == token)
        done = await connection.execute(mine.values(lease=None, leased_until=None, **values))
        return done.rowcount == 1


def insert_new(database: Database, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """An insert that leaves a row alone which is there already."""
    if database.dialect == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()

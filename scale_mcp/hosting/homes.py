"""Where tasks live, and where a caller's own id of a task was sent first.

A home spares looking for a task in one connection after the other. The place of a unique_id is more than that: it is
why a create that was moved to another connection cannot happen in both, whichever replica a repetition comes to.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from scale_mcp.hosting.clock import Clock, stamp, utc_now
from scale_mcp.hosting.store import metadata
from scale_mcp.hosting.turns import Turns

if TYPE_CHECKING:
    from scale_mcp.hosting.store import Database

REMEMBERED = 20_000  # homes in memory
LONGEST_ID = 64  # characters; a task's id has 24
PLACES_KEPT = timedelta(days=90)
log = logging.getLogger(__name__)

task_homes = sa.Table(
    "task_homes",
    metadata,
    sa.Column("task_id", sa.String(LONGEST_ID), primary_key=True),
    sa.Column("connection_id", sa.String(40), nullable=False),
    sa.Column("project", sa.Text, nullable=True),
    sa.Column("task_type", sa.String(64), nullable=True),
    sa.Column("noted_at", sa.String(27), nullable=False),
)
create_places = sa.Table(
    "create_places",
    metadata,
    sa.Column("persona_id", sa.String(40), primary_key=True),
    sa.Column("unique_id", sa.String(64), primary_key=True),  # its SHA-256
    sa.Column("connection_id", sa.String(40), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("begun_at", sa.String(27), nullable=False, index=True),
)


@dataclass(frozen=True)
class Home:
    """Where a task lives. Project and type are None where they are not known, or it has none."""

    connection_id: str
    project: str | None = None
    task_type: str | None = None


@dataclass(frozen=True)
class Place:
    """Where creates with one unique_id go. ``first``: nobody has sent one before, in any replica."""

    connection_id: str
    first: bool


class Homes:
    """Remembers in the store, for all replicas, and the newest ones in memory."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock
        self._known: OrderedDict[str, Home] = OrderedDict()
        self._turns: Turns[tuple[str, Home], None] = Turns(self._write)
        self._insert = postgresql.insert if database.dialect == "postgresql" else sqlite.insert

    async def remember(
        self, task_id: str, connection_id: str, project: str | None = None, task_type: str | None = None
    ) -> None:
        """Note where a task lives. Raises nothing: what is not noted is looked for when it is needed."""
        home = Home(connection_id, project, task_type)
        if not _can_be(task_id) or self._known.get(task_id) == home:
            return
        self._keep(task_id, home)
        try:
            await self._turns.take((task_id, home))
        except (SQLAlchemyError, OSError) as problem:
            log.warning("The home of a task could not be written: %s", type(problem).__name__)

    async def find(self, task_id: str) -> Home | None:
        """Where a task lives, as far as is known."""
        if (known := self._known.get(task_id)) is not None:
            self._known.move_to_end(task_id)
            return known
        if not _can_be(task_id):
            return None
        columns = (task_homes.c.connection_id, task_homes.c.project, task_homes.c.task_type)
        query = sa.select(*columns).where(task_homes.c.task_id == task_id)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        home = Home(*row)
        self._keep(task_id, home)
        return home

    async def place(self, persona_id: str, unique_id: str, connection_id: str) -> Place:
        """Where to send a create with this unique_id, now that it is to be sent: there where one was sent before."""
        now = self._clock()
        row = self._insert(create_places).values(
            persona_id=persona_id,
            unique_id=_digest(unique_id),
            connection_id=connection_id,
            attempts=1,
            begun_at=stamp(now),
        )
        counted = row.on_conflict_do_update(
            index_elements=["persona_id", "unique_id"], set_={"attempts": create_places.c.attempts + 1}
        ).returning(create_places.c.connection_id, create_places.c.attempts)
        async with self._database.writing() as connection:
            await connection.execute(
                sa.delete(create_places).where(create_places.c.begun_at < stamp(now - PLACES_KEPT))
            )
            found = (await connection.execute(counted)).one()
        return Place(found.connection_id, found.attempts == 1)

    async def move(self, persona_id: str, unique_id: str, *, away_from: str, to: str) -> bool:
        """Send creates with this unique_id to another connection from now on.

        Only for whoever sent the only one so far, and knows that it was not done. False when somebody else has come
        with the same unique_id meanwhile, and may be creating the task where it was.
        """
        mine = sa.and_(
            create_places.c.persona_id == persona_id,
            create_places.c.unique_id == _digest(unique_id),
            create_places.c.connection_id == away_from,
            create_places.c.attempts == 1,
        )
        async with self._database.writing() as connection:
            moved = await connection.execute(sa.update(create_places).where(mine).values(connection_id=to))
        return moved.rowcount == 1

    def _keep(self, task_id: str, home: Home) -> None:
        self._known[task_id] = home
        self._known.move_to_end(task_id)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    async def _write(self, homes: list[tuple[str, Home]]) -> list[None]:
        rows: dict[str, dict[str, Any]] = {}
        for task_id, home in homes:
            rows[task_id] = {
                "task_id": task_id,
                "connection_id": home.connection_id,
                "project": home.project,
                "task_type": home.task_type,
                "noted_at": stamp(self._clock()),
            }
        insert = self._insert(task_homes)
        changes = {name: insert.excluded[name] for name in ("connection_id", "project", "task_type", "noted_at")}
        async with self._database.writing() as connection:
            ordered = [rows[task_id] for task_id in sorted(rows)]  # two replicas must not wait for each other
            await connection.execute(
                insert.values(ordered).on_conflict_do_update(index_elements=["task_id"], set_=changes)
            )
        return [None] * len(homes)


def _can_be(task_id: str) -> bool:
    return 0 < len(task_id) <= LONGEST_ID and task_id.isascii() and task_id.isprintable()


def _digest(unique_id: str) -> str:
    return hashlib.sha256(unique_id.encode("utf-8", "surrogatepass")).hexdigest()

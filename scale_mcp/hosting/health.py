"""How the keys of all connections fare in every replica, for people to look at: written seldom, read by the operator.

Nothing is decided by these rows; each process knows its own keys.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from scale_mcp.hosting.clock import Clock, stamp
from scale_mcp.hosting.store import metadata

if TYPE_CHECKING:
    from scale_mcp.api.key_lane import KeyHealth
    from scale_mcp.api.key_pool import KeyPool
    from scale_mcp.hosting.connections import Connections
    from scale_mcp.hosting.store import Database

KEPT = timedelta(days=1)  # rows of replicas that write no more
COUNTS_EVERY = timedelta(seconds=5)  # that counts alone are worth a transaction; a change of state always is
log = logging.getLogger(__name__)

key_health = sa.Table(
    "key_health",
    metadata,
    sa.Column("key_id", sa.String(40), primary_key=True),
    sa.Column("replica", sa.String(128), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("cooling_until", sa.String(27), nullable=True),
    sa.Column("ok", sa.BigInteger, nullable=False),
    sa.Column("limited", sa.BigInteger, nullable=False),
    sa.Column("failed", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.String(27), nullable=False, index=True),
)


@dataclass(frozen=True)
class StoredHealth:
    """How one key fared in one replica, when it wrote last. Counts are since that process began."""

    key_id: str
    replica: str
    state: str  # ready, cooling, probation or refused
    cooling_until: str | None
    ok: int
    limited: int
    failed: int
    updated_at: str


class KeyHealths:
    """Writes what changes, for one process."""

    def __init__(self, database: Database, connections: Connections, clock: Clock, replica: str = "") -> None:
        self._database = database
        self._connections = connections
        self._clock = clock
        self._replica = (replica or f"{socket.gethostname()}:{os.getpid()}")[:128]
        self._written: dict[str, _Gist] = {}
        self._written_at: datetime | None = None

    async def write(self, pools: Iterable[KeyPool | None], *, last: bool = False) -> None:
        """Write how the keys fare that were used, or that fare otherwise, since the last time. Raises nothing.

        Cheap to call often; ``last`` when there will be no other time.
        """
        found = {health: _gist(health) for pool in pools if pool is not None for health in pool.health()}
        changed = [health for health, gist in found.items() if self._written.get(health.name) != gist]
        now = self._clock()
        recently = self._written_at is not None and now - self._written_at < COUNTS_EVERY
        if not changed or (recently and not last and all(self._same_state(health) for health in changed)):
            return
        try:
            async with self._database.writing() as connection:
                await connection.execute(sa.delete(key_health).where(key_health.c.updated_at < stamp(now - KEPT)))
                insert = postgresql.insert if self._database.dialect == "postgresql" else sqlite.insert
                for health in sorted(changed, key=lambda health: health.name):
                    until = stamp(now + timedelta(seconds=health.cools_for)) if health.cools_for else None
                    values = {
                        "state": health.state,
                        "cooling_until": until,
                        "ok": health.ok,
                        "limited": health.limited,
                        "failed": health.failed,
                        "updated_at": stamp(now),
                    }
                    row = insert(key_health).values(key_id=health.name, replica=self._replica, **values)
                    await connection.execute(
                        row.on_conflict_do_update(index_elements=["key_id", "replica"], set_=values)
                    )
        except (SQLAlchemyError, OSError) as problem:
            log.warning("The health of the keys could not be written: %s", type(problem).__name__)
            return
        self._written_at = now
        for health in changed:
            before = self._written.get(health.name, _UNUSED)
            self._written[health.name] = found[health]
            if before.answers != found[health].answers:
                await self._connections.used(health.name, _word(health))

    def _same_state(self, health: KeyHealth) -> bool:
        return self._written.get(health.name, _UNUSED).state == health.state


async def read_health(database: Database) -> list[StoredHealth]:
    """What all replicas wrote lately, by key."""
    query = sa.select(key_health).order_by(key_health.c.key_id, key_health.c.replica)
    async with database.reading() as connection:
        return [StoredHealth(**row) for row in (await connection.execute(query)).mappings()]


@dataclass(frozen=True)
class _Gist:
    """What makes a row worth writing again."""

    answers: tuple[int, int, int] = (0, 0, 0)
    state: str = ""


_UNUSED = _Gist()


def _gist(health: KeyHealth) -> _Gist:
    return _Gist((health.ok, health.limited, health.failed), health.state)


def _word(health: KeyHealth) -> str:
    """How Scale took the key last, in the words of the list of connections."""
    if health.state == "refused" or health.last_status == 401:
        return "refused"
    if health.last_status == 429:
        return "limited"
    return "ok" if health.last_status is not None and health.last_status < 500 else "failed"

"""Connections as they are stored, and as they are shown: everything about a key but the key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from scale_mcp.hosting.store import metadata
from scale_mcp.hosting.vault import SEALED

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

Kind = Literal["live", "test", "sandbox"]
Mode = Literal["live", "test"]

connections = sa.Table(
    "connections",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("mode", sa.String(8), nullable=False),
    sa.Column("base_url", sa.Text, nullable=False),
    sa.Column("callback_secret", sa.Text, nullable=True, info=SEALED),
    sa.Column("created_at", sa.String(27), nullable=False),
    sa.Column("removed_at", sa.String(27), nullable=True),
)
# A name can be given again when its connection is removed.
there = connections.c.removed_at.is_(None)
sa.Index("uq_connections_name", connections.c.name, unique=True, sqlite_where=there, postgresql_where=there)

scale_keys = sa.Table(
    "scale_keys",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("connection_id", sa.String(40), sa.ForeignKey("connections.id"), nullable=False, index=True),
    sa.Column("fingerprint", sa.String(12), nullable=False),
    sa.Column("sealed", sa.Text, nullable=True, info=SEALED),  # gone when the key is retired
    sa.Column("status", sa.String(8), nullable=False),
    sa.Column("created_at", sa.String(27), nullable=False),
    sa.Column("retired_at", sa.String(27), nullable=True),
    sa.Column("last_used_at", sa.String(27), nullable=True),
    sa.Column("checked_at", sa.String(27), nullable=True),
    sa.Column("last_status", sa.String(40), nullable=False),
)


@dataclass(frozen=True)
class KeyRecord:
    """A Scale key without the key. Times are ``clock.stamp`` texts.

    fingerprint   12 hex digits by which people know the key again; nothing of the key can be learnt from them
    last_status   how Scale took it last: ok, limited, refused, …; "unchecked" before the first use
    """

    id: str
    connection_id: str
    fingerprint: str
    status: Literal["active", "retired"]
    created_at: str
    retired_at: str | None
    last_used_at: str | None
    checked_at: str | None
    last_status: str


@dataclass(frozen=True)
class ConnectionRecord:
    """A Scale account and mode. ``keys`` has the retired ones, too, the oldest first."""

    id: str
    name: str
    kind: Kind
    mode: Mode
    base_url: str
    has_callback_secret: bool
    created_at: str
    removed_at: str | None
    keys: tuple[KeyRecord, ...]

    @property
    def active_keys(self) -> tuple[KeyRecord, ...]:
        return tuple(key for key in self.keys if key.status == "active")


SHOWN = [column for column in scale_keys.columns if column is not scale_keys.c.sealed]


async def read_records(
    connection: AsyncConnection, *conditions: sa.ColumnElement[bool], include_removed: bool = False
) -> list[ConnectionRecord]:
    """The connections for which all conditions hold, by name. Needs no vault: nothing is opened."""
    wanted = sa.select(connections).where(*conditions).order_by(connections.c.name, connections.c.created_at)
    if not include_removed:
        wanted = wanted.where(there)
    rows = (await connection.execute(wanted)).all()
    its_keys = (
        sa.select(*SHOWN)
        .where(scale_keys.c.connection_id.in_([row.id for row in rows]))
        .order_by(scale_keys.c.created_at, scale_keys.c.id)
    )
    keys: dict[str, list[KeyRecord]] = {}
    for row in await connection.execute(its_keys):
        keys.setdefault(row.connection_id, []).append(key_record(row))
    return [_record(row, tuple(keys.get(row.id, ()))) for row in rows]


def key_record(row: Any) -> KeyRecord:
    return KeyRecord(**{column.name: getattr(row, column.name) for column in SHOWN})


def _record(row: Any, keys: tuple[KeyRecord, ...]) -> ConnectionRecord:
    return ConnectionRecord(
        id=row.id,
        name=row.name,
        kind=row.kind,
        mode=row.mode,
        base_url=row.base_url,
        has_callback_secret=row.callback_secret is not None,
        created_at=row.created_at,
        removed_at=row.removed_at,
        keys=keys,
    )

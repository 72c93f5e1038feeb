"""What an operator wants to see at a glance: counts and lists over all personas, each read with one query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import sqlalchemy as sa

from scale_mcp.hosting.approvals import approvals
from scale_mcp.hosting.audit.chain import INTENT, OUTCOME, audit_head, audit_rows
from scale_mcp.hosting.audit.search import Query, Trail
from scale_mcp.hosting.budgets import Spent
from scale_mcp.hosting.clock import Clock, stamp, utc_now
from scale_mcp.hosting.events.tables import events
from scale_mcp.hosting.persona_tables import personas, spending, tokens
from scale_mcp.hosting.rates import MICROS

if TYPE_CHECKING:
    from scale_mcp.hosting.store import Database

RECENT_CALLS = 300  # of a persona, among which the last use of its tokens is looked for
RECENT_ROWS = 20_000  # of the trail, among which changes are looked for


@dataclass(frozen=True)
class Change:
    """A row of the trail that is no call: who changed what."""

    seq: int
    time: str
    kind: str
    actor: str
    content: str  # JSON


@dataclass(frozen=True)
class PersonaCounts:
    enabled: int
    disabled: int


class Overview:
    """Reads what the whole server did, by whichever replica."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    async def outcomes(self, within: timedelta) -> Mapping[str, int]:
        """How many calls ended with which outcome lately, the most frequent first."""
        since = stamp(self._clock() - within)
        query = (
            sa.select(audit_rows.c.outcome, sa.func.count().label("calls"))
            .where(audit_rows.c.time >= since, audit_rows.c.kind == OUTCOME)
            .group_by(audit_rows.c.outcome)
            .order_by(sa.desc("calls"), audit_rows.c.outcome)
        )
        async with self._database.reading() as connection:
            return {row.outcome or "": row.calls for row in await connection.execute(query)}

    async def waiting_approvals(self) -> int:
        query = (
            sa.select(sa.func.count())
            .select_from(approvals)
            .where(approvals.c.state == "waiting", approvals.c.expires_at > stamp(self._clock()))
        )
        async with self._database.reading() as connection:
            return int(await connection.scalar(query) or 0)

    async def events(self, within: timedelta) -> int:
        """How many events were noted lately."""
        since = stamp(self._clock() - within)
        query = sa.select(sa.func.count()).select_from(events).where(events.c.noted_at >= since)
        async with self._database.reading() as connection:
            return int(await connection.scalar(query) or 0)

    async def personas(self) -> PersonaCounts:
        query = sa.select(personas.c.disabled, sa.func.count().label("many")).group_by(personas.c.disabled)
        async with self._database.reading() as connection:
            found = {bool(row.disabled): int(row.many) for row in await connection.execute(query)}
        return PersonaCounts(found.get(False, 0), found.get(True, 0))

    async def spent_today(self) -> Mapping[str, Spent]:
        """What personas with a limit have used today, by their ids. Who is not there has used nothing."""
        now = self._clock().astimezone(UTC)
        minute = int(now.timestamp()) // 60
        query = sa.select(spending).where(spending.c.day == f"{now:%Y-%m-%d}")
        async with self._database.reading() as connection:
            return {
                row.persona_id: Spent(
                    row.calls,
                    row.tasks,
                    Decimal(row.cost) / MICROS,
                    row.minute_calls if row.minute >= minute else 0,
                )
                for row in await connection.execute(query)
            }

    async def good_tokens(self) -> Mapping[str, int]:
        """How many tokens that are good personas have, by their ids."""
        unended = sa.or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > stamp(self._clock()))
        query = (
            sa.select(tokens.c.persona_id, sa.func.count().label("many"))
            .where(tokens.c.revoked_at.is_(None), unended)
            .group_by(tokens.c.persona_id)
        )
        async with self._database.reading() as connection:
            return {row.persona_id: row.many for row in await connection.execute(query)}

    async def token_uses(self, persona: str, token_ids: Iterable[str]) -> Mapping[str, str]:
        """When tokens of a persona (by name) were last used, as far as its most recent calls tell; by token id."""
        wanted = set(token_ids)
        found: dict[str, str] = {}
        rows = await Trail(self._database).rows(Query(persona=persona, kind=INTENT), limit=RECENT_CALLS)
        for row in rows:  # newest first
            token_id = row.content.get("token_id")
            if token_id in wanted:
                found.setdefault(token_id, row.time)
        return found

    async def rows(self) -> int:
        """The number of the trail's newest row; 0 for none."""
        async with self._database.reading() as connection:
            return int(await connection.scalar(sa.select(audit_head.c.seq)) or 0)

    async def changes(self, limit: int) -> list[Change]:
        """The newest changes of personas, connections and the rest, newest first, among the most recent rows."""
        head = sa.select(audit_head.c.seq).scalar_subquery()
        query = (
            sa.select(audit_rows)
            .where(audit_rows.c.seq > head - RECENT_ROWS, audit_rows.c.kind.not_in((INTENT, OUTCOME)))
            .order_by(audit_rows.c.seq.desc())
            .limit(limit)
        )
        async with self._database.reading() as connection:
            return [
                Change(row.seq, row.time, row.kind, row.actor or "", row.content)
                for row in await connection.execute(query)
            ]

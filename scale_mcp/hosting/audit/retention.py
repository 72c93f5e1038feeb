"""Taking old rows out of the trail. What remains still verifies, and says itself what was taken out and by whom."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from scale_mcp.hosting.approvals import approvals
from scale_mcp.hosting.audit.chain import ANCHOR, audit_head, audit_rows
from scale_mcp.hosting.audit.recorder import Recorder
from scale_mcp.hosting.audit.verification import verify
from scale_mcp.hosting.clock import stamp
from scale_mcp.hosting.errors import OperatorError
from scale_mcp.hosting.store import Database

AT_ONCE = 10_000  # rows of one transaction: others wait for the chain meanwhile


class NotPruned(OperatorError):
    """The trail does not verify, so nothing may be taken out of it."""


@dataclass(frozen=True)
class Pruned:
    """How many rows were taken out (or would be), and the number of the last of them; 0 for none."""

    rows: int
    through: int


async def prune(
    database: Database, recorder: Recorder, before: datetime, *, actor: str, dry_run: bool = False
) -> Pruned:
    """Take out all rows that are older than ``before`` and stand before the first one that is not, and with the last of
    them the approvals that had ended by then.

    With each transaction goes a row that tells number and hash of the last row taken out. The chain is verified first:
    a trail that was tampered with stays as it is, to be looked at. Raises ``NotPruned`` and ``AuditUnavailable``.
    """
    border = await _border(database, stamp(before))
    if border.rows == 0 or dry_run:
        return border
    found = await verify(database)
    if not found.holds:
        raise NotPruned(
            f"The audit chain does not verify (row {found.faults[0].seq} {found.faults[0].what}) Nothing was pruned. "
            "Keep a copy of the database, and look into it with `scale-mcp audit verify`."
        )
    first = found.first
    while first <= border.through:
        last = min(first + AT_ONCE - 1, border.through)
        async with database.writing() as connection:
            await recorder.hold(connection)
            digest = await connection.scalar(sa.select(audit_rows.c.hash).where(audit_rows.c.seq == last))
            if digest is None:
                raise NotPruned(
                    "Somebody else pruned the trail at the same time. Look at it with `scale-mcp audit tail`."
                )
            gone = await connection.execute(sa.delete(audit_rows).where(audit_rows.c.seq <= last))
            await connection.execute(sa.delete(approvals).where(approvals.c.expires_at < stamp(before)))
            told = {"actor": actor, "through": last, "hash": digest, "rows": gone.rowcount, "before": stamp(before)}
            await recorder.append(ANCHOR, told, connection=connection)
        first = last + 1
    return border


async def _border(database: Database, before: str) -> Pruned:
    kept = sa.select(sa.func.min(audit_rows.c.seq)).where(audit_rows.c.time >= before).scalar_subquery()
    end = sa.func.coalesce(kept, sa.select(audit_head.c.seq + 1).scalar_subquery())
    async with database.reading() as connection:
        statement = sa.select(sa.func.count(), sa.func.max(audit_rows.c.seq)).where(audit_rows.c.seq < end)
        count, last = (await connection.execute(statement)).one()
    return Pruned(count, last or 0)

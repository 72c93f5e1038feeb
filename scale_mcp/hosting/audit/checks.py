"""Verifying the trail while serving, on an operator's word: one at a time in all replicas, bounded, and remembered.

What was found goes into the trail as well. A check whose process was killed counts as given up when its time is over.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import anyio
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from scale_mcp.hosting.audit.recorder import Recorder
from scale_mcp.hosting.audit.verification import Verification, verify
from scale_mcp.hosting.audit.writer import AuditUnavailable, reason_of
from scale_mcp.hosting.clock import Clock, stamp, utc_now
from scale_mcp.hosting.ids import new_id
from scale_mcp.hosting.store import Database, metadata

LONGEST = 300.0  # seconds of one check: some twenty million rows
SPARE = 60.0  # seconds after which one that has not ended by then is taken for killed
KEPT = 20  # checks that are remembered

audit_checks = sa.Table(
    "audit_checks",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("started_at", sa.Text, nullable=False, index=True),
    sa.Column("started_by", sa.Text, nullable=False),
    sa.Column("finished_at", sa.Text),
    sa.Column("rows", sa.BigInteger),
    sa.Column("faults", sa.BigInteger),
    sa.Column("first_fault", sa.Text),
    sa.Column("head", sa.Text),
    sa.Column("open_calls", sa.BigInteger),
    sa.Column("problem", sa.Text),
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Check:
    """One verification of the trail. Times as ``stamp`` writes them.

    head      ``seq:hash`` of the last row, to be noted elsewhere
    problem   why it came to no result; None when it did, or has not ended yet
    """

    id: str
    started_at: str
    started_by: str
    finished_at: str | None = None
    rows: int | None = None
    faults: int | None = None
    first_fault: str | None = None
    head: str | None = None
    open_calls: int | None = None
    problem: str | None = None


class AuditChecks:
    """Begins, runs and remembers checks. ``examine`` does the work; ``longest`` is the most seconds it may take."""

    def __init__(
        self,
        database: Database,
        recorder: Recorder,
        clock: Clock = utc_now,
        *,
        examine: Callable[[Database], Awaitable[Verification]] = verify,
        longest: float = LONGEST,
    ) -> None:
        self._database = database
        self._recorder = recorder
        self._clock = clock
        self._examine = examine
        self._longest = longest

    async def begin(self, by: str) -> Check | None:
        """Note that a check begins, which ``run`` then does. None: one runs already, here or in another replica."""
        async with self._database.writing() as connection:
            await self._recorder.hold(connection)  # two replicas ask one after the other
            found = [Check(**row) for row in (await connection.execute(_newest(KEPT))).mappings()]
            if found and self._runs(found[0]):
                return None
            check = Check(new_id("chk"), stamp(self._clock()), self._recorder.redactor.text(by, 200))
            if len(found) == KEPT:
                old = sa.delete(audit_checks).where(audit_checks.c.started_at < found[-1].started_at)
                await connection.execute(old)
            await connection.execute(sa.insert(audit_checks).values(vars(check)))
        return check

    async def run(self, check: Check) -> None:
        """Do what ``begin`` noted. Raises nothing: what goes wrong is the check's ``problem``."""
        found: Verification | None = None
        problem: str | None = None
        try:
            with anyio.fail_after(self._longest):
                found = await self._examine(self._database)
        except TimeoutError:
            problem = f"It was given up after {self._longest:.0f} seconds. Use `scale-mcp audit verify`."
        except Exception as error:
            log.exception("The audit trail could not be verified")
            problem = f"The trail could not be read: {reason_of(error)}."
        try:
            with anyio.CancelScope(shield=True), anyio.fail_after(SPARE):
                await self._finish(check, found, problem)
        except (SQLAlchemyError, OSError) as error:
            log.warning("The result of verifying the audit trail could not be written: %s", type(error).__name__)

    async def last(self) -> tuple[Check | None, Check | None]:
        """The check that runs now, and the newest one that has ended; None where there is none."""
        async with self._database.reading() as connection:
            found = [Check(**row) for row in (await connection.execute(_newest(KEPT))).mappings()]
        running = found[0] if found and self._runs(found[0]) else None
        return running, next((check for check in found if check.finished_at is not None), None)

    def _runs(self, check: Check) -> bool:
        begun_since = stamp(self._clock() - timedelta(seconds=self._longest + SPARE))
        return check.finished_at is None and check.started_at > begun_since

    async def _finish(self, check: Check, found: Verification | None, problem: str | None) -> None:
        result: dict[str, object] = {"problem": problem}
        if found is not None:
            first = found.faults[0] if found.faults else None
            result |= {
                "rows": found.rows,
                "faults": found.fault_count,
                "first_fault": f"Row {first.seq} {first.what}" if first else None,
                "head": f"{found.last}:{found.head_hash}",
                "open_calls": found.open_count,
            }
        told = {name: value for name, value in result.items() if value is not None}
        try:
            await self._recorder.append("audit.verified", {"actor": check.started_by, **told})
        except AuditUnavailable as unavailable:
            log.error("That the audit trail was verified is not in it: %s", unavailable.reason)
        async with self._database.writing() as connection:
            values = {**result, "finished_at": stamp(self._clock())}
            await connection.execute(sa.update(audit_checks).where(audit_checks.c.id == check.id).values(values))


def _newest(limit: int) -> sa.Select[tuple[object, ...]]:
    return sa.select(audit_checks).order_by(audit_checks.c.started_at.desc(), audit_checks.c.id).limit(limit)

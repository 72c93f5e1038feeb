"""Group commit: what many callers have to write at the same moment goes into the chain in one transaction.

The writing is done by a task of its own, so a caller that is cancelled takes nobody's rows with it. There is one
transaction at a time: while it is under way the next rows gather.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from scale_mcp.hosting.audit.chain import INTENT, OUTCOME, ChainBroken, Draft, audit_rows, extend, hold
from scale_mcp.hosting.store import Database
from scale_mcp.tools.card import ToolFailure

MOST_ROWS = 400  # of one transaction
MOST_OWED = 2_000  # outcomes kept for later while the database is away
TRY_AGAIN = 5.0  # seconds after a failure in which those who may go on without do not wait to learn it again

logger = logging.getLogger(__name__)


class AuditUnavailable(ToolFailure):
    """A row could not be written. ``reason`` is for the log and the operator, the text for the agent."""

    code = "audit_unavailable"
    retryable = True
    retry_after = 10.0

    def __init__(self, reason: str) -> None:
        super().__init__(
            "This server's audit trail cannot be written at the moment, so nothing was changed and nothing was sent. "
            "Try again later; if it stays so, tell the operator of this server."
        )
        self.reason = reason


@dataclass(eq=False, slots=True)
class Waiting:
    """A row on its way, and where its number, or what went wrong, will be found.

    ``in_doubt``: its transaction failed at the commit, so that it may be in the chain all the same.
    """

    draft: Draft
    in_doubt: bool = False
    number: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(frozen=True)
class Gap:
    """What is missing from the trail: reads that went on without an intent, and outcomes there was no room to keep."""

    reads: int = 0
    outcomes: int = 0

    def __add__(self, other: Gap) -> Gap:
        return Gap(self.reads + other.reads, self.outcomes + other.outcomes)

    def __sub__(self, other: Gap) -> Gap:
        return Gap(self.reads - other.reads, self.outcomes - other.outcomes)


class GroupWriter:
    """Writes drafts into the chain, in the order they are handed in. For one event loop.

    patience  seconds that a transaction may take
    note      makes the row that tells of a gap
    """

    def __init__(self, database: Database, patience: float, note: Callable[[Gap], Draft]) -> None:
        self._database = database
        self._patience = patience
        self._note = note
        self.gap = Gap()  # since the last row that told of one
        self._queue: deque[Waiting] = deque()
        self._owed: deque[Draft] = deque()
        self._task: asyncio.Task[None] | None = None
        self.failing_since: float | None = None  # of the loop's clock; None: the last transaction was committed
        self.written = 0
        self.transactions = 0

    def submit(self, draft: Draft) -> Waiting:
        """Queue a row. From here on it is written whatever becomes of the caller, unless it is withdrawn."""
        waiting = Waiting(draft)
        self._queue.append(waiting)
        self._start()
        return waiting

    def owe(self, draft: Draft) -> None:
        """The outcome of an intent that may or may not be in the chain: written if it is, and kept while that fails."""
        self._keep(draft)
        self._start()

    @property
    def failed_lately(self) -> bool:
        """Whether writing failed within the last seconds, so that nobody needs to wait to learn it again."""
        since = self.failing_since
        return since is not None and asyncio.get_running_loop().time() - since < TRY_AGAIN

    async def number_of(self, waiting: Waiting, patience: float | None = None) -> int:
        """Wait until the row is durable. Raises ``AuditUnavailable``; being cancelled leaves the row on its way."""
        await asyncio.wait([waiting.number], timeout=self._patience if patience is None else patience)
        if not waiting.number.done():
            reason = reason_of(TimeoutError())
            self._note_failure(reason)
            raise AuditUnavailable(reason)
        return waiting.number.result()

    def withdraw(self, waiting: Waiting) -> bool:
        """Take a row back. False: too late, it is being written, was written, or may have been."""
        try:
            self._queue.remove(waiting)
        except ValueError:
            return False
        waiting.number.cancel()
        return True

    async def settled(self) -> None:
        """Wait until nothing is queued any more: at the end of a process."""
        while self._task is not None:
            await asyncio.wait([self._task])

    def _start(self) -> None:
        if self._task is None:
            # A context of its own: nothing of the call that happens to come first belongs to it.
            self._task = asyncio.create_task(self._write_all(), context=Context(), name="audit writer")

    async def _write_all(self) -> None:
        try:
            while self._queue or self._owed:
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), MOST_ROWS))]
                try:
                    await self._write(batch)
                except Exception as problem:  # whatever it is, each of the callers must hear of it
                    self._fail(batch, problem)
                    if not self._queue:
                        break
                except asyncio.CancelledError:  # the process ends
                    self._fail([*batch, *self._queue], RuntimeError("the server is stopping"))
                    self._queue.clear()
                    raise
        finally:
            self._task = None

    async def _write(self, batch: Sequence[Waiting]) -> None:
        owed = list(self._owed)[: MOST_ROWS - len(batch)]
        gap = self.gap
        async with asyncio.timeout(self._patience), self._database.writing() as connection:
            drafts = await _still_owed(connection, owed) if owed else []
            if gap != Gap():
                drafts.append(self._note(gap))
            drafts += (waiting.draft for waiting in batch)
            last = await extend(connection, drafts)
            for waiting in batch:
                waiting.in_doubt = True
        self._owed = deque(draft for draft in self._owed if not any(draft is gone for gone in owed))
        self.gap -= gap
        self.written += len(drafts)
        self.transactions += 1
        if self.failing_since is not None:
            logger.warning("The audit trail can be written again.")
            self.failing_since = None
        for number, waiting in enumerate(batch, last - len(batch) + 1):
            if not waiting.number.done():
                waiting.number.set_result(number)

    def _keep(self, draft: Draft) -> None:
        if len(self._owed) >= MOST_OWED:
            self._owed.popleft()
            self.gap += Gap(outcomes=1)
        self._owed.append(draft)

    def _note_failure(self, reason: str) -> None:
        if self.failing_since is None:
            logger.error("The audit trail cannot be written: %s", reason)
        self.failing_since = asyncio.get_running_loop().time()

    def _fail(self, batch: Sequence[Waiting], problem: Exception) -> None:
        reason = reason_of(problem)
        self._note_failure(reason)
        for waiting in batch:
            if waiting.draft.kind == OUTCOME:
                self._keep(waiting.draft)
            if not waiting.number.done():
                waiting.number.set_exception(AuditUnavailable(reason))
                waiting.number.exception()  # seen: nobody may be waiting any more


async def _still_owed(connection: AsyncConnection, drafts: Sequence[Draft]) -> list[Draft]:
    """Those whose intent is in the chain and whose outcome is not: a transaction may have been committed although its
    answer was lost. The chain is held meanwhile."""
    await hold(connection)
    entries = {entry for draft in drafts if (entry := draft.facts["entry"])}
    found = await connection.execute(
        sa.select(audit_rows.c.entry, audit_rows.c.kind).where(audit_rows.c.entry.in_(entries))
    )
    there = {(entry, kind) for entry, kind in found}
    owed = []
    for draft in drafts:
        entry = draft.facts["entry"]
        if (entry, INTENT) in there and (entry, OUTCOME) not in there:
            owed.append(draft)
            there.add((entry, OUTCOME))
    return owed


def reason_of(problem: BaseException) -> str:
    """One line about what is wrong with the database, without its address."""
    if isinstance(problem, AuditUnavailable):
        return problem.reason
    if isinstance(problem, TimeoutError):
        return "the database did not answer in time"
    if isinstance(problem, DBAPIError):
        return (str(problem.orig).splitlines() or [type(problem.orig).__name__])[0][:200]
    if isinstance(problem, ChainBroken | RuntimeError):
        return str(problem)[:200]
    return f"{type(problem).__name__}"

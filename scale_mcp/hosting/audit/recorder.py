"""Writing the trail: what was changed by whom, and of every call an intent before it and an outcome after it.

    entry = await recorder.begin(Intent(persona="ada", tool="create_task", risk="spend", arguments=…))   # durable now
    entry.decision("allowed", "scope tasks:spend")
    …
    await entry.finish("ok", connection="main", upstream=…, digest=digest_of(result), body=result)

A process that is killed in between leaves an intent without outcome, which ``verify`` and ``search`` show as unknown.
"""

from __future__ import annotations

import hashlib
import logging
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from scale_mcp.hosting.audit.chain import GAP, INTENT, OUTCOME, ChainBroken, Draft, canonical, draft, extend, hold
from scale_mcp.hosting.audit.redaction import Redactor
from scale_mcp.hosting.audit.writer import AuditUnavailable, Gap, GroupWriter, Waiting, reason_of
from scale_mcp.hosting.clock import Clock, stamp, utc_now
from scale_mcp.hosting.ids import new_id
from scale_mcp.hosting.store import Database
from scale_mcp.tools.card import Risk

PATIENCE = 20.0  # seconds a row may take to be durable; above the time that an SQLite writer waits for another
READERS_PATIENCE = 5.0  # seconds a call that only reads waits for its intent, before it goes on without
LONGEST_REASON = 2_000
LONGEST_NAME = 200
MOST_EXCHANGES = 64
LARGEST_CHANGE = 50_000  # characters of what a change of policy says; of a call's parts each has its own limit
MOST_OF_A_CHANGE = 1_000  # items of one list in it

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Intent:
    """What is about to be done, for whom. Arguments and texts are redacted and capped when they are written.

    reason   what the client said it is for (``_meta["scale-mcp/reason"]``), or its prompt
    client   name and version, as ``claude-code/2.1``
    session  is written as a hash: who holds a session's id could use it
    peer     the address that the request came from
    """

    tool: str
    risk: Risk
    arguments: Mapping[str, Any] = field(default_factory=dict)
    persona: str = ""
    persona_id: str = ""
    user: str = ""
    token_id: str | None = None
    client: str = ""
    session: str | None = None
    reason: str = ""
    peer: str = ""
    request_id: str = ""


class Entry:
    """One call in the trail, between its intent and its outcome."""

    def __init__(self, recorder: Recorder, intent: Intent, entry_id: str, *, recorded: bool) -> None:
        self.id = entry_id
        self.intent = intent
        self.recorded = recorded  # False: a read whose intent could not be written
        self._recorder = recorder
        self._decisions: list[dict[str, str]] = []
        self._finished = False

    def decision(self, decision: str, why: str = "") -> None:
        """Note what was decided about the call (allowed, denied, asked, agreed, …) and why: part of the outcome row."""
        redact = self._recorder.redactor.text
        self._decisions.append(
            {
                "decision": redact(decision, LONGEST_NAME),
                "why": redact(why, LONGEST_REASON),
                "time": stamp(self._recorder.clock()),
            }
        )

    async def finish(
        self,
        outcome: str,
        *,
        connection: str | None = None,
        upstream: Sequence[Mapping[str, Any]] = (),
        retries: int = 0,
        latency_ms: float | None = None,
        digest: str | None = None,
        body: Any = None,
        **further: Any,
    ) -> None:
        """Write the outcome: ok, error, denied, cancelled, unknown, …

        connection  the name of the connection that served it
        upstream    requests to Scale as {method, template, status, request_id}; the last 64 are kept
        body        the result, redacted and capped
        digest      of the result, which proves what it was where it is too large to keep; of ``body`` if not given
        further     more facts for the row, JSON values

        Never raises, and is not stopped by the call's being cancelled: what has happened has happened. A row that
        cannot be written now is kept and written when the database is back. The second time it does nothing.
        """
        if self._finished:
            return
        self._finished = True
        redact = self._recorder.redactor
        content = {
            "connection": None if connection is None else redact.text(connection, LONGEST_NAME),
            "upstream": redact.value(list(upstream)[-MOST_EXCHANGES:], most=MOST_EXCHANGES),
            "requests": len(upstream),
            "retries": retries,
            "latency_ms": None if latency_ms is None else round(latency_ms, 3),
            "digest": digest or (None if body is None else _digest_if_any(body)),
            "body": redact.value(body),
            "decisions": self._decisions,
            **redact.value(further),
        }
        await self._recorder.outcome(self, outcome, content)


class Recorder:
    """Writes the audit chain for one process. Replicas share the chain through the database.

    replica   names this process in the rows
    patience  seconds that a row may take before it counts as not written
    """

    def __init__(
        self,
        database: Database,
        clock: Clock = utc_now,
        replica: str = "",
        *,
        redactor: Redactor | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.clock = clock
        self.replica = replica or f"{socket.gethostname()}:{os.getpid()}"
        self.redactor = redactor or Redactor()
        self.unrecorded_reads = 0  # since the start of this process
        self.unfinished = 0  # outcomes that could not be written at once
        self._patience = patience
        self._writer = GroupWriter(database, patience, self._gap)

    @property
    def failing(self) -> bool:
        """Whether the last attempt to write failed: writes are refused then."""
        return self._writer.failing_since is not None

    @property
    def rows(self) -> int:
        """How many rows this process has written in groups."""
        return self._writer.written

    @property
    def transactions(self) -> int:
        return self._writer.transactions

    async def append(self, kind: str, content: dict[str, Any], *, connection: AsyncConnection | None = None) -> int:
        """Write one row and give its number in the chain; see ``Recording``. Raises ``AuditUnavailable``."""
        row = self._draft(kind, self.redactor.value(content, LARGEST_CHANGE, MOST_OF_A_CHANGE))
        if connection is None:
            return await self._durable(self._writer.submit(row))
        try:
            return await extend(connection, [row])
        except (ChainBroken, SQLAlchemyError, OSError) as problem:
            raise AuditUnavailable(reason_of(problem)) from problem

    async def hold(self, connection: AsyncConnection) -> None:
        """Lock the chain first thing in a transaction that decides by what it reads and appends in the end."""
        try:
            await hold(connection)
        except (ChainBroken, SQLAlchemyError, OSError) as problem:
            raise AuditUnavailable(reason_of(problem)) from problem

    async def begin(self, intent: Intent) -> Entry:
        """Write the intent of a call; when this returns it is durable.

        Raises ``AuditUnavailable`` when it cannot be written, before anything was done. A call that only reads goes on
        all the same: it is counted, logged, and noted in the trail when that can be written again.
        """
        entry_id = new_id("call")
        reads = intent.risk == "read"
        if reads and self._writer.failed_lately:
            return self._unrecorded(intent, entry_id, "the audit trail cannot be written")
        waiting = self._writer.submit(self._draft(INTENT, self._intent(intent, entry_id)))
        try:
            await self._durable(waiting, min(READERS_PATIENCE, self._patience) if reads else None)
        except AuditUnavailable as problem:
            if reads:
                self._give_up(waiting, intent, entry_id, "unrecorded", "it went on without waiting for this trail")
                return self._unrecorded(intent, entry_id, problem.reason)
            self._give_up(waiting, intent, entry_id, "abandoned", "it could not be recorded in time")
            raise
        except BaseException:
            self._give_up(waiting, intent, entry_id, "abandoned", "it was cancelled before it began")
            raise
        return Entry(self, intent, entry_id, recorded=True)

    async def settled(self) -> None:
        """Wait until everything handed in is written, or has failed. Call it before the database is closed."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(self._patience):
            await self._writer.settled()

    async def outcome(self, entry: Entry, outcome: str, content: Mapping[str, Any]) -> None:
        """Write the outcome of an entry: what ``Entry.finish`` does."""
        if not entry.recorded:
            return
        row = {**content, **self._who(entry.intent, entry.id), "outcome": self.redactor.text(outcome, LONGEST_NAME)}
        waiting = self._writer.submit(self._draft(OUTCOME, row))
        try:
            with anyio.CancelScope(shield=True):
                await self._durable(waiting)
        except AuditUnavailable as problem:
            self.unfinished += 1
            logger.error("The outcome of call %s is not in the audit trail yet: %s", entry.id, problem.reason)

    async def _durable(self, waiting: Waiting, patience: float | None = None) -> int:
        return await self._writer.number_of(waiting, patience)

    def _draft(self, kind: str, content: Mapping[str, Any]) -> Draft:
        return draft(stamp(self.clock()), self.replica, kind, content)

    def _intent(self, intent: Intent, entry_id: str) -> dict[str, Any]:
        text = self.redactor.text
        return {
            **self._who(intent, entry_id),
            "token_id": intent.token_id,
            "client": text(intent.client, LONGEST_NAME),
            "session": _short_hash(intent.session) if intent.session else None,
            "risk": intent.risk,
            "arguments": self.redactor.value(intent.arguments),
            "arguments_digest": _digest_if_any(intent.arguments),
            "reason": text(intent.reason, LONGEST_REASON),
            "peer": text(intent.peer, LONGEST_NAME),
            "request_id": text(intent.request_id, LONGEST_NAME),
        }

    def _who(self, intent: Intent, entry_id: str) -> dict[str, str]:
        text = self.redactor.text
        return {
            "entry": entry_id,
            "persona": text(intent.persona, LONGEST_NAME),
            "persona_id": intent.persona_id,
            "user": text(intent.user, LONGEST_NAME),
            "tool": text(intent.tool, LONGEST_NAME),
        }

    def _give_up(self, waiting: Waiting, intent: Intent, entry_id: str, outcome: str, why: str) -> None:
        """No outcome will follow. Where the intent may be in the chain already, say so there."""
        if waiting.number.done() and not waiting.in_doubt:
            return
        if not self._writer.withdraw(waiting):
            row = {**self._who(intent, entry_id), "outcome": outcome, "why": why}
            self._writer.owe(self._draft(OUTCOME, row))

    def _gap(self, gap: Gap) -> Draft:
        return self._draft(GAP, {"actor": "audit", "reads": gap.reads, "outcomes": gap.outcomes})

    def _unrecorded(self, intent: Intent, entry_id: str, reason: str) -> Entry:
        self.unrecorded_reads += 1
        logger.error("A read is not in the audit trail (%s by %r): %s", intent.tool, intent.persona, reason)
        self._writer.gap += Gap(reads=1)
        return Entry(self, intent, entry_id, recorded=False)

    def know(self, secrets: Iterable[str]) -> None:
        """Secrets that must not appear in the trail even where nothing marks them as such."""
        self.redactor.know(secrets)


def digest_of(value: Any) -> str:
    """``sha256:…`` of a JSON value's canonical text; of its Python text where it is no JSON value.

    Raises ``ValueError`` for what is nested too deeply to be written down: it must not go by anything else's digest.
    """
    try:
        try:
            text = canonical(value)
        except (TypeError, ValueError):
            text = repr(value)
    except RecursionError:
        raise ValueError("The value is nested too deeply.") from None
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _digest_if_any(value: Any) -> str | None:
    try:
        return digest_of(value)
    except ValueError:
        return None


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

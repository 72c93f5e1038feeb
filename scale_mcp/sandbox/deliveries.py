"""Callbacks to be delivered: what is sent for which event, when it is tried again, and what became of every attempt.

A delivery is a row; each try is an event of the agenda, so that retries keep to the clock and survive a restart. The
body is made when it is sent and shows the task as it then is, as Scale has it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Any

from scale_mcp.sandbox import decisions
from scale_mcp.sandbox.agenda import Event
from scale_mcp.sandbox.batches import Batch
from scale_mcp.sandbox.callbacks import RETRY_DELAYS, Attempt, Courier, is_email
from scale_mcp.sandbox.store import dumps
from scale_mcp.sandbox.task_store import TaskRecord, at_base

if TYPE_CHECKING:
    from scale_mcp.sandbox.sandbox import Sandbox

SCHEMA = """
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY,
    account_no INTEGER NOT NULL,
    event TEXT NOT NULL,            -- completed, error, audit, recall, resend or batch
    url TEXT NOT NULL,
    task_seq INTEGER,
    batch_no INTEGER,
    state TEXT NOT NULL,            -- waiting, sending, delivered, failed, skipped or mailed
    attempts INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS deliveries_under_way ON deliveries (state) WHERE state = 'sending';
CREATE INDEX IF NOT EXISTS deliveries_by_task ON deliveries (task_seq) WHERE task_seq IS NOT NULL;
CREATE TABLE IF NOT EXISTS callback_attempts (
    id INTEGER PRIMARY KEY,
    delivery_id INTEGER NOT NULL,
    account_no INTEGER NOT NULL,
    at REAL NOT NULL,
    status INTEGER,                 -- what the receiver answered, if anything
    error TEXT,
    delivered INTEGER NOT NULL,
    skipped INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS callback_attempts_by_delivery ON callback_attempts (delivery_id);
CREATE TABLE IF NOT EXISTS outbox (         -- callbacks to e-mail addresses
    id INTEGER PRIMARY KEY,
    account_no INTEGER NOT NULL,
    at REAL NOT NULL,
    sender TEXT NOT NULL,
    recipient TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL
);
"""

MOST_AT_ONCE = 50  # connections; a callback that waits for its turn is not one that timed out

logger = logging.getLogger(__name__)


class Deliveries:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox, self._store = sandbox, sandbox.store
        self._courier = Courier(sandbox.options.callback_auth, sandbox.options.callback_hosts)
        self._under_way: dict[asyncio.Task[None], float] = {}  # and when the next try would be
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)
        sandbox.agenda.on("deliver", self._start)
        self._resume()

    def _resume(self) -> None:
        """What was under way when the process ended is tried again."""
        for row in self._store.query("SELECT id FROM deliveries WHERE state = 'sending'"):
            self._plan(row["id"], self._sandbox.clock.now())

    def of_task(self, record: TaskRecord, event: str, at: float) -> None:
        """Call back about a task, if it says where to."""
        url = record.document.get("callback_url")
        if url:
            self._add(record.account_no, event, url, at, task_seq=record.seq)

    def of_batch(self, account_no: int, batch: Batch, at: float) -> None:
        if batch.callback:
            self._add(account_no, "batch", batch.callback, at, batch_no=batch.no)

    def _add(
        self, account_no: int, event: str, url: str, at: float, task_seq: int | None = None, batch_no: int | None = None
    ) -> None:
        cursor = self._store.execute(
            "INSERT INTO deliveries (account_no, event, url, task_seq, batch_no, state, created_at)"
            " VALUES (?, ?, ?, ?, ?, 'waiting', ?)",
            (account_no, event, url, task_seq, batch_no, at),
        )
        assert cursor.lastrowid is not None
        self._plan(cursor.lastrowid, at)

    def _plan(self, delivery_id: int, at: float) -> None:
        self._sandbox.agenda.schedule(at, "deliver", {"delivery": delivery_id}, key=f"deliver:{delivery_id}")

    def _start(self, event: Event) -> None:
        row = self._store.one("SELECT * FROM deliveries WHERE id = ?", (event.payload["delivery"],))
        if row is None:
            return
        if is_email(row["url"]):
            self._mail(row, event.at)
            return
        refusal = self._courier.refusal(row["url"])
        if refusal is not None:
            self._conclude(row, event.at, Attempt(error=refusal, skipped=True))
            return
        self._store.execute("UPDATE deliveries SET state = 'sending' WHERE id = ?", (row["id"],))
        under_way = asyncio.get_running_loop().create_task(self._attempt(row, event.at))
        self._under_way[under_way] = event.at + RETRY_DELAYS[min(row["attempts"], len(RETRY_DELAYS) - 1)]
        under_way.add_done_callback(lambda done: self._under_way.pop(done, None))

    def _mail(self, row: Any, at: float) -> None:
        body = self._body(row)
        subject = f"Scale callback: {body.get('task_id') or body.get('name')} is {body['status']}"
        self._store.execute(
            "INSERT INTO outbox (account_no, at, sender, recipient, subject, body) VALUES (?, ?, ?, ?, ?, ?)",
            (row["account_no"], at, decisions.MAIL_SENDER.value, row["url"], subject, dumps(body)),
        )
        self._note(row, at, Attempt(delivered=True), "mailed")

    def _body(self, row: Any) -> dict[str, Any]:
        sandbox = self._sandbox
        if row["batch_no"] is not None:
            batch = sandbox.batches.by_no(row["batch_no"])  # decisions.BATCH_CALLBACK_BODY
            shown = sandbox.batches.serve(batch)
            return {"batch": shown, "project": batch.project, "name": batch.name, "status": batch.status}
        record = sandbox.tasks.store.by_seq(row["task_seq"])
        assert record is not None
        task = at_base(record.document, sandbox.base_url)
        return {"task_id": record.task_id, "status": record.status, "response": task.get("response"), "task": task}

    async def _attempt(self, row: Any, at: float) -> None:
        async with self._turns:
            attempt = await self._try(row)
        with self._store.transaction():
            if self._store.one("SELECT 1 FROM deliveries WHERE id = ?", (row["id"],)):  # not forgotten by a reset
                self._conclude(row, at, attempt)

    async def _try(self, row: Any) -> Attempt:
        try:
            if self._sandbox.faults.loses_callback(self._sandbox.account_id(row["account_no"]), row["url"]):
                return Attempt(error="lost on the way, as a fault wants it")
            return await self._courier.deliver(row["url"], self._body(row))
        except Exception as error:
            logger.exception("A callback to %s could not be made", row["url"])
            return Attempt(error=f"it could not be made: {error!r}")

    def _conclude(self, row: Any, at: float, attempt: Attempt) -> None:
        tried = row["attempts"] + 1
        if attempt.delivered:
            state = "delivered"
        elif attempt.skipped:
            state = "skipped"
        elif tried > len(RETRY_DELAYS):
            state = "failed"
        else:
            state = "waiting"
            self._plan(row["id"], at + RETRY_DELAYS[tried - 1])
        self._note(row, at, attempt, state)

    def _note(self, row: Any, at: float, attempt: Attempt, state: str) -> None:
        self._store.execute(
            "INSERT INTO callback_attempts (delivery_id, account_no, at, status, error, delivered, skipped)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (row["id"], row["account_no"], at, attempt.status, attempt.error, attempt.delivered, attempt.skipped),
        )
        self._store.execute("UPDATE deliveries SET state = ?, attempts = attempts + 1 WHERE id = ?", (state, row["id"]))
        if row["task_seq"] is not None and not attempt.skipped:
            self._tell_task(row["task_seq"], at, attempt.delivered)

    def _tell_task(self, seq: int, at: float, delivered: bool) -> None:
        """Whether any callback of the task ever got a 2xx (decisions.CALLBACK_SUCCEEDED)."""
        record = self._sandbox.tasks.store.by_seq(seq)
        if record is None or record.document.get("callback_succeeded"):
            return
        record.document["callback_succeeded"] = delivered
        if delivered:
            record.document["callback_succeeded_at"] = self._sandbox.clock.iso(at)
        self._sandbox.tasks.store.save(record)

    def next_retry(self) -> float:
        """The earliest moment at which something under way may be tried again; infinity when nothing is."""
        return min(self._under_way.values(), default=math.inf)

    async def settle(self) -> bool:
        """Wait for the attempts under way; says whether there were any."""
        waiting = list(self._under_way)
        if waiting:
            await asyncio.gather(*waiting, return_exceptions=True)
        return bool(waiting)

    async def close(self) -> None:
        """Break off what is under way (it is tried again after a restart)."""
        for attempt in list(self._under_way):
            attempt.cancel()
        await self.settle()
        await self._courier.aclose()

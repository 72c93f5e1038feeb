"""What the sandbox did, for the admin pages: callbacks, mails, and the workforce with the mistakes it made.

``account_id`` restricts a report to one account (None: all of them); ``limit`` keeps the newest, listed oldest first.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlite3 import Row

    from scale_mcp.sandbox.sandbox import Sandbox


def _newest(sandbox: Sandbox, sql: str, account_id: str | None, limit: int) -> list[Row]:
    return sandbox.store.query(sql, {"account": account_id, "limit": limit})[::-1]


def callbacks(sandbox: Sandbox, account_id: str | None, limit: int) -> list[dict[str, Any]]:
    """Every attempt to deliver a callback. ``key`` is the fingerprint of the account's key."""
    rows = _newest(
        sandbox,
        "SELECT a.*, d.event, d.url, d.state, t.task_id, b.name AS batch, c.id AS account FROM callback_attempts a"
        " JOIN deliveries d ON d.id = a.delivery_id JOIN accounts c ON c.no = a.account_no"
        " LEFT JOIN tasks t ON t.seq = d.task_seq LEFT JOIN batches b ON b.no = d.batch_no"
        " WHERE :account IS NULL OR c.id = :account ORDER BY a.id DESC LIMIT :limit",
        account_id,
        limit,
    )
    return [
        {
            "at": sandbox.clock.iso(row["at"]),
            "event": row["event"],
            "url": row["url"],
            "task_id": row["task_id"],
            "batch": row["batch"],
            "status": row["status"],
            "error": row["error"],
            "delivered": bool(row["delivered"]),
            "skipped": bool(row["skipped"]),
            "delivery": row["delivery_id"],
            "state": row["state"],
            "key": row["account"],
        }
        for row in rows
    ]


def outbox(sandbox: Sandbox, account_id: str | None, limit: int) -> list[dict[str, Any]]:
    """Callbacks to e-mail addresses."""
    rows = _newest(
        sandbox,
        "SELECT o.*, c.id AS account FROM outbox o JOIN accounts c ON c.no = o.account_no"
        " WHERE :account IS NULL OR c.id = :account ORDER BY o.id DESC LIMIT :limit",
        account_id,
        limit,
    )
    return [
        {
            "at": sandbox.clock.iso(row["at"]),
            "from": row["sender"],
            "to": row["recipient"],
            "subject": row["subject"],
            "body": json.loads(row["body"]),
            "key": row["account"],
        }
        for row in rows
    ]


def workers(sandbox: Sandbox) -> list[dict[str, Any]]:
    """The pool, and teammates at work: how good each is, the mistakes to expect, and the tasks in hand.

    Nobody has more than one task per account.
    """
    in_hand: dict[str, list[dict[str, Any]]] = {}
    for row in sandbox.store.query(
        "SELECT a.worker, a.started_at, t.task_id FROM assignments a JOIN tasks t ON t.seq = a.task_seq ORDER BY t.seq"
    ):
        work = {"task_id": row["task_id"], "since": sandbox.clock.iso(row["started_at"])}
        in_hand.setdefault(row["worker"], []).append(work)
    pool = {worker.email for worker in sandbox.engine.workers}
    others = [sandbox.engine.worker(email) for email in in_hand if email not in pool]
    return [
        {
            "email": worker.email,
            "skill": worker.skill,
            "speed": worker.speed,
            "accuracy": worker.accuracy,
            "noise": worker.noise.stated(),
            "at_work": in_hand.get(worker.email, []),
        }
        for worker in [*sandbox.engine.workers, *others]
    ]


def answers(sandbox: Sandbox, account_id: str | None, limit: int) -> list[dict[str, Any]]:
    """What was simulated in the answers of the newest completed tasks: the truth used, and every mistake put in."""
    rows = _newest(
        sandbox,
        "SELECT t.task_id, t.type, t.document, c.id AS account FROM tasks t JOIN accounts c ON c.no = t.account_no"
        " WHERE t.completed_ms IS NOT NULL AND (:account IS NULL OR c.id = :account) ORDER BY t.seq DESC LIMIT :limit",
        account_id,
        limit,
    )
    return [
        {
            "task_id": row["task_id"],
            "type": row["type"],
            "key": row["account"],
            "simulation": json.loads(row["document"]).get("simulation"),
        }
        for row in rows
    ]

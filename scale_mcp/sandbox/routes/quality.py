"""Quality: fixless audits, evaluation and training tasks, and the attempts of labelers at them."""

from __future__ import annotations

import json
from typing import Any

from scale_mcp.sandbox import decisions, ids, quality
from scale_mcp.sandbox.cursors import read_token, token_after
from scale_mcp.sandbox.http import ApiError, Reply, Request, Route, invalid, required
from scale_mcp.sandbox.store import dumps
from scale_mcp.sandbox.task_store import BASE, TaskRecord

SCHEMA = (
    quality.SCHEMA
    + """
CREATE TABLE IF NOT EXISTS fixless_audits (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id TEXT NOT NULL,
    id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    document TEXT NOT NULL,
    UNIQUE (account_id, id)
);
CREATE INDEX IF NOT EXISTS fixless_audits_by_task ON fixless_audits (account_id, task_id, position);
"""
)

RESULTS = ("accepted", "rejected", "fixed", "commented")
FEEDBACK_TYPES = ("error", "comment", "confirmation", "flag")
FEEDBACK_STATES = ("accepted", "rejected", "disputed")


# ------------------------------------------------------------------------------------------------------------ audits


def create_audit(request: Request) -> Reply:
    """``PUT /audits``: feedback on a completed task that leaves its annotations alone. The one operation with 201."""
    body = request.object()
    for name in ("task_id", "result", "response_url"):
        if not isinstance(body.get(name), str) or not body[name]:
            raise required(name)
    if body["result"] not in RESULTS:
        raise invalid(f'"result" must be one of [{", ".join(RESULTS)}]')
    sandbox, account = request.sandbox, request.account
    task = _completed_task(request, body["task_id"])
    items = body.get("feedback_items", [])
    if not isinstance(items, list):
        raise invalid('"feedback_items" must be an array')
    audit = {
        **body,
        "id": ids.object_id(sandbox.clock.now()),
        "created_at": sandbox.clock.iso(),
        "audited_by": body.get("audited_by", decisions.AUDITOR.value),
        "feedback_items": [_feedback_item(number, item) for number, item in enumerate(items, start=1)],
    }
    sandbox.store.execute(
        "INSERT INTO fixless_audits (account_id, id, task_id, document) VALUES (?, ?, ?, ?)",
        (account.id, audit["id"], audit["task_id"], dumps(audit)),
    )
    if task.batch_no:
        sandbox.batches.note_audit(task.batch_no, sandbox.clock.now())
    return Reply(audit, status=201)


def _completed_task(request: Request, task_id: str) -> TaskRecord:
    account_no = request.sandbox.account_no(request.account.id)
    task = request.sandbox.tasks.store.find(account_no, task_id)
    if task is None:
        raise ApiError(404, "Task with that ID not found.")
    if task.status != "completed":
        raise ApiError(decisions.AUDIT_NEEDS_COMPLETED.value, "Only a completed task can be audited.")
    return task


def _feedback_item(number: int, item: Any) -> dict[str, Any]:
    if not isinstance(item, dict) or item.get("type") not in FEEDBACK_TYPES:
        raise invalid(f'"type" of a feedback item must be one of [{", ".join(FEEDBACK_TYPES)}]')
    state = item.get("state", decisions.NEW_FEEDBACK_STATE.value)
    if state not in FEEDBACK_STATES:
        raise invalid(f'"state" of a feedback item must be one of [{", ".join(FEEDBACK_STATES)}]')
    scope = item.get("scope") or {}
    if not isinstance(scope, dict):
        raise invalid('"scope" of a feedback item must be an object')
    return {"id": str(number), **item, "state": state, "scope": scope}


def list_audits(request: Request) -> Reply:
    """``GET /audits``: the audits of a task, or the one of an id (decisions.AUDIT_LIST). 404 for an unknown one."""
    task_id, audit_id = request.one("task_id"), request.one("id")
    if not task_id and not audit_id:
        raise ApiError(400, 'Please include a "task_id" or an "id" parameter.')
    sandbox, account = request.sandbox, request.account
    if task_id and sandbox.tasks.store.find(sandbox.account_no(account.id), task_id) is None:
        raise ApiError(404, "Task with that ID not found.")
    rows = sandbox.store.query(
        "SELECT document FROM fixless_audits WHERE account_id = ? AND (? IS NULL OR task_id = ?)"
        " AND (? IS NULL OR id = ?) ORDER BY position DESC",
        (account.id, task_id or None, task_id, audit_id or None, audit_id),
    )
    if audit_id and not rows:
        raise ApiError(404, "Audit with that ID not found.")
    return Reply([json.loads(row["document"]) for row in rows])


# ----------------------------------------------------------------------------------------- evaluation and training


def create_evaluation_task(request: Request) -> Reply:
    """``POST /evaluation_tasks/{task_type}``: measures labelers with a task whose answer is known."""
    return _create(request, "evaluation")


def create_training_task(request: Request) -> Reply:
    """``POST /training_tasks/{task_type}``: teaches labelers with a task whose answer is known."""
    return _create(request, "training")


def _create(request: Request, kind: str) -> Reply:
    return Reply(request.sandbox.quality.create(request.account, kind, request.params["task_type"], request.object()))


def list_attempts(request: Request) -> Reply:
    """``GET /quality/labelers``: attempts at the given tasks, by the given people, or both; newest first."""
    task_ids, emails = request.many("quality_task_ids"), request.many("labeler_emails")
    if not task_ids and not emails:
        raise ApiError(400, 'Please include a "quality_task_ids" or a "labeler_emails" parameter.')
    limit = request.integer("limit", 100, 1, 100)
    after, _ = read_token(request.one("next_token"))
    rows, total = request.sandbox.quality.attempts(request.account, task_ids, emails, limit=limit, after=after)
    answer: dict[str, Any] = {
        "docs": [_describe(request, row) for row in rows[:limit]],
        "total": total,
        "limit": limit,
        "has_more": len(rows) > limit,
    }
    if answer["has_more"]:
        answer["next_token"] = token_after(rows[limit - 1]["position"])
    return Reply(answer)


def _describe(request: Request, row: Any) -> dict[str, Any]:
    iso = request.sandbox.clock.iso
    return {
        "id": row["id"],
        "quality_task_id": row["quality_task_id"],
        "quality_task_type": row["kind"],
        "project": row["project"],
        "labeler_email": row["labeler_email"],
        "score": row["score"],
        "passed": bool(row["passed"]),
        "started_at": iso(row["started_at"]),
        "completed_at": iso(row["completed_at"]),
        "response": json.loads(row["response"].replace(BASE, json.dumps(request.base_url)[1:-1])),
    }


ROUTES = [
    Route("PUT", "/audits", create_audit, "create_fixless_audit", "Give feedback on a completed task"),
    Route("GET", "/audits", list_audits, "list_fixless_audits", "List the fixless audits of a task"),
    Route(
        "POST",
        "/evaluation_tasks/{task_type}",
        create_evaluation_task,
        "create_evaluation_task",
        "Create an evaluation task in a Rapid project",
    ),
    Route(
        "POST",
        "/training_tasks/{task_type}",
        create_training_task,
        "create_training_task",
        "Create a training task in a Rapid project",
    ),
    Route("GET", "/quality/labelers", list_attempts, "list_training_attempts", "List attempts at quality tasks"),
]

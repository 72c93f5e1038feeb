"""The task operations: creation of every type, one task, lists, and the files that results are kept in."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from scale_mcp.sandbox import decisions, params
from scale_mcp.sandbox.clock import from_iso
from scale_mcp.sandbox.cursors import read_token, token_after
from scale_mcp.sandbox.http import ApiError, Reply, Request, Route, invalid, required
from scale_mcp.sandbox.task_query import STATUSES, Range, TaskQuery
from scale_mcp.sandbox.task_store import TaskRecord, at_base, record_of

REVIEWS = ("pending", "fixed", "accepted", "rejected", "commented")
MAX_LIMIT, MAX_OFFSET = 100, 10**9


def create(request: Request) -> Reply:
    """``POST /task/{task_type}``."""
    key = request.headers.get("idempotency-key")
    record = request.sandbox.tasks.create(request.account, request.params["task_type"], request.object(), key)
    return shown(request, record)


def get(request: Request) -> Reply:
    """``GET /task/{task_id}``."""
    return shown(request, named(request))


def cancel(request: Request) -> Reply:
    """``POST /task/{task_id}/cancel?clear_unique_id=``."""
    return shown(request, request.sandbox.tasks.cancel(named(request), request.flag("clear_unique_id")))


def add_tags(request: Request) -> Reply:
    """``PUT /task/{task_id}/tags``: those that are there already are ignored."""
    record = named(request)
    return shown(request, request.sandbox.tasks.set_tags(record, [*record.document.get("tags", []), *tags(request)]))


def replace_tags(request: Request) -> Reply:
    """``POST /task/{task_id}/tags``."""
    return shown(request, request.sandbox.tasks.set_tags(named(request), tags(request)))


def delete_tags(request: Request) -> Reply:
    """``DELETE /task/{task_id}/tags``, with a body: those that are not there are ignored."""
    record, gone = named(request), set(tags(request))
    left = [tag for tag in record.document.get("tags", []) if tag not in gone]
    return shown(request, request.sandbox.tasks.set_tags(record, left))


def tags(request: Request) -> list[str]:
    """The tags of a body: a bare array, or ``{"tags": […]}``."""
    body = request.json([])
    if isinstance(body, dict):
        body = body.get("tags", [])
    if not isinstance(body, list) or not all(isinstance(tag, str) and tag for tag in body):
        raise invalid("the body must be an array of non-empty strings")
    return body


def set_unique_id(request: Request) -> Reply:
    """``POST /task/{task_id}/unique_id``."""
    record, unique_id = named(request), request.object().get("unique_id")
    if not isinstance(unique_id, str) or not unique_id:
        raise required("unique_id")
    return shown(request, request.sandbox.tasks.set_unique_id(record, unique_id))


def clear_unique_id(request: Request) -> Reply:
    """``DELETE /task/{task_id}/unique_id``."""
    return shown(request, request.sandbox.tasks.set_unique_id(named(request), None))


def set_metadata(request: Request) -> Reply:
    """``POST /task/{task_id}/setMetadata``: the body is the metadata, and replaces all of it."""
    record = named(request)
    return shown(request, request.sandbox.tasks.set_metadata(record, params.metadata(request.json({}))))


def audit(request: Request) -> Reply:
    """``POST /task/{task_id}/audit`` (decisions.AUDIT_ANSWER)."""
    record, body = named(request), request.object()
    accepted, comments = body.get("accepted"), body.get("comments")
    if not isinstance(accepted, bool):
        raise required("accepted") if accepted is None else invalid('"accepted" must be a boolean')
    if comments is not None and not isinstance(comments, str):
        raise invalid('"comments" must be a string')
    return shown(request, request.sandbox.tasks.audit(record, accepted, comments))


def send_callback(request: Request) -> Reply:
    """``POST /task/{task_id}/send_callback``."""
    request.sandbox.tasks.send_callback(named(request))
    return Reply({"success": True})


def response_file(request: Request) -> Reply:
    """``GET /task/{task_id}/response_url/{uuid}``: the file itself (decisions.RESPONSE_URL_KEYS: for whom)."""
    found = request.sandbox.tasks.store.file(request.params["task_id"], request.params["uuid"])
    if found is not None:
        owner_no, content_type, content = found
        own = owner_no == request.sandbox.account_no(request.account.id)
        twin = not request.account.is_test and request.sandbox.pair(owner_no) == request.account.pair
        if own or twin:
            return Reply(content, content_type=content_type)
    raise ApiError(404, "Response data not found.")


def listed(request: Request) -> Reply:
    """``GET /tasks``: newest first, in pages by ``next_token`` or ``offset``."""
    limit = request.integer("limit", MAX_LIMIT, 1, MAX_LIMIT)
    offset = request.integer("offset", 0, 0, MAX_OFFSET)
    query = task_query(request)
    before, total = read_token(request.one("next_token"))
    if before is not None:
        offset = 0
    found = None if query is None else request.sandbox.tasks.select(query)
    rows, more = ([], None) if found is None else found.page(limit, offset, before)
    if total is None:
        total = 0 if found is None else found.total()
    envelope: dict[str, Any] = {
        "docs": [_listed_task(request, record_of(row)) for row in rows],
        "total": total,
        "limit": limit,
        "offset": offset,
        "has_more": more is not None,
    }
    if more is not None:
        envelope["next_token"] = token_after(more, None if query is None or query.is_counted else total)
    return Reply(envelope)


def _listed_task(request: Request, record: TaskRecord) -> dict[str, Any]:
    if request.flag("limited_response"):
        document = record.document
        return {name: document[name] for name in decisions.LIMITED_RESPONSE_KEYS.value if name in document}
    document = at_base(record.document, request.base_url)
    if request.flag("include_attachment_url"):
        urls = request.sandbox.attachments.urls(record, request.base_url)
        if urls:
            document[decisions.ATTACHMENT_URL_KEY.value] = urls
    return document


def task_query(request: Request) -> TaskQuery | None:
    """The filters of a list, or None when they name a project or batch that is not there: nothing matches.

    See decisions.UNKNOWN_NAME_IN_FILTER, UNIQUE_IDS_MATCH, TAGS_MATCH and TIME_BOUNDS.
    """
    sandbox, account = request.sandbox, request.account
    project_no = batch_no = None
    if request.one("project"):
        project = sandbox.projects.find(account, request.one("project") or "")
        if project is None:
            return None
        project_no = project.no
    if request.one("batch"):
        batch = sandbox.batches.find(account, request.one("batch") or "")
        if batch is None or project_no not in (None, batch.project_no):
            return None
        batch_no = batch.no
    return TaskQuery(
        account_no=sandbox.account_no(account.id),
        project_no=project_no,
        batch_no=batch_no,
        type=request.one("type") or None,
        statuses=_choice(request, "status", STATUSES),
        reviews=_choice(request, "customer_review_status", REVIEWS),
        unique_ids=tuple(dict.fromkeys(each for each in request.query.get("unique_id", []) if each)),
        tags=tuple(dict.fromkeys(request.many("tags"))),
        created=time_range(request, "start_time", "end_time"),
        completed=time_range(request, "completed_after", "completed_before"),
        updated=time_range(request, "updated_after", "updated_before"),
    )


def _choice(request: Request, name: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
    values = tuple(dict.fromkeys(request.many(name)))
    if any(value not in allowed for value in values):
        raise invalid(f'"{name}" must be one of [{", ".join(allowed)}]')
    return values


def time_range(request: Request, start: str, end: str) -> Range:
    """Two time filters as inclusive bounds in milliseconds."""
    return _time(request, start, math.ceil), _time(request, end, math.floor)


def _time(request: Request, name: str, rounded: Callable[[float], int]) -> int | None:
    value = request.one(name)
    if not value:
        return None
    try:
        return rounded(round(from_iso(value) * 1000, 3))
    except (ValueError, OverflowError):
        raise invalid(f'"{name}" must be a valid date in ISO 8601') from None


def named(request: Request) -> TaskRecord:
    """The task of the path, or 404."""
    return request.sandbox.tasks.get(request.account, request.params["task_id"])


def shown(request: Request, record: TaskRecord) -> Reply:
    return Reply(at_base(record.document, request.base_url))


ROUTES = [
    Route("POST", "/task/{task_type}", create, "create_task", "Create a task of any type"),
    Route("GET", "/task/{task_id}", get, "get_task", "Get a task"),
    Route("GET", "/tasks", listed, "list_tasks", "List tasks"),
    Route("POST", "/task/{task_id}/cancel", cancel, "cancel_task", "Cancel a task"),
    Route("PUT", "/task/{task_id}/tags", add_tags, "add_task_tags", "Add tags"),
    Route("POST", "/task/{task_id}/tags", replace_tags, "set_task_tags", "Replace all tags"),
    Route("DELETE", "/task/{task_id}/tags", delete_tags, "delete_task_tags", "Delete tags"),
    Route("POST", "/task/{task_id}/unique_id", set_unique_id, "set_task_unique_id", "Set the unique_id"),
    Route("DELETE", "/task/{task_id}/unique_id", clear_unique_id, "delete_task_unique_id", "Delete the unique_id"),
    Route("POST", "/task/{task_id}/setMetadata", set_metadata, "set_task_metadata", "Replace the metadata"),
    Route("POST", "/task/{task_id}/audit", audit, "audit_task", "Accept or reject a completed task"),
    Route("POST", "/task/{task_id}/send_callback", send_callback, "resend_callback", "Send the callback again"),
    Route("POST", "/task/{task_id}/send-callback", send_callback, "resend_callback_hyphen", "Other spelling of it"),
    Route("GET", "/task/{task_id}/response_url/{uuid}", response_file, "get_task_response", "Get a result file"),
]

"""The batch operations."""

from __future__ import annotations

from typing import Any

from scale_mcp.sandbox import decisions, params
from scale_mcp.sandbox.batches import SELECT, Batch, batch_of
from scale_mcp.sandbox.http import ApiError, Reply, Request, Route, invalid, required
from scale_mcp.sandbox.routes.tasks import MAX_LIMIT, MAX_OFFSET, time_range

STATUSES = ("staging", "in_progress", "completed")


def create(request: Request) -> Reply:
    """``POST /batches``."""
    sandbox, body = request.sandbox, request.object()
    for name in ("project", "name"):
        if body.get(name) in (None, ""):
            raise required(name)
        if not isinstance(body[name], str):
            raise invalid(f'"{name}" must be a string')
    project = sandbox.projects.get(request.account, body["project"])
    flags = {name: body.get(name, False) for name in ("calibration_batch", "self_label_batch")}
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise invalid(f'"{name}" must be a boolean')
        studio = project.flavour == "studio" and name == "calibration_batch"
        if flag and project.flavour != "rapid" and not studio:
            raise ApiError(decisions.RAPID_ONLY_BATCHES.value, f'"{name}" is for batches of Rapid projects only.')
    batch = sandbox.batches.create(
        request.account,
        project,
        body["name"],
        callback=params.callback_url(body.get("callback", ""), "callback"),
        calibration=flags["calibration_batch"],
        self_label=flags["self_label_batch"],
        metadata=params.metadata(body.get("metadata", {})),
    )
    return Reply(sandbox.batches.serve(batch))


def get(request: Request) -> Reply:
    """``GET /batches/{batch}``."""
    return Reply(request.sandbox.batches.serve(named(request)))


def status(request: Request) -> Reply:
    """``GET /batches/{batch}/status``: counts that are zero are absent."""
    batch = named(request)
    return Reply({"status": batch.status, **request.sandbox.batches.counts(batch)})


def finalize(request: Request) -> Reply:
    """``POST /batches/{batch}/finalize``: staging batches go to work; Enterprise batches need none of it."""
    sandbox, batch = request.sandbox, named(request)
    if not batch.is_staged:
        return Reply(sandbox.batches.serve(batch))
    if batch.status != "staging":
        raise ApiError(400, f'The batch "{batch.name}" is {batch.status}: only staging batches can be finalized.')
    batch = sandbox.batches.set_status(batch, decisions.FINALIZE_EMPTY_BATCH.value)
    answer = sandbox.batches.serve(batch)
    now = sandbox.clock.now()
    sandbox.engine.release(sandbox.account_no(request.account.id), batch, now)
    sandbox.engine.check_batch(batch.no, now)
    return Reply(answer)


def prioritize(request: Request) -> Reply:
    """``POST /batches/{batch}/prioritize``: from 10 to 30, higher is earlier."""
    sandbox, batch = request.sandbox, named(request)
    priority = params.whole(request.object().get("priority"))
    if priority is None or not 10 <= priority <= 30:
        raise invalid('"priority" must be an integer from 10 to 30')
    batch = sandbox.batches.set_priority(batch, priority)
    sandbox.engine.release(sandbox.account_no(request.account.id), batch, sandbox.clock.now())
    return Reply({**sandbox.batches.serve(batch), "result": decisions.PRIORITIZE_ANSWER.value})


def set_metadata(request: Request) -> Reply:
    """``POST /batches/{batch}/setMetadata``: the body is the metadata, and replaces all of it."""
    batch = named(request)
    metadata = params.metadata(request.json({}))
    return Reply(request.sandbox.batches.serve(request.sandbox.batches.set_metadata(batch, metadata)))


def listed(request: Request) -> Reply:
    """``GET /batches``: newest first, in pages by ``offset``, with the members of mongoose-paginate."""
    limit = request.integer("limit", MAX_LIMIT, 1, MAX_LIMIT)
    offset = request.integer("offset", 0, 0, MAX_OFFSET)
    where, args = _conditions(request)
    store = request.sandbox.store
    total = int(
        store.value(f"SELECT count(*) FROM batches b WHERE {where}", args)  # noqa: S608 - our own words only
    )
    rows = store.query(f"{SELECT} WHERE {where} ORDER BY b.no DESC LIMIT ? OFFSET ?", (*args, limit, offset))
    page, pages = offset // limit + 1, max(1, -(-total // limit))
    has_more = offset + len(rows) < total
    return Reply(
        {
            "docs": [_listed_batch(request, batch_of(row)) for row in rows],
            "totalDocs": total,
            "total": total,
            "limit": limit,
            "offset": offset,
            "has_more": has_more,
            "totalPages": pages,
            "page": page,
            "pagingCounter": offset + 1,
            "hasPrevPage": offset > 0,
            "hasNextPage": has_more,
            "prevPage": page - 1 if page > 1 else None,
            "nextPage": page + 1 if has_more else None,
        }
    )


def _listed_batch(request: Request, batch: Batch) -> dict[str, Any]:
    shown = request.sandbox.batches.serve(batch)
    if request.flag("detailed"):
        counts = request.sandbox.batches.counts(batch)
        for name in decisions.BATCH_DETAILS.value:
            shown[name] = shown[f"tasks_{name}"] = counts.get(name, 0)
    return shown


def _conditions(request: Request) -> tuple[str, list[Any]]:
    conditions: list[str] = ["b.account_id = ?"]
    args: list[Any] = [request.account.id]
    if request.one("project"):
        project = request.sandbox.projects.find(request.account, request.one("project") or "")
        conditions.append("b.project_no = ?")
        args.append(project.no if project is not None else -1)
    statuses = request.many("status")
    if any(each not in STATUSES for each in statuses):
        raise invalid(f'"status" must be one of [{", ".join(STATUSES)}]')
    if statuses:
        conditions.append(f"b.status IN ({', '.join('?' * len(statuses))})")
        args += statuses
    if request.flag("exclude_archived"):
        conditions.append("b.archived = 0")
    for column, start, end in (
        ("created_at", "start_time", "end_time"),
        ("completed_at", "completed_after", "completed_before"),
        ("last_audited_at", "audited_after", "audited_before"),
    ):
        low, high = time_range(request, start, end)
        if low is not None:
            conditions.append(f"round(b.{column} * 1000) >= ?")
            args.append(low)
        if high is not None:
            conditions.append(f"round(b.{column} * 1000) <= ?")
            args.append(high)
    return " AND ".join(conditions), args


def named(request: Request) -> Batch:
    """The batch of the path, or 404."""
    return request.sandbox.batches.get(request.account, request.params["batch"])


ROUTES = [
    Route("POST", "/batches", create, "create_batch", "Create a batch"),
    Route("GET", "/batches", listed, "list_batches", "List batches"),
    Route("GET", "/batches/{batch}", get, "get_batch", "Get a batch"),
    Route("GET", "/batches/{batch}/status", status, "get_batch_status", "Get a batch's status and counts"),
    Route("POST", "/batches/{batch}/finalize", finalize, "finalize_batch", "Finalize a staging batch"),
    Route("POST", "/batches/{batch}/prioritize", prioritize, "prioritize_batch", "Set a batch's priority"),
    Route("POST", "/batches/{batch}/setMetadata", set_metadata, "set_batch_metadata", "Replace the metadata"),
]

"""The admin pages under ``/_sandbox/``: the clock, faults, seeding, reset, and what the sandbox has seen and done.

They ask for no key. So that no web page in a browser can reach them, a request must come to a loopback name (or to the
sandbox's public address) and from no foreign origin; files and the data set, which tasks link to, are open.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, get_args
from urllib.parse import urlsplit

from scale_mcp.sandbox import data, openapi, reports, seeding, uploads
from scale_mcp.sandbox.accounts import Account, account_for, account_id, fingerprint
from scale_mcp.sandbox.clock import ClockKind, from_iso
from scale_mcp.sandbox.faults import KINDS
from scale_mcp.sandbox.http import LOOPBACK, ApiError, Reply, Request, Route

MOST_SPEED = 1_000_000
MOST_SECONDS = 20 * 365 * 86_400  # further ahead, times stop being times


def guarded(handler: Callable[[Request], Awaitable[Reply]]) -> Callable[[Request], Awaitable[Reply]]:
    """A handler for callers on this machine only. 403 for a foreign Host (DNS rebinding) or Origin (a web page)."""

    async def checked(request: Request) -> Reply:
        public = urlsplit(request.sandbox.options.public_url or "").hostname
        for name in ("host", "origin"):
            value = request.headers.get(name)
            if value is None:
                continue
            try:
                host = urlsplit(value if name == "origin" else f"//{value}").hostname
            except ValueError:
                host = None
            if host not in LOOPBACK and (host is None or host != public):
                raise ApiError(
                    403, f"The admin pages are for this machine: the {name} {value} is neither loopback nor public_url."
                )
        return await handler(request)

    return checked


# ------------------------------------------------------------------------------------------------------------- clock


def _time(request: Request) -> dict[str, Any]:
    clock, agenda = request.sandbox.clock, request.sandbox.agenda
    due = agenda.next_due()
    return {
        "now": clock.iso(),
        "kind": clock.kind,
        "speed": clock.speed,
        "next_event": None if due is None else clock.iso(due),
        "events": request.sandbox.store.value("SELECT count(*) FROM agenda"),
    }


async def show_clock(request: Request) -> Reply:
    """``GET /_sandbox/clock``."""
    return Reply(_time(request))


async def set_clock(request: Request) -> Reply:
    """``POST /_sandbox/clock``: another ``kind`` or ``speed`` from now on, and forward ``to`` a moment; any of them."""
    body, clock = request.object(), request.sandbox.clock
    if not body.keys() & {"to", "kind", "speed"}:
        raise ApiError(400, 'The body has "to", "kind" or "speed".')
    seconds = _seconds_until(request, body["to"]) if "to" in body else None
    if body.keys() & {"kind", "speed"}:
        kind = body.get("kind", "fast" if "speed" in body else clock.kind)
        speed = body.get("speed", clock.speed if clock.kind == "fast" else request.sandbox.options.speed)
        if kind not in get_args(ClockKind):
            raise ApiError(400, f'"kind" is one of {", ".join(get_args(ClockKind))}.')
        if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 < speed <= MOST_SPEED:
            raise ApiError(400, f'"speed" is a number of sandbox seconds per second, above 0 and up to {MOST_SPEED}.')
        await request.sandbox.set_clock(kind, float(speed))
    return Reply(_time(request)) if seconds is None else await _advance(request, seconds)


def _seconds_until(request: Request, to: Any) -> float:
    try:
        seconds = from_iso(to) - request.sandbox.clock.now() if isinstance(to, str) else math.nan
    except ValueError:
        seconds = math.nan
    if math.isnan(seconds):
        raise ApiError(400, '"to" must be a time such as 2030-01-31T12:00:00Z.')
    return _checked(seconds)


async def advance_clock(request: Request) -> Reply:
    """``POST /_sandbox/clock/advance`` ``{"seconds": n}``: run, in order, all that falls due, callbacks included."""
    seconds = request.object().get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds):
        raise ApiError(400, '"seconds" must be a number.')
    return await _advance(request, _checked(seconds))


def _checked(seconds: float) -> float:
    if not 0 <= seconds <= MOST_SECONDS:
        raise ApiError(400, "The clock only goes forward, and at most 20 years at a time.")
    return seconds


async def _advance(request: Request, seconds: float) -> Reply:
    await request.sandbox.advance(seconds)
    return Reply(_time(request))


# ------------------------------------------------------------------------------------------------------------ faults


def _faults(request: Request) -> Reply:
    faults = request.sandbox.faults
    return Reply({"seed": faults.seed, "faults": [rule.describe() for rule in faults.rules], "kinds": KINDS})


async def show_faults(request: Request) -> Reply:
    """``GET /_sandbox/faults``: the rules in force, and how often each struck."""
    return _faults(request)


async def put_faults(request: Request) -> Reply:
    """``PUT /_sandbox/faults``: these rules and no others. A list, or ``{"seed": n, "faults": [...]}``."""
    body = request.json([])
    described = body.get("faults") if isinstance(body, dict) else body
    seed = body.get("seed") if isinstance(body, dict) else None
    if not isinstance(described, list) or not (seed is None or isinstance(seed, int)):
        raise ApiError(400, 'The body is a list of faults, or {"seed": an integer, "faults": a list}.')
    request.sandbox.faults.put(described, seed)
    return _faults(request)


async def add_fault(request: Request) -> Reply:
    """``POST /_sandbox/faults``: one more rule."""
    return Reply(request.sandbox.faults.add(request.json()).describe())


async def delete_faults(request: Request) -> Reply:
    """``DELETE /_sandbox/faults``: all rules, or the one of ``?id=``."""
    request.sandbox.faults.remove(request.one("id"))
    return _faults(request)


# ---------------------------------------------------------------------------------------------------- seed and reset


def _account(request: Request, key: Any) -> Account:
    """The account of a key in the body, else the caller's own; 400 without any."""
    if key is None and request.account.id:
        return request.account
    account = account_for(key) if isinstance(key, str) else None
    if account is None:
        raise ApiError(400, '"key" must be an API key such as live_me or test_me.')
    return account


async def seed(request: Request) -> Reply:
    """``POST /_sandbox/seed``: tasks, the data set and teammates for the account of a key (see seeding.py)."""
    body = request.object()
    account = _account(request, body.pop("key", None))
    return Reply(await seeding.seed(request.sandbox, account, body))


async def reset(request: Request) -> Reply:
    """``POST /_sandbox/reset``: forget everything, or with ``{"key": …}`` all that belongs to one account."""
    sandbox, body = request.sandbox, request.object()
    await sandbox.deliveries.settle()
    if "key" in body:
        account = _account(request, body["key"])
        seeding.forget(sandbox, account)
        return Reply({"reset": account.id})
    seeding.forget(sandbox)
    sandbox.faults.remove()
    sandbox.log.clear()
    return Reply({"reset": "everything"})


# ------------------------------------------------------------------------------------------------- what has happened


async def show_requests(request: Request) -> Reply:
    """``GET /_sandbox/requests``: the log, by ``method``, ``path`` (a part), ``operation``, ``status``, ``key``."""
    log = request.sandbox.log
    wanted: dict[str, Any] = {
        name: request.one(name) for name in ("method", "operation", "key", "fault") if request.one(name)
    }
    if "key" in wanted:
        wanted["key"] = fingerprint(wanted["key"])
    if request.one("status"):
        wanted["status"] = request.integer("status", 0, 0, 599) or None
    entries = log.entries(
        limit=request.integer("limit", 100, 1, 10_000),
        after=request.integer("after", 0, 0, 10**18),
        path=request.one("path") or "",
        **wanted,
    )
    return Reply({"total": log.total, "by_operation": dict(log.by_operation.most_common()), "requests": entries})


async def clear_requests(request: Request) -> Reply:
    """``DELETE /_sandbox/requests``."""
    request.sandbox.log.clear()
    return Reply({"total": 0, "by_operation": {}, "requests": []})


def _asked(request: Request) -> tuple[str | None, int]:
    """Whose (``?key=``; everybody's without) and how many (``?limit=``, 100)."""
    key = request.one("key")
    return (account_id(key) if key else None), request.integer("limit", 100, 1, 10_000)


async def show_callbacks(request: Request) -> Reply:
    """``GET /_sandbox/callbacks``: every attempt to deliver one, with what became of it."""
    return Reply({"attempts": reports.callbacks(request.sandbox, *_asked(request))})


async def show_outbox(request: Request) -> Reply:
    """``GET /_sandbox/outbox``: callbacks to e-mail addresses, which are kept instead of mailed."""
    return Reply({"mails": reports.outbox(request.sandbox, *_asked(request))})


async def show_workforce(request: Request) -> Reply:
    """``GET /_sandbox/workforce``: the workers, what each is at, and the noise in the newest answers."""
    answers = reports.answers(request.sandbox, *_asked(request))
    workers = reports.workers(request.sandbox)
    return Reply({"seed": request.sandbox.options.seed, "workers": workers, "answers": answers})


# ------------------------------------------------------------------------------------------------- files, open to all


def show_data(request: Request) -> Reply:
    """``GET /_sandbox/data``: the data set, with the URL of each file."""
    root = request.base_url.removesuffix("/v1")
    items = [
        {
            "name": item.name,
            "title": item.title,
            "kind": item.kind,
            "mime_type": item.mime,
            "width": item.width,
            "height": item.height,
            "tasks": item.tasks,
            "licence": item.licence,
            "urls": [f"{root}/_sandbox/data/{path.name}" for path in item.paths],
        }
        for item in data.catalog()
    ]
    return Reply({"data": items})


def data_file(request: Request) -> Reply:
    """``GET /_sandbox/data/{name}``."""
    item = data.read(request.params["name"])
    if item is None:
        raise ApiError(404, "There is no such file in the data set.")
    return Reply(item.content, content_type=item.mime, headers=SAFE)


def file_content(request: Request) -> Reply:
    """``GET /_sandbox/files/{id}/content``: an uploaded file, for who knows its id."""
    store = request.sandbox.store
    row = store.one("SELECT mime_type FROM files WHERE id = ?", (request.params["id"],))
    content = uploads.content_by_id(store, request.params["id"])
    if row is None or content is None:
        raise ApiError(404, "There is no such file, or it was imported without its content.")
    return Reply(content, content_type=row["mime_type"], headers=SAFE)


# What somebody uploaded must not run as a page of ours.
SAFE = {"x-content-type-options": "nosniff", "content-security-policy": "sandbox; default-src 'none'"}


def openapi_document(request: Request) -> Reply:
    """``GET /openapi.json``: the API described for code generators and people."""
    return Reply(openapi.document(request.sandbox.app.routes, request.base_url))


def index(request: Request) -> Reply:
    """``GET /_sandbox/``: this list."""
    pages = [{"method": each.method, "path": each.template, "what": each.summary} for each in ROUTES]
    return Reply({"sandbox": request.base_url, "now": request.sandbox.clock.iso(), "pages": pages})


ROUTES = [
    Route("GET", "/_sandbox/", index, "admin_index", "This list"),
    Route("GET", "/_sandbox/clock", guarded(show_clock), "show_clock", "What time it is, and when the next event is"),
    Route(
        "POST",
        "/_sandbox/clock",
        guarded(set_clock),
        "set_clock",
        'Go forward to a moment, or at another pace: `{"to": "2030-01-31"}`, `{"kind": "fast", "speed": 60}`',
    ),
    Route(
        "POST",
        "/_sandbox/clock/advance",
        guarded(advance_clock),
        "advance_clock",
        'Go forward and run all that falls due: `{"seconds": 3600}`',
    ),
    Route(
        "GET", "/_sandbox/faults", guarded(show_faults), "show_faults", "The faults in force, and how often each struck"
    ),
    Route(
        "PUT",
        "/_sandbox/faults",
        guarded(put_faults),
        "put_faults",
        'These faults and no others: `{"seed": 1, "faults": [{"kind": "rate_limit"}]}`',
    ),
    Route("POST", "/_sandbox/faults", guarded(add_fault), "add_fault", 'One more fault: `{"kind": "slow"}`'),
    Route(
        "DELETE",
        "/_sandbox/faults",
        guarded(delete_faults),
        "delete_faults",
        "No faults any more, or not that of `?id=`",
    ),
    Route(
        "POST",
        "/_sandbox/seed",
        guarded(seed),
        "seed",
        'Things to work with: `{"key": "live_me", "tasks": 100, "dataset": true, "team": ["ann@example.com"]}`',
    ),
    Route(
        "POST", "/_sandbox/reset", guarded(reset), "reset", 'Forget everything, or one account: `{"key": "live_me"}`'
    ),
    Route(
        "GET",
        "/_sandbox/requests",
        guarded(show_requests),
        "show_requests",
        "The newest requests, by `limit`, `after`, `method`, `path`, `operation`, `status`, `key`, `fault`",
    ),
    Route("DELETE", "/_sandbox/requests", guarded(clear_requests), "clear_requests", "Empty the log of requests"),
    Route("GET", "/_sandbox/callbacks", guarded(show_callbacks), "show_callbacks", "Attempts to deliver callbacks"),
    Route("GET", "/_sandbox/outbox", guarded(show_outbox), "show_outbox", "Callbacks to e-mail addresses"),
    Route("GET", "/_sandbox/workforce", guarded(show_workforce), "show_workforce", "The workers, and their mistakes"),
    Route("GET", "/_sandbox/data", show_data, "show_data", "The data set that the workforce knows the truth about"),
    Route("GET", "/_sandbox/data/{name}", data_file, "data_file", "A file of the data set"),
    Route("GET", "/_sandbox/files/{id}/content", file_content, "file_content", "The content of an uploaded file"),
    Route("GET", "/openapi.json", openapi_document, "openapi", "The OpenAPI document of the API"),
]

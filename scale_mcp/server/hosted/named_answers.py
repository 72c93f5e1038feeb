"""Every answer of a hosted server has an id, and every one that is an error has a line with it in the log.

The id is made here, whatever a request may bring, and is the same everywhere: the header ``X-Request-Id``, ``data`` of
protocol errors, ``call_id`` of failed tool calls, the log, and the audit trail.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import mcp.types as t
from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult
from pydantic import ValidationError
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scale_mcp.server.guard import Context
from scale_mcp.server.logs import get_logger
from scale_mcp.server.request_ids import identified, named, request_id
from scale_mcp.server.results import ERROR_META
from scale_mcp.server.sparing import Sparing
from scale_mcp.text import one_line

log = get_logger(__name__)

HEADER = b"x-request-id"
DOORS = ("/mcp", "/sse", "/messages/", "/callbacks/", "/console", "/metrics", "/healthz", "/.well-known/")
ELSEWHERE = "elsewhere"

MOST_REFUSALS = 100  # of strangers and of callers, that the log tells of within a few seconds


class NamedAnswers:
    """ASGI middleware, around all others. ``answers`` counts by door and status."""

    def __init__(self, app: ASGIApp, answers: Counter[tuple[str, int]] | None = None) -> None:
        self._app = app
        self._answers: Counter[tuple[str, int]] = Counter() if answers is None else answers
        self._say_refused = Sparing(log.info, "request_refused", most=MOST_REFUSALS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        door, started = door_of(scope["path"]), False
        with identified() as identity:
            header = (HEADER, identity.encode())

            async def send_named(message: Message) -> None:
                nonlocal started
                if message["type"] == "http.response.start":
                    started = True
                    status = message["status"]
                    message = {**message, "headers": [*message.get("headers", ()), header]}
                    self._answers[door, status] += 1
                    if status >= 500:
                        log.info("request_refused", status=status, door=door)
                    elif status >= 400:
                        self._say_refused(status=status, door=door)
                await send(message)

            try:
                await self._app(scope, receive, send_named)
            except Exception:
                log.exception("request_crashed", door=door)
                if not started:  # else the connection ends in the middle, and the client sees that
                    words = f"This is a fault of the server; the operator finds it in the log under {identity}."
                    body = {"error": words, "request_id": identity}
                    await JSONResponse(body, status_code=500)(scope, receive, send_named)


def door_of(path: str) -> str:
    """Which of the server's doors a path leads to. The path itself may hold whatever was sent."""
    for door in DOORS:
        if path == door.rstrip("/") or path.startswith(door if door.endswith("/") else f"{door}/"):
            return door
    return ELSEWHERE


async def name_errors(ctx: Context, call_next: CallNext) -> HandlerResult:
    """Server middleware, outermost. What fails tells the id of its request, and is in the log under it."""
    try:
        result = await call_next(ctx)
    except ValidationError:
        raise _told(ctx, t.ErrorData(code=t.INVALID_PARAMS, message="Invalid request parameters")) from None
    except MCPError as error:
        raise _told(ctx, error.error) from None
    failure = _failure_in(result) if ctx.method == "tools/call" else None
    if failure is not None and "call_id" not in failure:
        failure["call_id"] = request_id()
        log.info("request_failed", method=ctx.method, code=failure.get("code"))
    return result


def _told(ctx: Context, error: t.ErrorData) -> MCPError:
    log.info("request_failed", method=one_line(ctx.method, 60), code=error.code)
    return MCPError.from_error_data(named(error))


def _failure_in(result: HandlerResult) -> dict[str, Any] | None:
    """The facts of a failed call, in the form that goes over the wire; None of one that went well."""
    if not isinstance(result, dict) or not result.get("isError"):
        return None
    meta = result.setdefault("_meta", {})
    error: dict[str, Any] = meta.setdefault(ERROR_META, {})
    return error

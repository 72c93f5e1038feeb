"""Calls as they happen, from the audit trail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scale_mcp.hosting.audit.search import UNKNOWN, CallRecord, Query, Trail
from scale_mcp.hosting.persona_store import Personas
from scale_mcp.server.hosted.console.frame import HOME, Frame, Refused
from scale_mcp.server.hosted.console.sessions import SignedIn
from scale_mcp.server.hosted.console.states import State, of_outcome
from scale_mcp.tools.registry import hosted_cards

PAGE = 50
LONGEST_FILTER = 200  # characters
OUTCOMES = ("ok", UNKNOWN, "denied")  # to choose from, besides those of the last hour


@dataclass(frozen=True)
class Line:
    """A call in a list. ``milliseconds`` is None while it runs."""

    record: CallRecord
    state: State
    milliseconds: float | None


def lines_of(records: Sequence[CallRecord]) -> list[Line]:
    return [Line(record, of_outcome(record.outcome), _number(record.result.get("latency_ms"))) for record in records]


def routes(frame: Frame) -> list[Route]:
    trail = Trail(frame.house.database)

    async def calls(request: Request, signed_in: SignedIn) -> Response:
        given = {
            name: request.query_params.get(name, "").strip()[:LONGEST_FILTER] or None
            for name in ("persona", "tool", "outcome")
        }
        before = _position(request.query_params.get("before"))
        found = await trail.calls(Query(**given), before=before, limit=PAGE + 1)
        return await frame.shown(
            "calls.html",
            signed_in,
            lines=lines_of(found[:PAGE]),
            wanted=given,
            older={**given, "before": found[PAGE - 1].seq} if len(found) > PAGE else None,
            newest=before is None,
            personas=[persona.name for persona in await Personas(frame.house.database, frame.house.recorder).list()],
            tools=list(hosted_cards()),
            outcomes=list(dict.fromkeys((*OUTCOMES, *await frame.overview.outcomes(timedelta(hours=1))))),
        )

    async def call(request: Request, signed_in: SignedIn) -> Response:
        found = await trail.calls(Query(entry=request.path_params["entry"]), limit=1)
        if not found:
            raise Refused(HTTPStatus.NOT_FOUND, "There is no such call in the trail. It may have been pruned.")
        (line,) = lines_of(found)
        return await frame.shown("call.html", signed_in, line=line, **_facts(line.record))

    return [
        Route(f"{HOME}/calls", frame.page(calls), methods=["GET"]),
        Route(f"{HOME}/calls/{{entry}}", frame.page(call), methods=["GET"]),
    ]


def _facts(record: CallRecord) -> dict[str, Any]:
    """What a call's rows say, each in the form that its page counts on: a damaged row says less, or something odd."""
    intent, result = record.intent, record.result
    return {
        "token_id": _text(intent.get("token_id")),
        "client": _text(intent.get("client")),
        "peer": _text(intent.get("peer")),
        "risk": _text(intent.get("risk")),
        "reason": _text(intent.get("reason")),
        "request_id": _text(intent.get("request_id")),
        "arguments": intent.get("arguments", {}),
        "arguments_digest": _text(intent.get("arguments_digest")),
        "decisions": _objects(result.get("decisions")),
        "upstream": [
            {
                "method": _text(exchange.get("method")),
                "template": _text(exchange.get("template")),
                "statuses": _listed(exchange.get("statuses")),
                "request_ids": _listed(exchange.get("request_ids")),
            }
            for exchange in _objects(result.get("upstream"))
        ],
        "served": _words(result.get("served")),
        "retries": _number(result.get("retries")),
        "digest": _text(result.get("digest")),
        "body": result.get("body"),
        "why": _text(result.get("why")),
        "unreadable": _text(intent.get("unreadable")) or _text(result.get("unreadable")),
    }


def _words(served: Any) -> list[str]:
    """How the router came to the answer, step by step."""
    if not isinstance(served, dict):
        return []
    words = [f"{_text(served.get('connection'))} ({_text(served.get('kind'))})"]
    if moved := _listed(served.get("moved_from")):
        words.append(f"moved from {moved}, which Scale limits")
    if changes := _number(served.get("key_changes")):
        words.append(f"went on with another key {changes:.0f} times" if changes > 1 else "went on with another key")
    if served.get("coalesced"):
        words.append("shared the answer to the same question asked at the same time")
    if served.get("cached"):
        words.append("an answer of a moment ago, as Scale limits the connection")
    if (age := _number(served.get("stale_seconds"))) is not None:
        words.append(f"an old answer, {age:.0f} s of age, as Scale limits the connection")
    return words


def _position(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 19 else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _listed(value: Any) -> str:
    return ", ".join(str(item) for item in value) if isinstance(value, list) else ""

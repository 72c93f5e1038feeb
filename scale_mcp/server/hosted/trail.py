"""What the audit trail holds of a request: who made it, with which client, for what reason, and what came of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import mcp.types as t
from mcp import MCPError

from scale_mcp.api.trace import Trace, recording
from scale_mcp.hosting.audit.recorder import Entry, Intent, Recorder
from scale_mcp.hosting.audit.writer import AuditUnavailable
from scale_mcp.hosting.connection_records import Kind
from scale_mcp.hosting.tally import Tally
from scale_mcp.server.guard import Context
from scale_mcp.server.hosted.visit import Visit
from scale_mcp.text import one_line
from scale_mcp.tools.card import Risk

REASON_META = "scale-mcp/reason"
"""The key of a request's ``_meta`` under which a client may say what a call is for, or the prompt that led to it."""


@dataclass
class Step:
    """A request under way, and what is found out about it for its outcome."""

    entry: Entry
    outcome: str = "cancelled"  # unless something else is found
    connection: str | None = None
    kind: Kind | None = None  # of the connection that the call was admitted to
    answer: Any = None
    facts: dict[str, Any] = field(default_factory=dict)


_step: ContextVar[Step | None] = ContextVar("step", default=None)


def current_step() -> Step:
    """The step that is under way in this task."""
    step = _step.get()
    assert step is not None, "nothing is written down here"
    return step


@asynccontextmanager
async def written_down(
    recorder: Recorder,
    tally: Tally,
    visit: Visit,
    *,
    tool: str,
    risk: Risk,
    arguments: Mapping[str, Any],
    request_id: str,
    ctx: Context | None = None,
    meta: t.RequestParamsMeta | None = None,
) -> AsyncIterator[Step]:
    """Write the intent, let the work be done, and write what came of it, whatever that is. It counts in ``tally``.

    Raises ``AuditUnavailable`` before anything is done, for what is not only reading.
    """
    caller = visit.signed_in.caller
    intent = Intent(
        tool=tool,
        risk=risk,
        arguments=arguments,
        persona=caller.persona.name,
        persona_id=caller.persona.id,
        user=caller.user,
        token_id=caller.token_id,
        client=caller.client or client_name(ctx, meta),
        session=_session(ctx),
        reason=_reason(meta),
        peer=visit.peer,
        request_id=request_id,
    )
    began = time.perf_counter()
    tally.begun()
    try:
        step = Step(await recorder.begin(intent))
    except BaseException as problem:
        outcome = type(problem).__name__ if isinstance(problem, Exception) else "cancelled"
        outcome = problem.code if isinstance(problem, AuditUnavailable) else outcome
        tally.ended(caller.persona.name, tool, outcome, time.perf_counter() - began)
        raise
    before = _step.set(step)
    trace = Trace()
    try:
        with recording() as trace:
            yield step
    except MCPError as error:
        step.outcome = f"protocol_error {error.code}"
        raise
    except Exception as error:
        step.outcome = type(error).__name__ if step.outcome == "cancelled" else step.outcome
        raise
    finally:
        _step.reset(before)
        seconds = time.perf_counter() - began
        tally.ended(caller.persona.name, tool, step.outcome, seconds)
        await step.entry.finish(
            step.outcome,
            connection=step.connection,
            upstream=_upstream(trace),
            retries=trace.retries,
            latency_ms=seconds * 1000,
            body=step.answer,
            **step.facts,
        )


def client_name(ctx: Context | None, meta: t.RequestParamsMeta | None) -> str:
    """``claude-code/2.1``: as the client introduced itself, which proves nothing."""
    given: Any = (meta or {}).get(t.CLIENT_INFO_META_KEY)
    if isinstance(given, Mapping):
        return one_line(f"{given.get('name', '')}/{given.get('version', '')}", 120)
    known = ctx.session.client_params if ctx is not None else None
    return one_line(f"{known.client_info.name}/{known.client_info.version}", 120) if known is not None else ""


def _reason(meta: t.RequestParamsMeta | None) -> str:
    given = (meta or {}).get(REASON_META)
    return given if isinstance(given, str) else ""


def _session(ctx: Context | None) -> str | None:
    request = ctx.request if ctx is not None else None
    if request is None:
        return None
    found: str | None = request.headers.get("mcp-session-id") or request.query_params.get("session_id")
    return found


def _upstream(trace: Trace) -> list[dict[str, Any]]:
    return [
        {
            "method": exchange.method,
            "template": exchange.template,
            "statuses": exchange.statuses,
            "request_ids": exchange.request_ids,
        }
        for exchange in trace.exchanges
    ]

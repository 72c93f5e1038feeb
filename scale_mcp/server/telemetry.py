"""Spans and measurements of what the server does, by OpenTelemetry's conventions for MCP.

A span per message, and below it one per request to Scale. Of what a caller sends only names that we know are told:
methods, tools, prompts, versions. No argument, address, message or key is ever part of a span.

This takes the place of the SDK's own middleware, which puts whatever was sent as a name into its spans and the words
of errors beside it, and knows nothing of the short way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import mcp.types as t
import structlog
from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult
from mcp.types.methods import SPEC_CLIENT_METHODS, SPEC_CLIENT_NOTIFICATION_METHODS
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from opentelemetry.context import Context as TraceContext
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TracerProvider,
    format_trace_id,
    get_current_span,
    set_span_in_context,
    use_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from pydantic import ValidationError

from scale_mcp.api.trace import Exchange, Trace, recording
from scale_mcp.server.guard import Context
from scale_mcp.server.results import ERROR_META
from scale_mcp.tools.prompts import PROMPTS
from scale_mcp.tools.registry import hosted_cards
from scale_mcp.version import version

# Seconds, as the conventions advise.
BOUNDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
MOST_SPANS = 128  # of requests to Scale below one call; all are measured
UNKNOWN = "_OTHER"  # the conventions' word for what is not among the known
CALL = "tools/call"
RUN_TOOL = "run_tool"
DISCOVERY = frozenset({"find_tools", "describe_tool", RUN_TOOL})
METHODS = frozenset({*SPEC_CLIENT_METHODS, *SPEC_CLIENT_NOTIFICATION_METHODS})
VERSIONS = frozenset({*HANDSHAKE_PROTOCOL_VERSIONS, *MODERN_PROTOCOL_VERSIONS})

About = Callable[[], Mapping[str, str]]
_PARENTS = TraceContextTextMapPropagator()


class Outcome:
    """What became of a message. Nothing told: it went well."""

    __slots__ = ("code", "error", "status")

    def __init__(self) -> None:
        self.error: str | None = None  # its kind
        self.status: str | None = None  # of a protocol error
        self.code: str | None = None  # of a failed tool call

    def refused(self, code: int) -> None:
        self.error = self.status = str(code)

    def returned(self, result: HandlerResult) -> None:
        """Look at a result, as a model or in the form that goes over the wire."""
        if isinstance(result, t.CallToolResult):
            failed, meta = result.is_error, result.meta
        elif isinstance(result, dict):
            failed, meta = result.get("isError") is True, result.get("_meta")
        else:
            return
        if failed:
            self.error = "tool_error"
            told = (meta or {}).get(ERROR_META)
            self.code = told.get("code") if isinstance(told, dict) else None


class Telemetry:
    """Observes the messages of a server. ``about`` tells more of the request under way, for its span."""

    def __init__(self, tracers: TracerProvider, meters: MeterProvider, transport: str, about: About = dict) -> None:
        self._tracer = tracers.get_tracer("scale_mcp", version())
        meter = meters.get_meter("scale_mcp", version())
        self._operations = meter.create_histogram(
            "mcp.server.operation.duration",
            "s",
            "Time from receiving a message until its answer is there.",
            explicit_bucket_boundaries_advisory=BOUNDS,
        )
        self._sessions = meter.create_histogram(
            "mcp.server.session.duration",
            "s",
            "How long a connection that is a session lasted.",
            explicit_bucket_boundaries_advisory=BOUNDS,
        )
        self._requests = meter.create_histogram(
            "http.client.request.duration",
            "s",
            "Time of a request to Scale, with its repetitions.",
            explicit_bucket_boundaries_advisory=BOUNDS,
        )
        self._transport = {"network.transport": "pipe" if transport == "stdio" else "tcp"}
        if transport != "stdio":
            self._transport["network.protocol.name"] = "http"
        self._about = about

    async def __call__(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Server middleware, outermost."""
        with self.operation(ctx.method, ctx.params, ctx.meta, ctx.protocol_version, ctx.request_id) as outcome:
            result = await call_next(ctx)
            if ctx.method == CALL:
                outcome.returned(result)
            return result

    @contextmanager
    def operation(
        self,
        method: str,
        params: Mapping[str, Any] | None,
        meta: Mapping[str, Any] | None,
        spoken: str,
        identity: t.RequestId | None,
    ) -> Iterator[Outcome]:
        """Around the work on one message. ``spoken`` is the version of the protocol."""
        name, attributes = _described(method, params, spoken)
        span = self._tracer.start_span(name, _parent(meta), SpanKind.SERVER, {**attributes, **self._transport})
        if type(identity) is int:  # a text could be anything
            span.set_attribute("jsonrpc.request.id", str(identity))
        outcome, began, trace = Outcome(), time.perf_counter(), Trace()
        wall = time.time_ns() - int(began * 1e9)  # to be added to readings of perf_counter
        try:
            with (
                use_span(span, record_exception=False, set_status_on_exception=False),
                structlog.contextvars.bound_contextvars(trace=format_trace_id(span.get_span_context().trace_id)),
                recording(kept=None) as trace,
            ):
                yield outcome
        except MCPError as error:
            outcome.refused(error.code)
            raise
        except ValidationError:
            outcome.refused(t.INVALID_PARAMS)
            raise
        except Exception as error:
            outcome.error = type(error).__qualname__
            raise
        except BaseException:
            outcome.error = "cancelled"
            raise
        finally:
            self._tell_requests(span, trace, wall)
            self._finish(span, attributes, outcome, time.perf_counter() - began)

    @contextmanager
    def session(self) -> Iterator[None]:
        """Around one connection that is a session."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._sessions.record(time.perf_counter() - began, self._transport)

    def _finish(self, span: Span, attributes: dict[str, str], outcome: Outcome, seconds: float) -> None:
        found: dict[str, str] = {}
        if outcome.error is not None:
            found["error.type"] = outcome.error
            span.set_status(StatusCode.ERROR)
        if outcome.status is not None:
            found["rpc.response.status_code"] = outcome.status
        span.set_attributes({**found, **self._about()})
        if outcome.code is not None:
            span.set_attribute("scale_mcp.error.code", outcome.code)
        self._operations.record(seconds, {**attributes, **self._transport, **found})
        span.end()

    def _tell_requests(self, span: Span, trace: Trace, wall: int) -> None:
        """Told afterwards, so that the way to Scale need not know of spans."""
        parent = set_span_in_context(span, TraceContext())
        for number, exchange in enumerate(trace.exchanges):
            attributes = _of_exchange(exchange)
            self._requests.record(exchange.seconds, attributes)
            if number < MOST_SPANS and span.is_recording():
                self._tell_request(parent, exchange, attributes, wall + int(exchange.began * 1e9))
        if trace.requests:
            span.set_attribute("scale_mcp.scale.requests", trace.requests)

    def _tell_request(
        self, parent: TraceContext, exchange: Exchange, attributes: dict[str, str | int], began: int
    ) -> None:
        name = f"{exchange.method} {exchange.template}"
        child = self._tracer.start_span(name, parent, SpanKind.CLIENT, attributes, start_time=began)
        if exchange.attempts > 1:
            child.set_attribute("http.request.resend_count", exchange.attempts - 1)
        if "error.type" in attributes:
            child.set_status(StatusCode.ERROR)
        child.end(began + int(exchange.seconds * 1e9))


def _described(method: str, params: Mapping[str, Any] | None, spoken: str) -> tuple[str, dict[str, str]]:
    """The name of a message's span, and what is told of it; of names only those that we know."""
    known = method if method in METHODS else UNKNOWN
    attributes = {"mcp.method.name": known}
    if spoken in VERSIONS:
        attributes["mcp.protocol.version"] = spoken
    name = (params or {}).get("name")
    if known == CALL:
        attributes["gen_ai.operation.name"] = "execute_tool"
        if isinstance(name, str) and (name in hosted_cards() or name in DISCOVERY):
            attributes["gen_ai.tool.name"] = name
            if name == RUN_TOOL and (run := _tool_to_run(params)) is not None:
                attributes["scale_mcp.tool"] = run
            return f"{CALL} {name}", attributes
    elif known == "prompts/get" and isinstance(name, str) and name in PROMPTS:
        attributes["gen_ai.prompt.name"] = name
        return f"{known} {name}", attributes
    return known, attributes


def _tool_to_run(params: Mapping[str, Any] | None) -> str | None:
    given = (params or {}).get("arguments")
    name = given.get("name") if isinstance(given, dict) else None
    return name if isinstance(name, str) and name in hosted_cards() else None


def _parent(meta: Mapping[str, Any] | None) -> TraceContext:
    """The span of the caller that a message belongs to, if it names one; nothing else that it carries is taken on."""
    if meta and isinstance(meta.get("traceparent"), str):
        found = get_current_span(_PARENTS.extract({"traceparent": meta["traceparent"]}, TraceContext()))
        given = found.get_span_context()
        if given.is_valid:
            parent = SpanContext(given.trace_id, given.span_id, is_remote=True, trace_flags=given.trace_flags)
            return set_span_in_context(NonRecordingSpan(parent), TraceContext())
    return TraceContext()


def _of_exchange(exchange: Exchange) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {"http.request.method": exchange.method, "url.template": exchange.template}
    if exchange.host:
        attributes["server.address"] = exchange.host
    last = exchange.statuses[-1] if exchange.statuses else None
    if last is None:
        attributes["error.type"] = "no_answer" if exchange.statuses else "not_sent"
    else:
        attributes["http.response.status_code"] = last
        if last >= 400:
            attributes["error.type"] = str(last)
    return attributes

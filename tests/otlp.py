"""A collector for tests: takes OTLP over HTTP on a real socket, and decodes what came."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

KINDS = {2: "server", 3: "client"}


@dataclass(frozen=True)
class Span:
    name: str
    kind: str
    attributes: dict[str, Any]
    failed: bool
    described: str
    events: int
    trace: str
    id: str
    parent: str
    state: str
    began: int
    ended: int


@dataclass
class Collector:
    """What was exported. Whole only once the exporting side has ended."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    measured: list[tuple[str, dict[str, Any], int]] = field(default_factory=list)  # name, attributes, count
    resources: list[dict[str, Any]] = field(default_factory=list)

    def take(self, path: str, body: bytes) -> None:
        self.bodies.append(body)
        if path == "/v1/traces":
            for traces in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resources.append(_attributes(traces.resource.attributes))
                self.spans += [_span(span) for scope in traces.scope_spans for span in scope.spans]
        elif path == "/v1/metrics":
            for metrics in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for metric in (metric for scope in metrics.scope_metrics for metric in scope.metrics):
                    for point in metric.histogram.data_points:
                        self.measured.append((metric.name, _attributes(point.attributes), point.count))

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def below(self, parent: Span) -> list[Span]:
        return [span for span in self.spans if span.parent == parent.id and span.trace == parent.trace]

    def count(self, name: str, **attributes: Any) -> int:
        """How often something was measured, over all attributes that are not given."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        return sum(
            count for metric, found, count in self.measured if metric == name and wanted.items() <= found.items()
        )


def _span(span: Any) -> Span:
    return Span(
        name=span.name,
        kind=KINDS.get(span.kind, str(span.kind)),
        attributes=_attributes(span.attributes),
        failed=span.status.code == 2,
        described=span.status.message,
        events=len(span.events),
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        state=span.trace_state,
        began=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector that listens until the end of the context."""
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.take(self.path, gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()

"""Where telemetry goes: to a collector over OTLP, as OpenTelemetry's own variables say."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scale_mcp.server.logs import get_logger
from scale_mcp.settings import SettingsError
from scale_mcp.version import version

if TYPE_CHECKING:
    from scale_mcp.server.telemetry import About, Telemetry
    from scale_mcp.settings import Settings

log = get_logger(__name__)

LAST_EXPORT = 1.5  # seconds for what is not sent yet when the server ends; hosts wait about two before they kill
PROTOCOL = "http/protobuf"
SIGNALS = ("TRACES", "METRICS")
MISSING = "--telemetry needs packages that are not installed. Install the extra: pip install 'scale-mcp[telemetry]'."


@contextmanager
def exporting(settings: Settings, about: About = dict) -> Iterator[Telemetry | None]:
    """What observes a server and sends what it sees until the end of the context; None where nothing shall be sent.

    Nothing global is touched, so that two servers in one process have nothing of each other. Raises ``SettingsError``
    for packages that are missing and variables that ask for what there is not.
    """
    if not settings.telemetry:
        yield None
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError:
        raise SettingsError(MISSING) from None
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        log.info("telemetry_disabled", by="OTEL_SDK_DISABLED")
        yield None
        return
    # It would write headers that it cannot read, and the secrets in them, into the log.
    logging.getLogger("opentelemetry.util.re").setLevel(logging.ERROR)
    wanted = {signal: _is_wanted(signal) for signal in SIGNALS}

    from scale_mcp.server.telemetry import Telemetry

    try:
        resource = Resource.create(_resource())
        tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        if wanted["TRACES"]:
            tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        readers = [PeriodicExportingMetricReader(OTLPMetricExporter())] if wanted["METRICS"] else []
        meters = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
    except (ValueError, OSError) as problem:
        raise SettingsError(f"Telemetry cannot be set up with the OTEL_… variables that are set: {problem}") from None

    def end() -> None:
        tracers.shutdown()
        meters.shutdown(timeout_millis=LAST_EXPORT * 1000)

    try:
        yield Telemetry(tracers, meters, settings.transport, about)
    finally:
        last = threading.Thread(target=end, name="telemetry's last export", daemon=True)
        last.start()
        last.join(LAST_EXPORT)


def _is_wanted(signal: str) -> bool:
    """Whether traces or metrics are to be sent. Raises ``SettingsError`` for ways of sending that there are not."""
    exporter = os.environ.get(f"OTEL_{signal}_EXPORTER", "otlp").strip().lower() or "otlp"
    if exporter not in ("otlp", "none"):
        raise SettingsError(f"OTEL_{signal}_EXPORTER={exporter!r} is not supported: choose otlp or none.")
    for name in (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if protocol := os.environ.get(name, "").strip().lower():
            if protocol != PROTOCOL:
                raise SettingsError(f"{name}={protocol!r} is not supported: telemetry is sent as {PROTOCOL}.")
            break
    for name in (f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        if not _is_address(os.environ.get(name, "").strip()):
            raise SettingsError(f"{name} is not a collector's address. Write it like http://127.0.0.1:4318")
    return exporter == "otlp"


def _is_address(value: str) -> bool:
    """Whether it is a URL to send to, or nothing. Logins have a variable of their own."""
    try:
        url = urlsplit(value)
        host, _ = url.hostname, url.port
    except ValueError:
        return False
    return not value or (url.scheme in ("http", "https") and bool(host) and url.username is None)


def _resource() -> dict[str, str]:
    named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return {"service.version": version(), **({} if named else {"service.name": "scale-mcp"})}

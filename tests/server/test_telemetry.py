"""Traces and metrics, as a collector receives them."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx2
import pytest

from scale_mcp.api import ApiOptions, ScaleApi
from scale_mcp.server.build import build_server
from scale_mcp.server.connection import Connection
from scale_mcp.server.exporting import MISSING, exporting
from scale_mcp.server.shortcut import ShortcutServer
from scale_mcp.settings import SettingsError
from tests.both_ways import INITIALIZED, MODERN, at_door, initialize, recorded, request, without
from tests.doors import EVERY_DOOR, REAL, ROOT, Door, at, environment, listening, over_stdio
from tests.otlp import Collector, Span, collector
from tests.small_cards import CANARY, settings

pytestmark = pytest.mark.anyio

LISTED = request(2, "tools/call", name="list_projects", arguments={})
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
BOTH = pytest.mark.parametrize("way", ["short", "long"])
PLACES = pytest.mark.parametrize(
    ("door", "version"), [(door, version) for door in ("stdio", "mcp") for version in ("2025-11-25", MODERN)]
)
Watch = Callable[..., AbstractContextManager[Collector]]
TASK = {"task_id": "0" * 24, "type": "imageannotation", "status": "pending", "created_at": "2026-01-01T00:00:00Z"}


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Observe a server and export to a collector, which has got everything at the end of the context."""

    @contextmanager
    def watch(server: ShortcutServer, **overrides: Any) -> Iterator[Collector]:
        with collector() as collected:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collected.url)
            with exporting(settings(telemetry=True, **overrides)) as telemetry:
                assert telemetry is not None
                server.observe(telemetry)
                yield collected

    return watch


def server_over(answer: Callable[[httpx2.Request], httpx2.Response], **options: Any) -> ShortcutServer:
    """A server with all tools over a Scale that answers so."""

    async def no_pause(seconds: float) -> None: ...

    options = {"attempts": 3, "sleep": no_pause, **options}
    api = ScaleApi(CANARY, transport=httpx2.MockTransport(answer), options=ApiOptions(**options))
    return build_server(Connection(api, "live"), settings())


def fine(sent: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(200, json=TASK)


def told(span: Span) -> dict[str, Any]:
    """What a span says that does not differ from one call to the next."""
    return {
        "name": span.name,
        "kind": span.kind,
        "failed": span.failed,
        "described": span.described,
        "events": span.events,
        **{key: value for key, value in span.attributes.items() if key != "jsonrpc.request.id"},
    }


@PLACES
async def test_both_ways_make_the_same_spans(watched: Watch, door: str, version: str) -> None:
    answers = {"0": 200, "1": 404, "2": 500}

    def answer(sent: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(answers[sent.url.path[-1]], json=TASK)

    seen = []
    for way in ("short", "long"):
        server = server_over(answer)
        with watched(server) as collected:
            taken = recorded(server) if way == "short" else []
            if way == "long":
                without(server)
            async with at_door(server, door, version) as client:
                for last in answers:
                    await client.ask("get_task", {"task_id": "0" * 23 + last})
                await client.ask("get_task", {"task": 7})
        assert len(taken) == (4 if way == "short" else 0)
        calls = collected.named("tools/call get_task")
        assert len(calls) == 4
        seen.append([(told(call), [told(child) for child in collected.below(call)]) for call in calls])

    short, long = seen
    assert short == long
    assert [call["failed"] for call, _ in short] == [False, True, True, True]
    assert [call.get("scale_mcp.error.code") for call, _ in short[1:]] == [
        "not_found",
        "server_error",
        "invalid_arguments",
    ]
    assert [len(children) for _, children in short] == [1, 1, 1, 0]


@BOTH
async def test_a_call_and_its_requests_are_described_by_the_conventions(watched: Watch, way: str) -> None:
    tries = iter([503, 429, 200])
    server = server_over(lambda sent: httpx2.Response(next(tries), json=TASK))
    with watched(server, transport="http") as collected:
        if way == "long":
            without(server)
        async with at_door(server, "mcp", MODERN) as client:
            await client.ask("get_task", {"task_id": "0" * 24}, identity=7)

    (call,) = collected.named("tools/call get_task")
    assert (call.kind, call.failed, call.parent) == ("server", False, "")
    assert call.attributes == {
        "mcp.method.name": "tools/call",
        "mcp.protocol.version": MODERN,
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "get_task",
        "jsonrpc.request.id": "7",
        "network.transport": "tcp",
        "network.protocol.name": "http",
        "scale_mcp.scale.requests": 3,
    }
    (child,) = collected.below(call)
    assert (child.name, child.kind, child.failed) == ("GET /task/{task_id}", "client", False)
    assert child.attributes == {
        "http.request.method": "GET",
        "url.template": "/task/{task_id}",
        "server.address": "api.scale.com",
        "http.response.status_code": 200,
        "http.request.resend_count": 2,
    }
    assert call.began <= child.began <= child.ended <= call.ended
    assert collected.count("mcp.server.operation.duration", gen_ai__tool__name="get_task") == 1
    assert collected.count("http.client.request.duration", url__template="/task/{task_id}") == 1
    assert collected.resources[0]["service.name"] == "scale-mcp"
    assert collected.resources[0]["service.version"]


@BOTH
async def test_a_call_belongs_to_the_span_that_its_caller_names_and_takes_nothing_else_from_it(
    watched: Watch, way: str
) -> None:
    server = server_over(fine)
    given = {"traceparent": PARENT, "tracestate": f"vendor={CANARY}", "baggage": f"key={CANARY}"}
    with watched(server) as collected:
        if way == "long":
            without(server)
        async with at_door(server, "stdio", MODERN) as client:
            await client.ask("get_task", {"task_id": "0" * 24}, _meta=given)
            await client.ask("get_task", {"task_id": "0" * 24}, _meta={"traceparent": "nonsense"})
            await client.ask("get_task", {"task_id": "0" * 24}, _meta={"traceparent": 7})

    belongs, *alone = collected.named("tools/call get_task")
    assert (belongs.trace, belongs.parent) == (PARENT.split("-")[1], PARENT.split("-")[2])
    assert (belongs.state, [span.parent for span in alone]) == ("", ["", ""])
    assert len({belongs.trace, *(span.trace for span in alone)}) == 3
    assert [child.trace for child in collected.below(belongs)] == [belongs.trace]


async def test_every_message_has_a_span_and_only_known_names_are_told(watched: Watch) -> None:
    server = server_over(fine)
    with watched(server) as collected:
        async with at_door(server, "stdio", "2025-11-25") as client:
            await client.say(request(1, "tools/list"))
            await client.hear()
            await client.say(request(2, "prompts/get", name=CANARY))
            assert (await client.hear())["error"]
            await client.say(request(3, "resources/read", uri=f"scale://task/{CANARY}"))
            await client.hear()
            await client.say(request(CANARY, CANARY))
            assert (await client.hear())["error"]
            await client.say({"jsonrpc": "2.0", "method": f"notifications/{CANARY}"})
            assert "error" in await client.ask(CANARY, {"name": CANARY})

    names = [span.name for span in collected.spans if span.kind == "server"]
    assert names.count("_OTHER") == 2
    assert {"initialize", "notifications/initialized", "tools/list", "prompts/get", "resources/read"} < set(names)
    (unknown,) = collected.named("tools/call")
    assert (unknown.failed, unknown.attributes["rpc.response.status_code"]) == (True, "-32602")
    assert "gen_ai.tool.name" not in unknown.attributes
    assert collected.count("mcp.server.session.duration", network__transport="pipe") == 1
    assert not [body for body in collected.bodies if CANARY.encode() in body]


@BOTH
async def test_neither_key_nor_what_callers_and_scale_wrote_is_in_any_span(watched: Watch, way: str) -> None:
    def answer(sent: httpx2.Request) -> httpx2.Response:
        kind = sent.url.path.rsplit("/", 1)[-1]
        if kind == "tasks":
            raise httpx2.ConnectError(f"no way to {sent.url} with {sent.headers['authorization']}")
        if kind == "batches":
            raise RuntimeError(f"a fault that shows {CANARY}")
        echo = {"message": f"{CANARY} secret-words", "headers": dict(sent.headers)}
        return httpx2.Response(401, json=echo, headers={"x-request-id": "secret-words"})

    server = server_over(answer)
    calls: list[tuple[str, Any]] = [
        ("get_task", {"task_id": "0" * 24}),
        ("list_tasks", {"project": f"secret-words {CANARY}"}),
        ("list_batches", {"project": "secret-words"}),
        ("create_project", {"name": "secret-words", "type": "imageannotation"}),
        ("get_project", {"name": f"secret-words?{CANARY}", CANARY: CANARY}),
    ]
    with watched(server) as collected:
        if way == "long":
            without(server)
        async with at_door(server, "mcp", MODERN) as client:
            for tool, arguments in calls:
                await client.ask(tool, arguments, identity="secret-words")

    assert [span.failed for span in collected.spans if span.kind == "server"] == [True] * len(calls)
    assert len([span for span in collected.spans if span.kind == "client"]) >= 4
    everything = b"".join(collected.bodies)
    for secret in (CANARY, CANARY[5:], "secret-words", "0" * 24, "Basic "):
        assert secret.encode() not in everything


async def test_discovery_tells_which_tool_was_run(watched: Watch) -> None:
    api = ScaleApi(CANARY, transport=httpx2.MockTransport(fine), options=ApiOptions(attempts=1))
    server = build_server(Connection(api, "live"), settings(discovery=True))
    with watched(server) as collected:
        async with at_door(server, "stdio", MODERN) as client:
            for name in ("get_task", CANARY):
                await client.ask("run_tool", {"name": name, "arguments": {"task_id": "0" * 24}})

    known, unknown = collected.named("tools/call run_tool")
    assert known.attributes["scale_mcp.tool"] == "get_task"
    assert "scale_mcp.tool" not in unknown.attributes
    assert unknown.attributes["scale_mcp.error.code"] == "unknown_tool"


async def test_a_long_listing_is_measured_whole_and_shown_in_part(watched: Watch) -> None:
    from scale_mcp.api.trace import begin, note
    from scale_mcp.server.telemetry import MOST_SPANS

    server = server_over(fine)
    with watched(server) as collected, exporting(settings(telemetry=True)) as telemetry:
        assert telemetry is not None
        with telemetry.operation("tools/call", {"name": "list_tasks"}, None, MODERN, 1):
            for _ in range(MOST_SPANS + 5):
                note(begin("GET", "/tasks"), 200, None)

    (call,) = collected.named("tools/call list_tasks")
    assert len(collected.below(call)) == MOST_SPANS
    assert collected.count("http.client.request.duration", url__template="/tasks") == MOST_SPANS + 5


@EVERY_DOOR
async def test_a_server_process_exports_what_it_did(door: Door, era: str) -> None:
    with collector() as collected:
        variables = {
            "SCALE_MCP_TELEMETRY": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collected.url,
            "OTEL_SERVICE_NAME": "another name",
            "SCALE_API_KEY": CANARY,
        }
        if door == "stdio":
            async with over_stdio((*REAL, "--sandbox"), era, variables) as client:
                assert not (await client.call_tool("list_projects", {})).is_error
        else:
            with listening((*REAL, "--sandbox", "--transport", "http", "--port", "0"), variables) as running:
                async with at(running.base, door, era) as client:
                    assert not (await client.call_tool("list_projects", {})).is_error
    (call,) = collected.named("tools/call list_projects")
    assert [child.name for child in collected.below(call)] == ["GET /projects"]
    assert collected.resources[0]["service.name"] == "another name"
    assert not [body for body in collected.bodies if CANARY.encode() in body]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OTEL_TRACES_EXPORTER", "console", "choose otlp or none"),
        ("OTEL_METRICS_EXPORTER", "prometheus", "choose otlp or none"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "sent as http/protobuf"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json", "sent as http/protobuf"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318", "Write it like http"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://me:canary@127.0.0.1:4318", "Write it like http"),
    ],
)
def test_a_way_of_sending_that_there_is_not_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=said) as refused, exporting(settings(telemetry=True)):
        pass
    assert "canary" not in str(refused.value)


def test_a_collector_that_is_away_costs_no_call_and_shows_no_header() -> None:
    with closed_port() as port:
        variables = {
            "SCALE_MCP_TELEMETRY": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=canary words,=canary",
        }
        told = subprocess.run(
            [sys.executable, *REAL, "--sandbox"],
            cwd=ROOT,
            env=environment(variables),
            input="".join(f"{json.dumps(message)}\n" for message in (initialize("2025-11-25", 1), INITIALIZED, LISTED)),
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert told.returncode == 0, told.stderr
    answers = [json.loads(line) for line in told.stdout.splitlines()]
    assert [answer["id"] for answer in answers] == [1, 2]
    assert answers[1]["result"]["isError"] is False
    assert "canary" not in told.stderr


@contextmanager
def closed_port() -> Iterator[int]:
    """A port of this machine that is taken, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def test_traces_or_metrics_alone_can_be_sent(monkeypatch: pytest.MonkeyPatch, watched: Watch) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    server = server_over(fine)
    with watched(server) as collected:
        async with at_door(server, "stdio", MODERN) as client:
            await client.ask("get_task", {"task_id": "0" * 24})
    assert collected.named("tools/call get_task")
    assert not collected.measured


def test_nothing_is_observed_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with exporting(settings()) as telemetry:
        assert telemetry is None
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with exporting(settings(telemetry=True)) as telemetry:
        assert telemetry is None


@pytest.mark.parametrize(
    "flags", [("--sandbox",), ("--transport", "http", "--sandbox", "--port", "0"), ("--transport", "http", "--hosted")]
)
def test_without_the_extra_the_start_names_it(flags: tuple[str, ...]) -> None:
    hidden = (
        "import sys; sys.modules['opentelemetry.sdk'] = None; sys.modules['opentelemetry.exporter'] = None;"
        "from scale_mcp.cli import main; sys.argv[0] = 'scale-mcp'; main()"
    )
    found = subprocess.run(
        [sys.executable, "-c", hidden, "serve", "--telemetry", *flags],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert found.returncode == 2
    assert MISSING in found.stderr
    assert not found.stdout


def test_without_telemetry_its_packages_are_not_even_loaded() -> None:
    look = (
        "import sys, anyio, scale_mcp.server.run, scale_mcp.server.build, scale_mcp.server.transports.http;"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))"
        " or name == 'scale_mcp.server.telemetry'])"
    )
    found = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=30
    )
    assert found.stdout.strip() == "[]", found.stderr

"""What Prometheus reads of a hosted server, and who may read it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx2
import pytest
from mcp import MCPError
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.exc import OperationalError
from starlette.applications import Starlette

from scale_mcp.hosting.budgets import BudgetSpent
from scale_mcp.hosting.personas import Budget
from scale_mcp.server.hosted.metrics import Metrics
from scale_mcp.settings import SettingsError, load_settings
from tests.hosting.hosted import Hosted, hosted, settings_for

pytestmark = pytest.mark.anyio

TOKEN = "a-token-for-prometheus"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[Hosted]:
    async with hosted(database_url) as running:
        yield running


async def read(server: Hosted, **options: Any) -> httpx2.Response:
    async with httpx2.AsyncClient(trust_env=False) as http:
        return await http.get(f"{server.url}/metrics", **options)


def samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Figures:
    """What stands in for the figures of a house."""

    async def gathered(self) -> Iterable[Any]:
        return []


def opened_by(peer: str, **settings: Any) -> httpx2.AsyncClient:
    """A client of ``/metrics`` alone, at an address of the test's choice."""
    app = Starlette(routes=Metrics(Figures(), settings_for("sqlite://", **settings)).routes())  # type: ignore[arg-type]
    transport = httpx2.ASGITransport(app, client=(peer, 1234))
    return httpx2.AsyncClient(transport=transport, base_url="http://server.test")


async def test_calls_keys_and_the_trail_are_counted(server: Hosted) -> None:
    await server.connection("main")
    token = await server.persona("ada", "main")
    async with server.client(token) as client:
        await client.call_tool("create_project", {"name": "streets", "type": "imageannotation"})
        for _ in range(3):
            await client.call_tool("list_projects", {})
        assert (await client.call_tool("get_task", {"task_id": "0" * 24})).is_error
        with pytest.raises(MCPError):
            await client.call_tool("x" * 200, {})

    found = samples((await read(server)).text)

    def of(name: str, **labels: str) -> float | None:
        return found.get((name, frozenset(labels.items())))

    assert of("scale_mcp_calls_total", tool="list_projects", outcome="ok") == 3
    assert of("scale_mcp_calls_total", tool="(no such tool)", outcome="denied") == 1
    assert of("scale_mcp_persona_calls_total", persona="ada", outcome="ok") == 4
    assert of("scale_mcp_call_seconds_count", tool="list_projects") == 3
    assert of("scale_mcp_call_seconds_bucket", tool="list_projects", le="+Inf") == 3
    assert of("scale_mcp_calls_in_flight") == 0
    answers = of("scale_mcp_scale_answers_total", connection="main", status="2xx")
    assert answers is not None
    assert answers >= 4
    assert of("scale_mcp_scale_retries_total", connection="main") == 0
    assert of("scale_mcp_keys", connection="main", state="ready") == 1
    (record,) = await server.house.connections.list()
    (key,) = record.keys
    assert of("scale_mcp_key_answers_total", connection="main", key=key.fingerprint, outcome="ok") == answers + 1
    rows = of("scale_mcp_audit_rows_total")
    assert rows is not None
    assert rows >= 12
    assert of("scale_mcp_audit_failing") == 0
    assert of("scale_mcp_http_answers_total", door="/mcp", status="200")
    assert of("scale_mcp_store_up") == 1
    for waiting in ("approvals_waiting", "inbox_waiting", "webhook_deliveries_waiting"):
        assert of(f"scale_mcp_{waiting}") == 0
    assert of("process_start_time_seconds")


async def test_limits_and_budgets_are_counted_where_they_hold(server: Hosted) -> None:
    key = await server.connection("main")
    token = await server.persona("ada", "main", budget=Budget(calls_per_day=2))
    assert key
    async with server.client(token) as client:
        for _ in range(2):
            await client.call_tool("list_projects", {})
        spent = await client.call_tool("list_projects", {})
    assert spent.is_error

    found = samples((await read(server)).text)

    labels = frozenset({("persona", "ada"), ("limit", "calls_per_day")})
    assert found["scale_mcp_budget_refusals_total", labels] == 1
    labels = frozenset({("tool", "list_projects"), ("outcome", BudgetSpent.code)})
    assert found["scale_mcp_calls_total", labels] == 1


async def test_a_limited_key_is_seen_by_its_fingerprint(server: Hosted) -> None:
    key = await server.connection("main")
    await server.house.connections.add_key("main", f"{key}2", actor="test")
    server.sandbox.faults.put([{"kind": "rate_limit", "retry_after": 600, "key": key, "route": "list_projects"}])
    token = await server.persona("ada", "main")
    async with server.client(token) as client:
        for _ in range(2):
            assert not (await client.call_tool("list_projects", {})).is_error

    found = samples((await read(server)).text)

    (record,) = await server.house.connections.list()
    prints = [each.fingerprint for each in record.keys]
    limited = {
        label: found[
            "scale_mcp_key_answers_total", frozenset({("connection", "main"), ("key", label), ("outcome", "limited")})
        ]
        for label in prints
    }
    assert sorted(limited.values()) == [0, 1]
    assert found["scale_mcp_keys", frozenset({("connection", "main"), ("state", "cooling")})] == 1
    assert found["scale_mcp_keys", frozenset({("connection", "main"), ("state", "ready")})] == 1
    assert found["scale_mcp_scale_answers_total", frozenset({("connection", "main"), ("status", "429")})] == 1
    assert found["scale_mcp_scale_retries_total", frozenset({("connection", "main")})] == 1


async def test_what_waits_and_what_is_open_is_shown(server: Hosted) -> None:
    await server.connection("main")
    token = await server.persona("ada", "main")
    await server.house.approvals.request(
        persona_id="per_x",
        persona="ada",
        tool="cancel_task",
        digest="sha256:x",
        arguments={},
        why="It is irreversible.",
    )
    async with server.client(token, "legacy") as client:
        await client.call_tool("list_projects", {})
        found = samples((await read(server)).text)
    async with httpx2.AsyncClient(trust_env=False) as http:
        await http.post(f"{server.url}/callbacks/con_nobody", json={"task_id": "x"})
    later = samples((await read(server)).text)

    assert found["scale_mcp_approvals_waiting", frozenset()] == 1
    assert found["scale_mcp_sessions_open", frozenset()] == 1
    assert later["scale_mcp_sessions_open", frozenset()] == 0
    assert later["scale_mcp_callbacks_total", frozenset({("outcome", "refused")})] == 1


async def test_no_secret_and_nothing_that_a_caller_made_up_is_in_the_metrics(server: Hosted) -> None:
    key = await server.connection("main")
    token = await server.persona("ada", "main")
    async with server.client(token) as client:
        await client.call_tool("create_project", {"name": "canary-name", "type": "imageannotation"})
        await client.call_tool("get_task", {"task_id": "canary-task"})
        with pytest.raises(MCPError):
            await client.call_tool("canary-tool", {})
        with pytest.raises(MCPError):
            await client.read_resource("scale://task/canary-address")
    async with httpx2.AsyncClient(trust_env=False) as http:
        await http.get(f"{server.url}/canary-path")

    text = (await read(server)).text

    for secret in (key, token, key[5:], "canary"):
        assert secret not in text


async def test_with_a_token_only_the_token_opens_the_metrics(tmp_path: Any) -> None:
    async with hosted(f"sqlite:///{tmp_path / 'hosted.db'}", metrics_token=TOKEN) as server:
        await server.connection("main")
        persona = await server.persona("ada", "main")

        opened = await read(server, headers={"Authorization": f"Bearer {TOKEN}"})
        refused = [
            await read(server),
            await read(server, headers={"Authorization": f"Bearer {persona}"}),
            await read(server, headers={"Authorization": f"Bearer {TOKEN}x"}),
            await read(server, headers={"Authorization": f"Basic {TOKEN}"}),
            await read(server, params={"token": TOKEN}),
            await read(server, headers=[("Authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {TOKEN}")]),
        ]

    assert opened.status_code == 200
    assert "scale_mcp_info" in opened.text
    assert [answer.status_code for answer in refused] == [401] * len(refused)
    assert all("scale_mcp_info" not in answer.text for answer in refused)


@pytest.mark.parametrize(
    ("peer", "hops", "headers", "status"),
    [
        ("127.0.0.1", 0, {}, 200),
        ("::1", 0, {}, 200),
        ("203.0.113.5", 0, {}, 403),
        ("203.0.113.5", 0, {"X-Forwarded-For": "127.0.0.1"}, 403),
        ("203.0.113.5", 1, {"X-Forwarded-For": "127.0.0.1"}, 403),
        ("127.0.0.1", 0, {"X-Forwarded-For": "127.0.0.1"}, 403),
        ("127.0.0.1", 0, {"Forwarded": "for=203.0.113.5"}, 403),
        ("127.0.0.1", 1, {"X-Forwarded-For": "203.0.113.5"}, 403),
        ("127.0.0.1", 1, {"X-Forwarded-For": "127.0.0.1, 203.0.113.5"}, 403),
        ("127.0.0.1", 1, {"X-Forwarded-For": "127.0.0.1"}, 200),
        ("127.0.0.1", 0, {"Authorization": f"Bearer smcp_{'x' * 43}"}, 403),
    ],
)
async def test_without_a_token_the_metrics_are_for_this_machine_only(
    peer: str, hops: int, headers: dict[str, str], status: int
) -> None:
    async with opened_by(peer, trusted_hops=hops) as client:
        assert (await client.get("/metrics", headers=headers)).status_code == status


async def test_both_forms_of_the_format_are_spoken(server: Hosted) -> None:
    plain = await read(server)
    newer = await read(server, headers={"Accept": "application/openmetrics-text; version=1.0.0"})

    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert newer.headers["content-type"].startswith("application/openmetrics-text")
    assert newer.text.endswith("# EOF\n")


async def test_a_store_that_does_not_answer_leaves_the_other_numbers(
    server: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down() -> Any:
        raise OperationalError("SELECT 1", {}, OSError("the store is down"))

    monkeypatch.setattr(server.house.database, "reading", down)

    answer = await read(server)

    found = samples(answer.text)
    assert found["scale_mcp_store_up", frozenset()] == 0
    assert found["scale_mcp_calls_in_flight", frozenset()] == 0
    assert ("scale_mcp_approvals_waiting", frozenset()) not in found


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("short", "less than 16 characters"),
        ("with spaces in the middle", "no bearer token has"),
        (f"smcp_{'x' * 43}", "a persona's token"),
    ],
)
def test_a_metrics_token_that_is_none_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, token: str, said: str
) -> None:
    monkeypatch.setenv("SCALE_MCP_METRICS_TOKEN", token)
    with pytest.raises(SettingsError, match=said) as refused:
        load_settings({"hosted": True, "transport": "http"})
    assert token not in str(refused.value)


def test_a_metrics_token_without_a_hosted_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALE_MCP_METRICS_TOKEN", TOKEN)
    with pytest.raises(SettingsError, match="SCALE_MCP_METRICS_TOKEN is for a hosted server"):
        load_settings({"sandbox": True})

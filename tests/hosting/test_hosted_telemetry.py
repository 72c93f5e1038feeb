"""Traces of a hosted server: each call's span names its persona and the id under which the trail has the call."""

from __future__ import annotations

import contextlib
from typing import Any

import httpx2
import pytest
from mcp import MCPError

import tests.hosting.hosted as house_of_tests
from scale_mcp.cli.loopback import serving
from scale_mcp.hosting.audit.chain import INTENT
from scale_mcp.sandbox import Sandbox, SandboxOptions
from scale_mcp.server.exporting import exporting
from scale_mcp.server.hosted.run import of_this_request
from tests.hosting.hosted import DOORS, connected, hosted, rows_of, settings_for
from tests.hosting.processes import Operator, replicas
from tests.otlp import Collector, collector

pytestmark = pytest.mark.anyio


@contextlib.contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Every hosted server that is made inside is observed, as one that is started with --telemetry is."""
    with collector() as collected:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collected.url)
        with exporting(settings_for("sqlite://", telemetry=True), of_this_request) as telemetry:
            made = house_of_tests.hosted_server

            def observed(*arguments: Any) -> Any:
                server, watches = made(*arguments)
                assert telemetry is not None
                server.observe(telemetry)
                return server, watches

            monkeypatch.setattr(house_of_tests, "hosted_server", observed)
            yield collected


@pytest.mark.parametrize(("era", "door"), DOORS)
async def test_a_span_leads_to_its_persona_and_to_the_trail(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, era: str, door: str
) -> None:
    with watched(monkeypatch) as collected:
        async with hosted(f"sqlite:///{tmp_path / 'hosted.db'}") as server:
            await server.connection("main")
            tokens = {name: await server.persona(name, "main") for name in ("ada", "bob")}
            for token in tokens.values():
                async with server.client(token, era, door) as client:
                    await client.call_tool("list_projects", {})
                    assert (await client.call_tool("get_task", {"task_id": "0" * 24})).is_error
            written = {row["request_id"]: (row["persona"], row["tool"]) for row in await rows_of(server.house, INTENT)}

    calls = [span for span in collected.spans if "gen_ai.tool.name" in span.attributes]
    found = {
        span.attributes["scale_mcp.request_id"]: (
            span.attributes["scale_mcp.persona"],
            span.attributes["gen_ai.tool.name"],
        )
        for span in calls
    }
    assert found == written
    assert len(found) == 4
    assert len({span.trace for span in calls}) == 4
    for span in calls:
        assert [child.attributes["server.address"] for child in collected.below(span)] == ["127.0.0.1"]


async def test_neither_keys_nor_tokens_nor_names_are_in_what_is_exported(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watched(monkeypatch) as collected:
        async with hosted(f"sqlite:///{tmp_path / 'hosted.db'}") as server:
            key = await server.connection("main")
            token = await server.persona("ada", "main")
            async with server.client(token) as client:
                await client.call_tool("create_project", {"name": "canary-name", "type": "imageannotation"})
                await client.call_tool("get_project", {"name": f"canary-{key}"})
                with pytest.raises(MCPError):
                    await client.call_tool(f"canary-{token}", {})
                with pytest.raises(MCPError):
                    await client.read_resource("scale://project/canary-name-2")
            async with httpx2.AsyncClient(trust_env=False) as http:
                await http.post(f"{server.url}/mcp", json={"canary": key}, headers={"Authorization": "Bearer canary"})

    assert_not_in(collected, key, token, "canary", key[5:], token[5:])


async def test_a_hosted_server_that_is_started_with_it_exports(tmp_path: Any) -> None:
    key = "live_hosted_telemetry"
    with collector() as collected:
        async with Sandbox(SandboxOptions(clock="manual")) as sandbox, serving(sandbox.app) as address:
            variables = {"SCALE_MCP_TELEMETRY": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": collected.url}
            operator = Operator(f"sqlite:///{tmp_path / 'hosted.db'}", f"{address}/v1", variables)
            async with replicas(operator, 1) as (server,):
                await operator.run("connection", "add", "main", "--kind", "sandbox", given=key)
                await operator.run("persona", "add", "ada", "--scope", "*:read", "--route", "main")
                token = (await operator.run("persona", "token", "ada", "--user", "ada@example.com")).strip()
                async with connected(server.url, token) as client:
                    assert not (await client.call_tool("list_projects", {})).is_error
                server.process.terminate()
                await server.process.wait()

    (call,) = collected.named("tools/call list_projects")
    assert call.attributes["scale_mcp.persona"] == "ada"
    assert collected.below(call)
    assert not [body for body in collected.bodies for secret in (key, token) if secret.encode() in body]


def assert_not_in(collected: Collector, *secrets: str) -> None:
    everything = b"".join(collected.bodies)
    assert b"get_project" in everything
    for secret in secrets:
        assert secret.encode() not in everything

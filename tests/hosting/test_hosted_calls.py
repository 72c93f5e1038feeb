"""Calls of personas on a whole hosted server: real clients, real sockets, both eras and doors, both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from scale_mcp.hosting.audit.chain import OUTCOME
from tests.hosting.hosted import DOORS, Hosted, hosted, rows_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[Hosted]:
    async with hosted(database_url) as running:
        await running.connection("main")
        yield running


@pytest.mark.parametrize(("era", "door"), DOORS)
async def test_a_persona_calls_tools_through_its_connection(server: Hosted, era: str, door: str) -> None:
    token = await server.persona("ada", "main")
    async with server.client(token, era, door) as client:
        created = await client.call_tool("create_project", {"name": "streets", "type": "imageannotation"})
        assert not created.is_error, created
        listed = await client.call_tool("list_projects", {})
    assert "streets" in str(listed.structured_content)
    assert listed.meta is not None
    assert listed.meta["scale-mcp/served"] == {"persona": "ada", "connection": "main", "kind": "sandbox"}
    outcomes = await rows_of(server.house, OUTCOME)
    assert [(row["tool"], row["outcome"], row["persona"]) for row in outcomes] == [
        ("create_project", "ok", "ada"),
        ("list_projects", "ok", "ada"),
    ]

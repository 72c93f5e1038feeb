"""Several servers on one store: what is revoked at one is refused at all, on the next call."""

from __future__ import annotations

from contextlib import AsyncExitStack

import anyio
import httpx2
import pytest

from scale_mcp.hosting.store import Database
from tests.hosting.sign_in_house import ACCEPT, bearer, opened_house

pytestmark = pytest.mark.anyio

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


async def test_a_token_revoked_at_one_replica_is_refused_at_all_three_and_ends_their_streams(
    database_url: str,
) -> None:
    with anyio.fail_after(60):
        async with AsyncExitStack() as stack:
            houses = [
                await stack.enter_async_context(
                    opened_house(await stack.enter_async_context(Database.opened(database_url)), look_every=3600.0)
                )
                for _ in range(3)
            ]
            await houses[0].persona("reader")
            record, token = await houses[1].token("reader")
            clients = [
                await stack.enter_async_context(
                    httpx2.AsyncClient(base_url=house.base, headers={**bearer(token), **ACCEPT}, timeout=20)
                )
                for house in houses
            ]
            streams = [await stack.enter_async_context(http.stream("GET", "/sse")) for http in clients]
            before = [(await http.post("/mcp", json=INITIALIZE)).status_code for http in clients]
            await houses[0].revoke(record)
            after = [(await http.post("/mcp", json=INITIALIZE)).status_code for http in clients]
            for house in houses:
                await house.streams.look()
            for stream in streams:
                async for _ in stream.aiter_bytes():
                    pass

    assert (before, after) == ([200] * 3, [401] * 3)

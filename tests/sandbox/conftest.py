"""A sandbox in memory whose clock only moves by hand, and callers of it in process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx2
import pytest

from scale_mcp.sandbox import SANDBOX_URL, Sandbox, SandboxOptions

Connect = Callable[[str], httpx2.AsyncClient]


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(SandboxOptions(clock="manual")) as box:
        yield box


@pytest.fixture
async def connect(sandbox: Sandbox) -> AsyncIterator[Connect]:
    """``connect(key)`` gives a client of the sandbox under that key; paths are relative to /v1."""
    clients: list[httpx2.AsyncClient] = []

    def make(key: str) -> httpx2.AsyncClient:
        clients.append(httpx2.AsyncClient(transport=sandbox.transport(), base_url=SANDBOX_URL, auth=(key, "")))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
async def live(connect: Connect) -> httpx2.AsyncClient:
    return connect("live_side")


@pytest.fixture
async def admin(sandbox: Sandbox) -> AsyncIterator[httpx2.AsyncClient]:
    """A caller of the admin pages, without a key."""
    base_url = SANDBOX_URL.removesuffix("/v1") + "/_sandbox"
    async with httpx2.AsyncClient(transport=sandbox.transport(), base_url=base_url) as client:
        yield client

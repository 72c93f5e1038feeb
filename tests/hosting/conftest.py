"""A database for each test, on SQLite and on a real PostgreSQL server that the test run starts for itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from scale_mcp.hosting.store import Database
from tests.hosting.postgresql import postgresql


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The address of a server's maintenance database. It listens on a socket in its own folder only."""
    with postgresql() as server:
        yield server.url


@pytest.fixture
async def postgresql_url(postgresql_server: str) -> AsyncIterator[str]:
    """The address of a fresh, empty database on the server."""
    import asyncpg

    name = f"t{uuid4().hex}"
    maintenance = await asyncpg.connect(postgresql_server)
    await maintenance.execute(f"CREATE DATABASE {name}")
    try:
        yield postgresql_server.replace("/postgres?", f"/{name}?")
    finally:
        await maintenance.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await maintenance.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a fresh database, once on each kind of server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'hosted.db'}"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An opened, migrated database, once on each kind of server."""
    async with Database.opened(database_url) as opened:
        yield opened

"""A database for each test, on SQLite and on a real PostgreSQL server that the test run starts for itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from scale_mcp.hosting.store import Database

PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def _program(name: str) -> str:
    found = shutil.which(name) or next((str(place / name) for place in PLACES if (place / name).exists()), None)
    if found is None:
        pytest.fail(f"{name} is not installed; the tests need a PostgreSQL server (Debian: apt-get install postgresql)")
    return found


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The address of a server's maintenance database. It listens on a socket in its own folder only."""
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a socket's path must be short
    as_owner: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "nobody")
        as_owner = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    data = folder / "data"

    def run(*command: str) -> None:
        subprocess.run([*as_owner, *command], check=True, capture_output=True, cwd=folder, timeout=60)

    run(_program("initdb"), "-D", str(data), "-U", "tests", "--auth=trust", "--no-sync", "--locale=C", "-E", "UTF8")
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off -c max_connections=300"
    run(_program("pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql://tests@/postgres?host={folder}"
    finally:
        run(_program("pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


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

"""One database behind all replicas: an SQLite file for one machine, PostgreSQL for several.

Reading and writing are apart, because SQLite takes one writer at a time: a transaction that means to write says so at
its beginning and waits its turn there, instead of failing in its middle.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from scale_mcp.hosting.store.tables import revision

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
EXTRAS = {"sqlite": "hosted", "postgresql": "hosted,postgres"}
WAIT_FOR_WRITER = 15_000  # milliseconds an SQLite writer waits for another one
FORGOTTEN_AFTER = "30000"  # milliseconds after which PostgreSQL ends a transaction whose process has gone silent
POOL_SIZE = 10  # connections per process; to PostgreSQL as many more under load
Ended = Callable[[], Awaitable[None]]
WRITES = {"writes": True}
ALONE = {"alone": True}  # a statement that needs no transaction around it


class StoreError(Exception):
    """The database cannot be used. The text is for the operator: what is wrong and how to cure it."""


class Database:
    """An opened, migrated database. ``async with Database.opened(url) as database``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.dialect = engine.dialect.name
        self._alone: dict[str, Any] = ALONE if self.dialect == "sqlite" else {"isolation_level": "AUTOCOMMIT"}
        # SQLite's own waiting for another writer is a poll with growing pauses, and whoever comes late may go first.
        # Within a process writers queue up here instead, each without a connection until it is its turn.
        self._turn: AbstractAsyncContextManager[Any] = anyio.Lock() if self.dialect == "sqlite" else nullcontext()

    @classmethod
    @asynccontextmanager
    async def opened(cls, url: str) -> AsyncIterator[Database]:
        """Connect, bring the tables up to date, and dispose of everything at the end.

        Raises ``StoreError`` for an address that is none, a server that does not answer, tables of a newer version.
        """
        from scale_mcp.hosting.store.migrations import upgrade

        engine, ended = _engine(url)
        try:
            database = cls(engine)
            try:
                await upgrade(engine)
            except (DBAPIError, OSError) as problem:
                raise StoreError(f"The database {shown(url)} cannot be used: {_reason(problem)}") from None
            yield database
        finally:
            await engine.dispose()
            await ended()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read with; what is read inside belongs to one moment on SQLite."""
        async with self.engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def looking_up(self) -> AsyncIterator[AsyncConnection]:
        """A connection for one query: no transaction is begun for it and none is ended."""
        async with self.engine.connect() as connection:
            await connection.execution_options(**self._alone)
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction to write in: committed at the end, undone when anything is raised inside."""
        async with self._turn, self.engine.connect() as connection:
            await connection.execution_options(**WRITES)
            async with connection.begin():
                yield connection

    async def changed(self, connection: AsyncConnection) -> None:
        """Say within a writing transaction that what processes remember of personas and connections is out of date."""
        await connection.execute(sa.update(revision).values(number=revision.c.number + 1))


def default_url() -> str:
    """An SQLite file in the user's data folder, made for its owner only."""
    import platformdirs

    folder = platformdirs.user_data_path("scale-mcp", appauthor=False)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return f"sqlite:///{folder / 'hosted.db'}"


def shown(url: str) -> str:
    """The address without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "(an address that cannot be read)"


def _engine(url: str) -> tuple[AsyncEngine, Ended]:
    """The engine, and what waits for its last work once it is disposed of."""
    try:
        address = make_url(url)
    except ArgumentError:
        raise StoreError(
            "The database address cannot be read. Write it like sqlite:///hosted.db or "
            "postgresql://user:password@host/database."
        ) from None
    kind = {"postgres": "postgresql"}.get(address.get_backend_name(), address.get_backend_name())
    if kind not in DRIVERS or "+" in address.drivername:
        raise StoreError("The database must be sqlite:///… or postgresql://…, without naming a driver.")
    address = address.set(drivername=DRIVERS[kind])
    try:
        return _sqlite(address) if kind == "sqlite" else _postgresql(address)
    except ModuleNotFoundError as problem:
        raise StoreError(
            f"{problem.name} is not installed. Install the extra: pip install 'scale-mcp[{EXTRAS[kind]}]'."
        ) from None


def _sqlite(address: URL) -> tuple[AsyncEngine, Ended]:
    if address.database and address.database != ":memory:":
        path = Path(address.database)
        if not path.parent.is_dir():
            raise StoreError(f"The folder of the database {path} does not exist. Create it first.")
        path.touch(mode=0o600)
    else:
        raise StoreError("The database must be a file: what is kept in memory would be lost with the process.")
    from scale_mcp.hosting.store.sqlite_file import FileOpener

    opener = FileOpener()
    # Each connection has a thread; more of them than these would only wait for one another.
    engine = create_async_engine(
        address,
        connect_args={"async_creator_fn": opener},
        pool_size=POOL_SIZE,
        max_overflow=0,
    )

    @sa.event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say so, see _begin
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {WAIT_FOR_WRITER}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")  # what was written before a paid call outlasts a power cut
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @sa.event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("alone", False):
            connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes", False) else "BEGIN")

    return engine, opener.ended


def _postgresql(address: URL) -> tuple[AsyncEngine, Ended]:
    engine = create_async_engine(
        address,
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        pool_pre_ping=True,
        connect_args={"timeout": 10, "server_settings": {"idle_in_transaction_session_timeout": FORGOTTEN_AFTER}},
    )
    return engine, anyio.lowlevel.checkpoint


def _reason(problem: Exception) -> str:
    if isinstance(problem, OperationalError | DBAPIError):
        return str(problem.orig).splitlines()[0]
    return str(problem)

"""The store: migrated once, in order, on both kinds of database; writers wait for each other."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import anyio
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from scale_mcp.hosting.store import Database, StoreError, areas, metadata
from scale_mcp.hosting.store.tables import revision

pytestmark = pytest.mark.anyio


async def number(database: Database) -> int:
    async with database.reading() as connection:
        return int((await connection.execute(sa.select(revision.c.number))).scalar_one())


async def test_the_migrations_make_exactly_the_tables_that_the_code_declares(database: Database) -> None:
    def differences(connection: sa.Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, metadata))

    assert areas  # has declared every table
    async with database.reading() as connection:
        assert await connection.run_sync(differences) == []


async def test_replicas_that_start_together_migrate_once(database_url: str) -> None:
    async def start() -> None:
        async with Database.opened(database_url) as database:
            assert await number(database) >= 1

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(start)


async def test_writers_wait_for_each_other_and_lose_nothing(database: Database) -> None:
    before = await number(database)

    async def change() -> None:
        async with database.writing() as connection:
            await database.changed(connection)

    async with anyio.create_task_group() as tasks:
        for _ in range(40):
            tasks.start_soon(change)
    assert await number(database) == before + 40


async def test_a_writer_that_gives_up_waiting_leaves_nothing_that_runs_on(
    database: Database, database_url: str
) -> None:
    before = asyncio.all_tasks()
    async with Database.opened(database_url) as other_process, database.writing() as connection:
        await database.changed(connection)
        with anyio.move_on_after(0.1) as given_up:
            async with other_process.writing() as other:
                await other_process.changed(other)
        assert given_up.cancelled_caught
    if left := asyncio.all_tasks() - before:
        with anyio.fail_after(30):
            await asyncio.wait(left)
    async with database.writing() as connection:
        await database.changed(connection)


async def test_what_fails_in_its_middle_leaves_nothing_behind(database: Database) -> None:
    before = await number(database)

    async def fail() -> None:
        async with database.writing() as connection:
            await database.changed(connection)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await number(database) == before


async def test_tables_of_a_newer_version_are_refused(database: Database) -> None:
    async with database.writing() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    url = database.engine.url.set(drivername=database.dialect).render_as_string(hide_password=False)
    with pytest.raises(StoreError, match="newer scale-mcp"):
        async with Database.opened(url):
            pass


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nonsense", "cannot be read"),
        ("mysql://user:secret@host/x", r"must be sqlite:///… or postgresql"),
        ("sqlite://", "must be a file"),
        ("sqlite:////no/such/folder/x.db", "does not exist"),
        ("postgresql://tests:secret@127.0.0.1:1/x", "cannot be used"),
    ],
)
async def test_an_unusable_address_is_refused_with_its_cure_and_without_its_password(url: str, told: str) -> None:
    with pytest.raises(StoreError, match=told) as refusal:
        async with Database.opened(url):
            pass
    assert "secret" not in str(refusal.value)


async def test_a_new_database_file_is_its_owners_alone(tmp_path: Path) -> None:
    async with Database.opened(f"sqlite:///{tmp_path / 'x.db'}"):
        assert (tmp_path / "x.db").stat().st_mode & 0o077 == 0


async def test_closing_waits_for_a_statement_that_was_given_up(tmp_path: Path) -> None:
    def workers() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if "_connection_worker_thread" in thread.name}

    before = workers()
    long = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 2000000) SELECT count(*) FROM c"
    async with Database.opened(f"sqlite:///{tmp_path / 'hosted.db'}") as database:
        with anyio.move_on_after(0.01) as given_up:
            async with database.reading() as connection:
                await connection.execute(sa.text(long))
        assert given_up.cancelled_caught
        assert workers() - before

    assert workers() - before == set()

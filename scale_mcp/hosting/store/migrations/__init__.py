"""Brings the tables up to date, in order, once, however many replicas start at the same moment."""

from __future__ import annotations

import logging
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncEngine

LOCK = 7_245_118_063  # any number that nobody else locks


async def upgrade(engine: AsyncEngine) -> None:
    """Apply the migrations that are missing, in one transaction. Raises ``StoreError`` for newer tables."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    async with engine.connect() as connection:
        await connection.execution_options(writes=True)
        async with connection.begin():
            if engine.dialect.name == "postgresql":
                await connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            await connection.run_sync(_upgrade)


def _upgrade(connection: sa.Connection) -> None:
    from scale_mcp.hosting.store.database import StoreError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = ScriptDirectory.from_config(config)
    there = MigrationContext.configure(connection).get_current_revision()
    if there == known.get_current_head():
        return
    if there is not None and there not in {script.revision for script in known.walk_revisions()}:
        raise StoreError(
            f"The database was made by a newer scale-mcp (its tables are at {there}). Install that version here, too."
        )
    command.upgrade(config, "head")

"""What Alembic runs to apply migrations: on the connection that ``upgrade`` opened, inside its transaction."""

from __future__ import annotations

from alembic import context

from scale_mcp.hosting.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()

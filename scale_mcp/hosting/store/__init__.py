"""The hosted server's state: SQLite by default, PostgreSQL by URL."""

from scale_mcp.hosting.store.database import Database, StoreError, default_url
from scale_mcp.hosting.store.tables import metadata

__all__ = ["Database", "StoreError", "default_url", "metadata"]

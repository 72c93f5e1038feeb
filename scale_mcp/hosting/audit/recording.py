"""What those who change something need of the audit trail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


class Recording(Protocol):
    """Appends entries to the audit trail."""

    async def append(self, kind: str, content: dict[str, Any], *, connection: AsyncConnection | None = None) -> int:
        """Write an entry and return its number; with ``connection``, inside that transaction and undone with it."""
        ...

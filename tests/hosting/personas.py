"""What the tests of personas share: a recorder that remembers, and a clock that is moved by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

NOON = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)


class Trail:
    """Stands in for the audit trail: what would be written, in its order."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, dict[str, Any]]] = []

    async def append(self, kind: str, content: dict[str, Any], *, connection: AsyncConnection | None = None) -> int:
        assert connection is not None, "a change and its entry belong into one transaction"
        self.entries.append((kind, content))
        return len(self.entries)

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.entries]


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, by: timedelta) -> None:
        self.now += by

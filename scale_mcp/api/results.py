"""What operations give back beside Scale's own objects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scale_mcp.models.tasks import Task


@dataclass(frozen=True)
class Created:
    """A created task. ``recovered``: found by its unique_id after the answer to its creation was lost."""

    task: Task
    recovered: bool
    unique_id_assigned: bool


@dataclass(frozen=True)
class ResponseStream:
    """A file on its way. ``size`` is bytes, None when not announced. ``chunks`` can be gone through once."""

    content_type: str
    size: int | None
    chunks: Callable[[], AsyncIterator[bytes]]

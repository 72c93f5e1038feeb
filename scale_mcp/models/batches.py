"""Batches as Scale sends them, their progress, and what they can be filtered by."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, Field

from scale_mcp.models.base import RequestModel, WireModel
from scale_mcp.models.common import BatchState, IsoTime, Items

Count = Annotated[int, BeforeValidator(lambda value: 0 if value is None else value)]


def _both(name: str) -> AliasChoices:
    return AliasChoices(name, f"tasks_{name}")


class Batch(WireModel):
    """A named set of tasks of one project. Names are unique over the whole account."""

    name: str
    project: str | None = None
    status: str | None = None  # staging, in_progress or completed
    created_at: str | None = None
    completed_at: str | None = None
    callback: str | None = None
    metadata: Any = None
    calibration_batch: bool | None = None
    self_label_batch: bool | None = None
    last_audited_at: str | None = None
    archived: bool | None = None
    priority: int | str | None = None
    # Only in a detailed list:
    pending: Annotated[int | None, Field(validation_alias=_both("pending"))] = None
    completed: Annotated[int | None, Field(validation_alias=_both("completed"))] = None
    error: Annotated[int | None, Field(validation_alias=_both("error"))] = None
    canceled: Annotated[int | None, Field(validation_alias=_both("canceled"))] = None


class BatchStatus(WireModel):
    """How far a batch is. Scale leaves out counts that are zero."""

    status: str
    pending: Annotated[Count, Field(validation_alias=_both("pending"))] = 0
    completed: Annotated[Count, Field(validation_alias=_both("completed"))] = 0
    error: Annotated[Count, Field(validation_alias=_both("error"))] = 0
    canceled: Annotated[Count, Field(validation_alias=_both("canceled"))] = 0

    @property
    def total(self) -> int:
        return self.pending + self.completed + self.error + self.canceled


class BatchPage(WireModel):
    """One page of batches, newest first, by offset."""

    docs: Items[Batch] = Field(default_factory=list)
    total: Annotated[int | None, Field(validation_alias=AliasChoices("totalDocs", "total"))] = None
    limit: int | None = None
    offset: int | None = None
    has_more: Annotated[bool, Field(validation_alias=AliasChoices("has_more", "hasNextPage"))] = False


class BatchFilter(RequestModel):
    """Which batches a list holds, by the wire names of the query. ``start_time``/``end_time`` bound ``created_at``."""

    project: str | None = None
    status: BatchState | None = None
    start_time: IsoTime | None = None
    end_time: IsoTime | None = None
    completed_after: IsoTime | None = None
    completed_before: IsoTime | None = None
    audited_after: IsoTime | None = None
    audited_before: IsoTime | None = None
    exclude_archived: bool | None = None
    detailed: bool | None = None

    def to_query(self) -> dict[str, Any]:
        return self.to_wire()

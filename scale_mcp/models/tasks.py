"""Tasks as Scale sends them, pages of them, and what they can be filtered by."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AliasChoices, Field

from scale_mcp.models.base import RequestModel, WireModel
from scale_mcp.models.common import IsoTime, Items, Mode, Object, ReviewStatus, TaskStatus

__all__ = ["Audit", "Mode", "Task", "TaskFilter", "TaskPage"]


class Audit(WireModel):
    """One audit of a task by the customer."""

    audited_by: str | None = None
    audited_at: str | None = None
    audit_time_secs: float | None = None
    audit_result: str | None = None
    audit_source: str | None = None
    comments: str | None = None


class Task(WireModel):
    """One unit of work. Absent keys mean what they say: no ``unique_id``, no ``tags`` yet, no ``response`` yet."""

    task_id: str
    type: str | None = None
    status: str | None = None  # pending, completed, canceled or error; kept open for what comes
    created_at: str | None = None
    updated_at: str | None = None
    completed_at: str | None = None
    instruction: str | None = None
    params: Object = Field(default_factory=dict)
    response: Any = None
    metadata: Any = None  # an object; old tasks have been seen with a string
    project: str | None = None
    batch: str | None = None
    unique_id: str | None = None
    tags: Items[str] = Field(default_factory=list)
    priority: int | str | None = None
    is_test: bool | None = None
    callback_url: str | None = None
    callback_succeeded: Annotated[
        bool | None, Field(validation_alias=AliasChoices("callback_succeeded", "callback_completed"))
    ] = None
    project_param_version: int | None = None
    work_started: bool | None = None
    customer_review_status: str | None = None
    audits: Items[Audit] = Field(default_factory=list)
    document_pages: Items[dict[str, Any]] = Field(default_factory=list)


class TaskPage(WireModel):
    """One page of tasks, newest first. ``total`` counts all matches, not the page."""

    docs: Items[Task] = Field(default_factory=list)
    total: Annotated[int | None, Field(validation_alias=AliasChoices("total", "totalDocs"))] = None
    limit: int | None = None
    offset: int | None = None
    has_more: bool = False
    next_token: str | None = None


class TaskFilter(RequestModel):
    """Which tasks a list holds: every query of the list by its wire name, but for paging. All are optional.

    ``start_time`` and ``end_time`` bound ``created_at``. Several values of a list mean any of them.
    """

    project: str | None = None
    batch: str | None = None
    type: str | None = None
    status: TaskStatus | None = None
    customer_review_status: list[ReviewStatus] | None = None
    unique_id: list[str] | None = None
    tags: list[str] | None = None
    start_time: IsoTime | None = None
    end_time: IsoTime | None = None
    completed_after: IsoTime | None = None
    completed_before: IsoTime | None = None
    updated_after: IsoTime | None = None
    updated_before: IsoTime | None = None
    include_attachment_url: bool | None = None
    limited_response: bool | None = None

    def to_query(self) -> dict[str, Any]:
        """The query: lists repeat their key, except the review status, which Scale takes comma-joined."""
        query = self.to_wire()
        if statuses := query.get("customer_review_status"):
            query["customer_review_status"] = ",".join(statuses)
        return query

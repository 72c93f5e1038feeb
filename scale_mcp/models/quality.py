"""Quality: evaluation tasks, fixless audits, training attempts. Little of their shape is published."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AliasChoices, Field

from scale_mcp.models.base import WireModel
from scale_mcp.models.common import Items


class QualityTask(WireModel):
    """An evaluation or training task. Its id is ``id``, unlike a normal task's."""

    id: Annotated[str, Field(validation_alias=AliasChoices("id", "task_id"))]
    expected_response: Any = None
    initial_response: Any = None


class FixlessAudit(WireModel):
    """Feedback on a task's response that does not change the response. Unknown fields pass through."""

    id: str | None = None
    task_id: str | None = None
    result: Annotated[str | None, Field(validation_alias=AliasChoices("result", "audit_result"))] = None
    response_url: str | None = None
    created_at: str | None = None
    audited_by: str | None = None
    feedback_items: Items[Any] = Field(default_factory=list)


class TrainingAttempt(WireModel):
    """One worker's attempt at a quality task. ``score`` is from 0 to 1."""

    id: str | None = None
    quality_task_id: str | None = None
    quality_task_type: str | None = None
    project: str | None = None
    labeler_email: str | None = None
    score: float | None = None
    passed: bool | None = None
    started_at: str | None = None
    completed_at: str | None = None


class TrainingAttempts(WireModel):
    """One page of attempts."""

    docs: Items[TrainingAttempt] = Field(default_factory=list)
    total: int | None = None
    has_more: bool | None = None
    next_token: Annotated[str | None, Field(validation_alias=AliasChoices("next_token", "cursor"))] = None

"""Quality: what auditors said, and how labelers did in training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from scale_mcp.models.checks import Checked, Problem, at_least_one
from scale_mcp.models.field_types import Email, Identifier, Text
from scale_mcp.tools.card import Call, tool
from scale_mcp.tools.fitting import shorten
from scale_mcp.tools.outputs import DEFAULT_LIMIT, Entry, Listing, by_columns, by_rows, page_budget
from scale_mcp.tools.parameters import Limit, Offset


class AuditEntry(Entry):
    id: str | None = None
    task_id: str | None = None
    result: str | None = None
    audited_by: str | None = None
    created_at: str | None = None
    response_url: str | None = None
    feedback_items: list[Any] | None = Field(None, description="type, state, scope and comment of each")


class AuditList(Listing):
    nouns: ClassVar[tuple[str, str]] = ("audit", "audits")

    docs: list[AuditEntry]
    next_offset: int | None = None


class AuditQuery(Checked):
    """What ``get_fixless_audits`` takes."""

    task_id: Identifier | None = Field(None, description="The task audited")
    id: Identifier | None = Field(None, description="Audit id")
    offset: Offset = Field(0, description="Audits to skip")

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        yield from at_least_one(given, "task_id", "id")


@tool(
    title="Get fixless audits",
    toolset="quality",
    risk="read",
    keywords=("audit", "feedback", "review", "mistakes", "errors", "quality", "rejected"),
    action="SCALE_AI_GET_FIXLESS_AUDITS",
)
async def get_fixless_audits(call: Call, query: AuditQuery) -> AuditList:
    """Read audits that left a task's response unchanged, by task_id, id or both. Returns their feedback items."""
    audits = await call.api.quality.fixless_audits(task_id=query.task_id, id=query.id)
    rows = [_entry(audit.model_dump(mode="json", exclude_unset=True)) for audit in audits]
    return by_rows(AuditList, rows, offset=query.offset)


def _entry(wire: dict[str, Any]) -> dict[str, Any]:
    """An object of which Scale has not published the shape: all of it, cut."""
    kept: dict[str, Any] = shorten({key: value for key, value in wire.items() if value is not None}, 2_000)[0]
    return kept


class AttemptEntry(Entry):
    id: str | None = None
    quality_task_id: str | None = None
    labeler_email: str | None = None
    score: float | None = None
    passed: bool | None = None
    project: str | None = None
    completed_at: str | None = None


class AttemptList(Listing):
    nouns: ClassVar[tuple[str, str]] = ("attempt", "attempts")

    docs: list[AttemptEntry]
    next_token: str | None = None


FIRST = ("labeler_email", "score", "passed", "quality_task_id", "completed_at", "project")  # by importance


class AttemptQuery(Checked):
    """What ``get_training_attempts`` takes."""

    quality_task_ids: Annotated[list[Identifier], Field(min_length=1)] | None = Field(
        None, description="Quality task ids"
    )
    labeler_emails: Annotated[list[Email], Field(min_length=1)] | None = Field(None, description="People")
    limit: Limit = Field(DEFAULT_LIMIT, description="Page size")
    next_token: Text | None = Field(None, description="From the page before")

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        yield from at_least_one(given, "quality_task_ids", "labeler_emails")


@tool(
    title="Get training attempts",
    toolset="quality",
    risk="read",
    keywords=("labeler quality", "scores", "performance", "training", "evaluation", "who passed", "accuracy"),
    action="SCALE_AI_GET_QUALITY_LABELERS",
)
async def get_training_attempts(call: Call, query: AttemptQuery) -> AttemptList:
    """See labelers' training and evaluation attempts with scores, by quality_task_ids, labeler_emails or both."""
    page = await call.api.quality.training_attempts(
        query.quality_task_ids or [], query.labeler_emails or [], limit=query.limit, next_token=query.next_token
    )
    rows = []
    for attempt in page.docs:
        wire = attempt.model_dump(mode="json", exclude_unset=True)
        wire.pop("response", None)  # the labeler's whole answer; the scores are what was asked for
        rows.append(_entry({name: wire.pop(name) for name in FIRST if name in wire} | wire))
    following = page.next_token
    note = f"More: go on with the same arguments and next_token {following}" if following else None
    return by_columns(
        AttemptList,
        rows,
        page_budget(query.limit),
        total=page.total,
        has_more=bool(following),
        next_token=following,
        note=note,
    )

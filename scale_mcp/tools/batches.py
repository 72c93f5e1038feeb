"""Batches: named sets of tasks that are released for work together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from scale_mcp.models.batches import Batch, BatchFilter, BatchPage, BatchStatus
from scale_mcp.models.checks import Checked, Problem, in_order
from scale_mcp.models.common import BatchState
from scale_mcp.models.field_types import CallbackTarget, Name, TaskMetadata
from scale_mcp.tools.card import Call, ToolOutput, tool
from scale_mcp.tools.fitting import compact, quoted, shorten
from scale_mcp.tools.outputs import DEFAULT_LIMIT, Entry, Listing, by_columns, entries, page_budget
from scale_mcp.tools.parameters import BatchName, Limit, Offset, Time

COUNTS = ("pending", "completed", "error", "canceled")


class BatchResult(ToolOutput):
    name: str
    project: str | None = None
    status: str | None = Field(None, description="staging, in_progress or completed")
    created_at: str | None = None
    completed_at: str | None = None
    callback: str | None = None
    metadata: Any = None
    done: str | None = Field(None, description="What was done")
    shortened: list[str] | None = None

    def text(self) -> str:
        state = f"is {self.status}" if self.done is None else f"{self.done}; its status is {self.status}"
        lines = [f"Batch {quoted(self.name)} of project {quoted(self.project)} {state}."]
        lines += [f"{name}: {value}" for name in ("created_at", "completed_at") if (value := getattr(self, name))]
        if self.callback:
            lines.append(f"callback: {quoted(self.callback, 200)}")
        if self.metadata:
            lines.append(f"metadata: {compact(shorten(self.metadata, 800)[0])}")
        return "\n".join(lines)


def batch_result(batch: Batch, done: str | None = None) -> BatchResult:
    fields, notes = shorten(batch.to_wire(), 6_000)
    return BatchResult.model_validate({**fields, "done": done, "shortened": notes or None})


@tool(
    title="Create a batch",
    toolset="batches",
    risk="write",
    keywords=("new batch", "group tasks", "set of tasks", "calibration", "self label"),
    action="SCALE_AI_CREATE_BATCH",
)
async def create_batch(
    call: Call,
    *,
    project: Annotated[Name, Field(description="Project name")],
    name: Annotated[Name, Field(description="Unique over all projects")],
    callback: Annotated[CallbackTarget | None, Field(description="URL or e-mail")] = None,
    calibration_batch: Annotated[bool | None, Field(description="Test run (Rapid)")] = None,
    self_label_batch: Annotated[bool | None, Field(description="Own people label (Rapid)")] = None,
    metadata: Annotated[TaskMetadata | None, Field(description="Own data")] = None,
) -> BatchResult:
    """Create a batch for tasks. In Rapid and Studio projects it waits in staging until finalize_batch. Returns the
    batch."""
    batch = await call.api.batches.create(
        project,
        name,
        callback=callback,
        calibration_batch=calibration_batch,
        self_label_batch=self_label_batch,
        metadata=metadata,
    )
    waits = ", then finalize_batch" if batch.status == "staging" else ""
    return batch_result(batch, "is created").then(f"Next: create its tasks, naming this batch{waits}.")


@tool(
    title="Finalize a batch",
    toolset="batches",
    risk="spend",
    consequence="Paid work on the whole batch starts, and no task can be added to it afterwards.",
    final=True,  # money is spent all the time, with the intent to; this also closes the batch for good
    keywords=("launch", "start work", "release", "submit batch", "close batch", "go"),
    action="SCALE_AI_FINALIZE_BATCH",
)
async def finalize_batch(call: Call, *, batch_name: BatchName) -> BatchResult:
    """Start the paid work on a Rapid or Studio batch and close it: no more tasks, no undo. No effect on other
    projects. Check get_batch_status first. Returns the batch."""
    finalized = batch_result(await call.api.batches.finalize(batch_name), "is finalized")
    return finalized.then("Next: get_batch_status until it is completed.")


@tool(
    title="Get a batch",
    toolset="batches",
    risk="read",
    keywords=("batch", "details", "state", "callback", "metadata"),
    action="SCALE_AI_GET_BATCH",
)
async def get_batch(call: Call, *, batch_name: BatchName) -> BatchResult:
    """Read one batch: project, status, callback, metadata. For progress use get_batch_status."""
    return batch_result(await call.api.batches.get(batch_name))


class BatchProgress(ToolOutput):
    batch_name: str
    status: str
    pending: int
    completed: int
    error: int
    canceled: int

    def text(self) -> str:
        total = sum(getattr(self, name) for name in COUNTS)
        counts = ", ".join(f"{getattr(self, name)} {name}" for name in COUNTS)
        return (
            f"Batch {quoted(self.batch_name)} is {self.status}: {total} {'task' if total == 1 else 'tasks'}, {counts}."
        )


@tool(
    title="Get a batch's progress",
    toolset="batches",
    risk="read",
    keywords=("progress", "how far", "done", "finished", "remaining", "counts", "percent"),
    action="SCALE_AI_GET_BATCH_STATUS",
)
async def get_batch_status(call: Call, *, batch_name: BatchName) -> BatchProgress:
    """See how far a batch is: its status and how many tasks are pending, completed, error and canceled."""
    status = await call.api.batches.status(batch_name)
    counts = {name: getattr(status, name) for name in COUNTS}
    progress = BatchProgress(batch_name=batch_name, status=status.status, **counts)
    return progress.then(_after(status))


def _after(status: BatchStatus) -> str:
    match status.status:
        case "staging" if not status.total:
            return "Next: create its tasks, naming this batch."
        case "staging":
            return "Its work starts with finalize_batch."
        case "completed":
            return "Next: list_tasks with this batch, then get_task."
        case _:
            return ""


class BatchQuery(Checked):
    """What ``list_batches`` takes."""

    project: Name | None = Field(None, description="Project name")
    status: BatchState | None = Field(None, description="Batch status")
    start_time: Time | None = Field(None, description="Created from (ISO 8601)")
    end_time: Time | None = Field(None, description="Created until")
    completed_after: Time | None = Field(None, description="Completed from")
    completed_before: Time | None = Field(None, description="Completed until")
    audited_after: Time | None = Field(None, description="Audited from")
    audited_before: Time | None = Field(None, description="Audited until")
    exclude_archived: bool | None = Field(None, description="Leave archived ones out")
    detailed: bool | None = Field(None, description="Add task counts")
    limit: Limit = Field(DEFAULT_LIMIT, description="Page size")
    offset: Offset = Field(0, description="Batches to skip")

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        yield from in_order(given, "start_time", "end_time")
        yield from in_order(given, "completed_after", "completed_before")
        yield from in_order(given, "audited_after", "audited_before")

    def filter(self) -> BatchFilter:
        return BatchFilter(**self.model_dump(exclude={"limit", "offset"}, exclude_none=True))


class BatchEntry(Entry):
    name: str
    project: str | None = None
    status: str | None = None
    created_at: str | None = None
    completed_at: str | None = None
    pending: int | None = None
    completed: int | None = None
    error: int | None = None
    canceled: int | None = None


class BatchList(Listing):
    nouns: ClassVar[tuple[str, str]] = ("batch", "batches")

    docs: list[BatchEntry]
    limit: int | None = None
    offset: int | None = None
    next_offset: int | None = None


COLUMNS = ("name", "status", *COUNTS, "project", "created_at", "completed_at", "priority", "archived")


@tool(
    title="List batches",
    toolset="batches",
    risk="read",
    keywords=("batches", "find batch", "overview", "which batches", "staging", "in progress"),
    action="SCALE_AI_LIST_BATCHES",
)
async def list_batches(call: Call, query: BatchQuery) -> BatchList:
    """Find batches, newest first, a short row each."""
    page = await call.api.batches.page(query.filter(), offset=query.offset, limit=query.limit)
    found = _batch_list(page, query)
    return found.then("Names are exact; list_projects has them." if query.project and not found.docs else "")


def _batch_list(page: BatchPage, query: BatchQuery) -> BatchList:
    rows = entries(page.docs, COLUMNS)
    end = query.offset + len(rows)
    has_more = bool(rows) and (page.has_more or (page.total is not None and page.total > end))
    note = None
    if has_more:
        left = f"{page.total - end} more" if page.total is not None and page.total > end else "More"
        note = f"{left}: call again with offset {end}."
    return by_columns(
        BatchList,
        rows,
        page_budget(query.limit),
        COUNTS if query.detailed else (),
        total=page.total,
        limit=query.limit,
        offset=query.offset,
        has_more=has_more,
        next_offset=end if has_more else None,
        note=note,
    )


class PriorityResult(ToolOutput):
    batch_name: str
    priority: int
    answer: dict[str, Any] | None = Field(None, description="Scale's own answer, which is not documented")

    def text(self) -> str:
        return f"Batch {quoted(self.batch_name)} has priority {self.priority} now."


@tool(
    title="Prioritize a batch",
    toolset="batches",
    risk="write",
    idempotent=True,
    keywords=("urgent", "rush", "faster", "priority", "first", "expedite"),
)
async def prioritize_batch(
    call: Call,
    *,
    batch_name: BatchName,
    priority: Annotated[int, Field(ge=10, le=30, description="10 low to 30 high; higher comes earlier")],
) -> PriorityResult:
    """Set how urgent a batch is among the others. The Studio order is set by set_studio_batch_priorities instead."""
    answer = await call.api.batches.prioritize(batch_name, priority)
    return PriorityResult(batch_name=batch_name, priority=priority, answer=shorten(answer, 1_000)[0] or None)

"""Reading tasks and looking after them: tags, unique ids, metadata, callbacks, canceling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from scale_mcp.models.checks import Checked, Problem, in_order
from scale_mcp.models.common import ReviewStatus, TaskStatus
from scale_mcp.models.field_types import Name, Tags, TaskMetadata, Text
from scale_mcp.models.responses import file_urls
from scale_mcp.models.tasks import TaskFilter
from scale_mcp.text import clean_value
from scale_mcp.tools.card import Call, ToolOutput, tool
from scale_mcp.tools.fitting import compact, quoted, shorten
from scale_mcp.tools.outputs import DEFAULT_LIMIT
from scale_mcp.tools.parameters import Limit, TaskId, Time
from scale_mcp.tools.parts import part_of
from scale_mcp.tools.task_outputs import (
    ChangedTask,
    TaskList,
    TaskPart,
    TaskResult,
    changed,
    task_fields,
    task_list,
)


@tool(
    title="Get a task",
    toolset="tasks",
    risk="read",
    keywords=("read", "show", "task", "result", "response", "annotations", "answer", "status", "done"),
    action="SCALE_AI_GET_V1_TASK",
)
async def get_task(
    call: Call,
    *,
    task_id: TaskId,
    part: Annotated[Text | None, Field(description="Only this, e.g. response.annotations")] = None,
    offset: Annotated[int | None, Field(ge=0, description="First item of that part")] = None,
) -> TaskPart:
    """Read one task: status, params, response. Large values are cut; read on with part and offset."""
    task = await call.api.tasks.get(task_id)
    if part is None and offset is None:
        in_files = any("/response_url/" in url for _, url in file_urls(task.response))
        return TaskPart.model_validate(task_fields(task)).then(
            "Its results are files: get_task_response with the last part of a URL above." if in_files else ""
        )
    found = part_of(clean_value(task.to_wire()), part or "response", offset or 0)
    fields = {"task_id": task.task_id, "type": task.type, "status": task.status}
    return TaskPart.model_validate(
        {
            **fields,
            "part": part or "response",
            "value": found.value,
            "total": found.total,
            "next_offset": found.next_offset,
            "shortened": found.notes or None,
        }
    )


def _listed(value: Any) -> Any:
    """One value for a list of one; Scale takes both."""
    return [value] if isinstance(value, str) else value


def _comma_joined(value: Any) -> Any:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


class TaskQuery(Checked):
    """What ``list_tasks`` takes."""

    project: Name | None = Field(None, description="Project name")
    batch: Name | None = Field(None, description="Batch name")
    type: Text | None = Field(None, description="E.g. imageannotation")
    status: TaskStatus | None = Field(None, description="Task status")
    customer_review_status: (
        Annotated[list[ReviewStatus], Field(min_length=1), BeforeValidator(_comma_joined)] | None
    ) = Field(None, description="Audit results")
    unique_id: Annotated[list[Text], Field(min_length=1), BeforeValidator(_listed)] | None = Field(
        None, description="Own ids"
    )
    tags: Annotated[list[Text], Field(min_length=1), BeforeValidator(_listed)] | None = Field(None, description="Tags")
    start_time: Time | None = Field(None, description="Created from, ISO 8601")
    end_time: Time | None = Field(None, description="Created until")
    completed_after: Time | None = Field(None, description="Completed from")
    completed_before: Time | None = Field(None, description="Completed until")
    updated_after: Time | None = Field(None, description="Updated from")
    updated_before: Time | None = Field(None, description="Updated until")
    include_attachment_url: bool | None = Field(None, description="Add attachment URLs")
    limited_response: bool | None = Field(None, description="Only the main fields")
    limit: Limit = Field(DEFAULT_LIMIT, description="Page size")
    next_token: str | None = Field(None, description="From the page before")  # an empty one begins anew, as at Scale

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        yield from in_order(given, "start_time", "end_time")
        yield from in_order(given, "completed_after", "completed_before")
        yield from in_order(given, "updated_after", "updated_before")

    def filter(self) -> TaskFilter:
        return TaskFilter(**self.model_dump(exclude={"limit", "next_token"}, exclude_none=True))


@tool(
    title="List tasks",
    toolset="tasks",
    risk="read",
    keywords=("find", "search", "filter", "tasks", "count", "how many", "pending", "completed", "errors", "by tag"),
    action="SCALE_AI_LIST_TASKS",
)
async def list_tasks(call: Call, query: TaskQuery) -> TaskList:
    """Find tasks, newest first, a short row each (get_task has details); total counts all matches."""
    page = await call.api.tasks.page(query.filter(), next_token=query.next_token or None, limit=query.limit)
    found = task_list(
        page,
        query.limit,
        attachments=bool(query.include_attachment_url),
        metadata=bool(query.limited_response),
    )
    named = query.project or query.batch
    return found.then("Names are exact; list_projects and list_batches have them." if named and not found.docs else "")


@tool(
    title="Add tags to a task",
    toolset="tasks",
    risk="write",
    idempotent=True,
    keywords=("tag", "mark", "label a task", "add tag"),
    action="SCALE_AI_ADD_TASK_TAGS",
)
async def add_task_tags(
    call: Call,
    *,
    task_id: TaskId,
    tags: Annotated[Tags, Field(min_length=1, description="Tags to add")],
) -> ChangedTask:
    """Add tags to a task and keep those it has. Returns the task."""
    task = await call.api.tasks.add_tags(task_id, tags)
    return changed(task, f"tags are now {quoted(', '.join(task.tags))}")


@tool(
    title="Replace a task's tags",
    toolset="tasks",
    risk="destroy",
    idempotent=True,
    consequence="Tags that are not in the new list are removed; Scale does not keep them.",
    keywords=("tag", "replace tags", "overwrite tags", "set tags"),
)
async def set_task_tags(
    call: Call,
    *,
    task_id: TaskId,
    tags: Annotated[Tags, Field(description="All tags it shall have, at most 5")],
) -> ChangedTask:
    """Replace all tags of a task; tags not in the list are lost. To add some use add_task_tags. Returns the task."""
    task = await call.api.tasks.set_tags(task_id, tags)
    return changed(task, f"tags are now {quoted(', '.join(task.tags))}")


@tool(
    title="Remove tags from a task",
    toolset="tasks",
    risk="destroy",
    idempotent=True,
    consequence="Scale does not keep the tags that are removed.",
    keywords=("untag", "remove tag", "drop tag"),
    action="SCALE_AI_DELETE_TASK_TAGS",
)
async def delete_task_tags(
    call: Call,
    *,
    task_id: TaskId,
    tags: Annotated[list[Text], Field(min_length=1, description="Tags to remove")],
) -> ChangedTask:
    """Remove tags from a task; absent ones are ignored. Returns the task."""
    task = await call.api.tasks.delete_tags(task_id, tags)
    return changed(task, f"tags are now {quoted(', '.join(task.tags))}" if task.tags else "no tags are left")


@tool(
    title="Set a task's unique id",
    toolset="tasks",
    risk="write",
    idempotent=True,
    keywords=("external id", "own id", "rename id", "reference"),
    action="SCALE_AI_UPDATE_TASK_UNIQUE_ID",
)
async def update_task_unique_id(
    call: Call, *, task_id: TaskId, unique_id: Annotated[Text, Field(description="Unique account-wide")]
) -> ChangedTask:
    """Give a task another unique_id; refused if a task has it. Returns the task."""
    task = await call.api.tasks.set_unique_id(task_id, unique_id)
    return changed(task, f"unique_id is now {quoted(task.unique_id)}")


@tool(
    title="Remove a task's unique id",
    toolset="tasks",
    risk="destroy",
    idempotent=True,
    consequence="The guard against creating this task twice is gone; another task may take the id.",
    keywords=("free id", "release id", "external id", "clear id"),
    action="SCALE_AI_DELETE_TASK_UNIQUE_ID",
)
async def delete_task_unique_id(call: Call, *, task_id: TaskId) -> ChangedTask:
    """Take a task's unique_id off, and so its guard against duplicates. Returns the task."""
    return changed(await call.api.tasks.clear_unique_id(task_id), "has no unique_id any more; another task may take it")


@tool(
    title="Replace a task's metadata",
    toolset="tasks",
    risk="write",
    idempotent=True,
    keywords=("metadata", "custom data", "own data", "annotate record"),
    action="SCALE_AI_SET_TASK_METADATA",
)
async def set_task_metadata(
    call: Call, *, task_id: TaskId, metadata: Annotated[TaskMetadata, Field(description="At most 10 kB")]
) -> ChangedTask:
    """Replace all metadata of a task; keys not given are lost (get_task shows them). Returns the task."""
    task = await call.api.tasks.set_metadata(task_id, metadata)
    return changed(task, f"metadata is now {compact(shorten(task.metadata, 800)[0])}")


class CallbackResult(ToolOutput):
    task_id: str
    success: bool
    answer: dict[str, Any] | None = None

    def text(self) -> str:
        done = "is sent again" if self.success else "was not sent"
        return f"The callback of task {self.task_id} {done}."


@tool(
    title="Send a task's callback again",
    toolset="tasks",
    risk="write",
    keywords=("webhook", "callback", "notify", "resend", "retry delivery"),
    action="SCALE_AI_POST_V1_TASK_SEND_CALLBACK",
)
async def resend_task_callback(call: Call, *, task_id: TaskId) -> CallbackResult:
    """Send the callback of a completed or errored task again. Returns success."""
    answer = shorten(await call.api.tasks.send_callback(task_id), 1_000)[0]
    return CallbackResult(task_id=task_id, success=answer.get("success") is not False, answer=answer or None)


@tool(
    title="Cancel a task",
    toolset="tasks",
    risk="destroy",
    idempotent=True,
    consequence="The task is canceled for good; work already done on it may still be billed.",
    keywords=("cancel", "abort", "stop", "withdraw", "delete task"),
)
async def cancel_task(
    call: Call,
    *,
    task_id: TaskId,
    clear_unique_id: Annotated[bool, Field(description="Free its unique_id for another task")] = False,
) -> TaskResult:
    """Cancel a pending task that nobody works on yet. It cannot be undone. Completed tasks (all of a test key) cannot
    be canceled. Returns the task."""
    task = await call.api.tasks.cancel(task_id, clear_unique_id)
    return changed(task, f"is {task.status}")

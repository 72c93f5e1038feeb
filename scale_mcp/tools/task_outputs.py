"""Tasks as the tools return them: one task, a created one, a page of them."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from scale_mcp.api import Created
from scale_mcp.models.tasks import Task, TaskPage
from scale_mcp.text import clean_value
from scale_mcp.tools.card import ToolOutput
from scale_mcp.tools.fitting import compact, outline, quoted, shorten
from scale_mcp.tools.outputs import Entry, Listing, by_columns, entries, page_budget

STRUCTURE_CHARACTERS = 10_000  # of one task's large fields before they are cut
TEXT_CHARACTERS = 1_600  # of one large field in the text
LARGE_FIELDS = ("params", "response", "metadata", "audits", "document_pages", "instruction")


class TaskResult(ToolOutput):
    """A task as Scale sends it. Large fields are cut; ``shortened`` says where."""

    task_id: str
    type: str | None = None
    status: str | None = Field(None, description="pending, completed, canceled or error")
    created_at: str | None = None
    updated_at: str | None = None
    completed_at: str | None = None
    project: str | None = None
    batch: str | None = None
    instruction: str | None = None
    unique_id: str | None = None
    tags: list[str] | None = None
    metadata: Any = None
    params: dict[str, Any] | None = None
    response: Any = None
    customer_review_status: str | None = None
    is_test: bool | None = None
    callback_url: str | None = None
    callback_succeeded: bool | None = None
    shortened: list[str] | None = Field(None, description="What was cut above")

    def text(self) -> str:
        lines = [f"{self.headline()} is {self.status or 'in an unknown state'}."]
        lines += [f"{name}: {quoted(value, 200)}" for name, value in self._facts().items()]
        if self.instruction:
            lines.append(f"instruction: {quoted(self.instruction)}")
        for name in ("params", "response", "metadata"):
            if value := getattr(self, name):
                lines.append(f"{name}: {_brief(value)}")
        if self.shortened:
            lines.append(f"Shortened: {'; '.join(self.shortened)}. For more call get_task with `part` and `offset`.")
        return "\n".join(lines)

    def headline(self) -> str:
        return f"{self.type} task {self.task_id}" if self.type else f"Task {self.task_id}"

    def _facts(self) -> dict[str, Any]:
        names = ("project", "batch", "unique_id", "created_at", "completed_at", "customer_review_status")
        facts = {name: value for name in names if (value := getattr(self, name))}
        if self.tags:
            facts["tags"] = ", ".join(self.tags)
        if self.callback_succeeded is False:
            facts["callback"] = "failed"
        return facts


def _brief(value: Any) -> str:
    text = compact(value)
    return text if len(text) <= TEXT_CHARACTERS else f"{outline(value)}, begins {text[: TEXT_CHARACTERS // 2]}…"


def task_fields(task: Task) -> dict[str, Any]:
    """The task as it came, cleaned, its large fields cut to share ``STRUCTURE_CHARACTERS``."""
    wire = task.to_wire()
    large, notes = shorten({name: wire[name] for name in LARGE_FIELDS if name in wire}, STRUCTURE_CHARACTERS)
    small, more_notes = shorten({name: value for name, value in wire.items() if name not in large}, 6_000)
    return {**small, **large, "shortened": notes + more_notes or None}


class ChangedTask(TaskResult):
    """A task after a change, told by what was changed."""

    done: str = Field(description="What was done")

    def text(self) -> str:
        return f"{self.headline()}: {self.done}."


def changed(task: Task, done: str) -> ChangedTask:
    return ChangedTask.model_validate({**task_fields(task), "done": done})


class CreatedTask(TaskResult):
    outcome: Literal["created", "created (recovered)"] = Field(
        "created", description="recovered: found by unique_id after the answer was lost"
    )
    unique_id_assigned: bool = Field(default=False, description="unique_id was made up here")

    def text(self) -> str:
        lines = [f"{self.outcome}: {self.headline()}, status {self.status}."]
        if self.unique_id:
            origin = " (assigned here)" if self.unique_id_assigned else ""
            lines.append(f"unique_id: {quoted(self.unique_id, 200)}{origin}; repeating the create with it is safe.")
        lines += [f"{name}: {quoted(value, 200)}" for name in ("project", "batch") if (value := getattr(self, name))]
        return "\n".join(lines)


def created_task(created: Created) -> CreatedTask:
    outcome = "created (recovered)" if created.recovered else "created"
    fields = {**task_fields(created.task), "outcome": outcome, "unique_id_assigned": created.unique_id_assigned}
    made = CreatedTask.model_validate(fields)
    if made.status == "completed" and not created.recovered:
        return made.then("Completed at once with a made-up answer, as test keys do; get_task shows it.")
    if made.batch:
        return made.then("Next: get_batch_status; a batch in staging waits for finalize_batch.")
    return made.then("Next: get_task, which has the response once people are done.")


class TaskPart(TaskResult):
    """A task reduced to the part that was asked for."""

    part: str | None = None
    value: Any = None
    total: int | None = Field(None, description="Items in the part")
    next_offset: int | None = None

    def text(self) -> str:
        if self.part is None:
            return super().text()
        begun = compact(self.value)
        lines = [f"{self.headline()}, {self.part}: {begun[: 4 * TEXT_CHARACTERS]}"]
        if self.next_offset is not None:
            lines.append(f"Up to {self.next_offset} of {self.total}; go on with offset {self.next_offset}.")
        return "\n".join(lines)


class TaskEntry(Entry):
    task_id: str
    status: str | None = None
    type: str | None = None
    project: str | None = None
    batch: str | None = None
    created_at: str | None = None
    unique_id: str | None = None
    tags: list[str] | None = None
    customer_review_status: str | None = None


class TaskList(Listing):
    nouns: ClassVar[tuple[str, str]] = ("task", "tasks")

    docs: list[TaskEntry]
    limit: int | None = None
    next_token: str | None = None


# By importance: when a page gets too long, the last ones go first.
COLUMNS = ("task_id", "status", "type", "unique_id", "created_at", "project", "batch", "customer_review_status", "tags")


def task_list(page: TaskPage, limit: int, *, attachments: bool, metadata: bool) -> TaskList:
    """A page of tasks. ``attachments`` and ``metadata`` were asked for, so they stay whatever they cost."""
    rows = entries(page.docs, (*COLUMNS, "metadata") if metadata else COLUMNS)
    if attachments:
        for row, task in zip(rows, page.docs, strict=True):
            row |= _attachment_urls(task)
    keep = {name for row in rows for name in row if name not in COLUMNS}
    following = page.next_token if page.has_more or page.next_token else None
    fields: dict[str, Any] = {
        "total": page.total,
        "limit": limit,
        "has_more": bool(following) or page.has_more,
        "next_token": following,
    }
    if following:
        fields["note"] = f"More: go on with the same filters and next_token {following}"
    budget = page_budget(limit) * (3 if keep else 1)
    return by_columns(TaskList, rows, budget, keep, **fields)


def _attachment_urls(task: Task) -> dict[str, Any]:
    """What ``include_attachment_url`` adds. Scale does not document the field's name, so any that fits is taken."""
    wanted: dict[str, Any] = {name: task.params.get(name) for name in ("attachment", "attachments")}
    wanted |= {name: value for name, value in (task.model_extra or {}).items() if "attachment" in name.lower()}
    shown: dict[str, Any] = clean_value(shorten({name: value for name, value in wanted.items() if value}, 1_200)[0])
    return shown

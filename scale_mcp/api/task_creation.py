"""Creating a task exactly once.

Every create carries a unique_id, the caller's or one that we assign, and it is the same one on every attempt: Scale
takes it once only. So a lost answer can be followed by another attempt, and a conflict that this one meets is settled
by looking the task up. The sources of doubt and what becomes of each:

    409 on the first attempt              Conflict: the id belongs to another task
    409 after an attempt of our own       look up, compare: the same → recovered, other content → Conflict
    attempts used up, time over, no JSON  look up, compare: found → recovered, not found → the error or OutcomeUnknown
    any doubt without a unique_id         OutcomeUnknown: sent once only
"""

from __future__ import annotations

import uuid
from typing import Any, Protocol

from scale_mcp.api.client import Client
from scale_mcp.api.decode import one
from scale_mcp.api.errors import Conflict, NotFound, ScaleError
from scale_mcp.api.operation import Operation
from scale_mcp.api.recovery import is_covered, settle
from scale_mcp.api.results import Created
from scale_mcp.api.retry import Repeat
from scale_mcp.models.tasks import Task, TaskFilter, TaskPage
from scale_mcp.text import one_line

OUR_PREFIX = "scale-mcp-"  # of the unique ids that we assign

# What Scale keeps beside a task's params, or does not give back at all.
_NOT_IN_PARAMS = {
    *("callback_url", "instruction", "metadata", "unique_id", "project", "batch", "tags", "priority", "urgency"),
    *("clear_unique_id_on_error", "project_version"),
}


class TaskToCreate(Protocol):
    """What creating needs to know of a request: the type, which is the last word of the path, and the body."""

    @property
    def task_type(self) -> str: ...

    def to_wire(self) -> dict[str, Any]: ...


class EvaluationToCreate(Protocol):
    """An evaluation task's request names its type itself."""

    @property
    def type(self) -> str: ...

    def to_wire(self) -> dict[str, Any]: ...


async def create_task(client: Client, request: TaskToCreate, *, assign_unique_id: bool) -> Created:
    """Create one task; see the module's text for what happens when answers are lost."""
    body = dict(request.to_wire())
    assigned = not body.get("unique_id") and assign_unique_id
    if assigned:
        body["unique_id"] = f"{OUR_PREFIX}{uuid.uuid4()}"
    unique_id: str | None = body.get("unique_id")
    operation = Operation(
        "POST",
        "/task/{task_type}",
        {"task_type": request.task_type},
        body=body,
        repeat=Repeat.RECOVER if unique_id else Repeat.ONCE,
        find_out="list the newest tasks of the project or batch and compare.",
    )
    try:
        return Created(await client.call(operation, one(Task)), recovered=False, unique_id_assigned=assigned)
    except ScaleError as error:
        failure = error
    if unique_id is None:
        raise failure
    if isinstance(failure, Conflict) and not failure.in_doubt:
        raise await _with_existing_task(client, failure, unique_id)
    if not failure.in_doubt:
        raise failure
    task = await _settled(client, failure, unique_id, None if assigned else (request.task_type, body))
    return Created(task, recovered=True, unique_id_assigned=assigned)


async def _settled(
    client: Client, failure: ScaleError, unique_id: str, sent: tuple[str, dict[str, Any]] | None
) -> Task:
    """The task after all, or the error that tells the truth. ``sent`` is None where nobody else can have the id."""
    quoted = one_line(unique_id, 300)
    return await settle(
        failure,
        look_up=lambda: _find(client, unique_id, failure),
        difference=lambda task: None if sent is None else _difference(task, *sent),
        name=f'task with unique_id "{quoted}"',
        find_out=f'To find out, list the tasks with unique_id "{quoted}"; to create it, repeat the request with '
        "that same unique_id, which cannot create it twice.",
        options=client.options,
    )


async def _find(client: Client, unique_id: str, failure: ScaleError) -> Task | None:
    """The task with this unique_id: by the list, or by the id that a conflict names."""
    query = TaskFilter(unique_id=[unique_id]).to_query() | {"limit": 10}
    page = await client.call(Operation("GET", "/tasks", query=query), one(TaskPage))
    candidates = page.docs
    named = failure.existing_task_id if isinstance(failure, Conflict) else None
    if named and not any(task.unique_id == unique_id for task in candidates):
        try:
            candidates = [await client.call(Operation("GET", "/task/{task_id}", {"task_id": named}), one(Task))]
        except NotFound:
            return None
    return next((task for task in candidates if task.unique_id == unique_id), None)


async def _with_existing_task(client: Client, conflict: Conflict, unique_id: str) -> Conflict:
    """The conflict with the id of the task that holds the unique_id, looked up when Scale did not name it."""
    task_id = conflict.existing_task_id
    if task_id is None:
        try:
            task = await _find(client, unique_id, conflict)
        except ScaleError:
            task = None
        task_id = task.task_id if task else None
    if task_id:
        if task_id not in conflict.message:
            conflict.message += f" The unique_id belongs to task ({task_id})."
        conflict.next_step = f"Use task {task_id}, or give this one another unique_id."
    return conflict


def _difference(task: Task, task_type: str, body: dict[str, Any]) -> str | None:
    """The name of the first part of ``body`` that the stored task does not have."""
    if task.type not in (None, task_type):
        return "type"
    for name in ("project", "batch"):
        if body.get(name) and body[name] != getattr(task, name):
            return name
    if not _says(task.instruction, body.get("instruction")):
        return "instruction"
    for name, value in body.items():
        if name not in _NOT_IN_PARAMS and not is_covered({name: value}, task.params):
            return name
    return None


def _says(stored: str | None, sent: str | None) -> bool:
    """Whether an instruction holds what was sent. A project appends its own text to it."""
    return not sent or not stored or " ".join(sent.split()) in " ".join(stored.split())

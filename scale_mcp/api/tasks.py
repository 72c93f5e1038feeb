"""Tasks: safe creation, reading, upkeep."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from scale_mcp.api.client import Client
from scale_mcp.api.decode import as_object, one
from scale_mcp.api.errors import Conflict, InvalidRequest, NotFound
from scale_mcp.api.operation import Operation
from scale_mcp.api.pagination import by_token
from scale_mcp.api.results import Created, ResponseStream
from scale_mcp.api.retry import Repeat
from scale_mcp.api.task_creation import EvaluationToCreate, TaskToCreate, create_task
from scale_mcp.api.transfer import download
from scale_mcp.models.quality import QualityTask
from scale_mcp.models.tasks import Task, TaskFilter, TaskPage

if TYPE_CHECKING:
    from collections.abc import Sequence

# Sources spell this path in two ways.
CALLBACK_PATHS = ("/task/{task_id}/send_callback", "/task/{task_id}/send-callback")


class Tasks:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def create(self, request: TaskToCreate, *, assign_unique_id: bool = True) -> Created:
        """Create one task exactly once.

        With a unique_id (the request's, or one that we assign) it is safe to repeat: every attempt carries the same
        one, and a conflict that a repeat meets is settled by looking the task up. Without one it is sent once only.

        Raises Conflict when the unique_id belongs to another task, OutcomeUnknown when neither the creation nor the
        look-up could say what happened.
        """
        return await create_task(self._client, request, assign_unique_id=assign_unique_id)

    async def create_evaluation(self, request: EvaluationToCreate) -> QualityTask:
        """Create an evaluation task. It cannot be looked up afterwards, so it is sent once only."""
        return await self._client.call(
            Operation(
                "POST",
                "/evaluation_tasks/{task_type}",
                {"task_type": request.type},
                body=request.to_wire(),
                repeat=Repeat.ONCE,
                find_out="look at the project's evaluation tasks in Scale's dashboard.",
            ),
            one(QualityTask),
        )

    async def get(self, task_id: str) -> Task:
        return await self._client.call(Operation("GET", "/task/{task_id}", {"task_id": task_id}), one(Task))

    async def cancel(self, task_id: str, clear_unique_id: bool = False) -> Task:
        """Cancel a task that nobody works on yet. ``clear_unique_id`` frees its unique_id for another task."""
        operation = Operation(
            "POST",
            "/task/{task_id}/cancel",
            {"task_id": task_id},
            query={"clear_unique_id": True} if clear_unique_id else {},
            repeat=Repeat.RECOVER,
        )
        try:
            return await self._client.call(operation, one(Task))
        except (InvalidRequest, Conflict) as error:
            if not error.in_doubt:
                raise
            task = await self.get(task_id)  # our first attempt may have been the one that cancelled it
            if task.status == "canceled" and not (clear_unique_id and task.unique_id):
                return task
            raise error from None

    async def add_tags(self, task_id: str, tags: Sequence[str]) -> Task:
        """Add tags; those that are there already are ignored."""
        return await self._tags("PUT", task_id, tags)

    async def set_tags(self, task_id: str, tags: Sequence[str]) -> Task:
        """Replace all tags."""
        return await self._tags("POST", task_id, tags)

    async def delete_tags(self, task_id: str, tags: Sequence[str]) -> Task:
        """Remove tags; absent ones are ignored."""
        return await self._tags("DELETE", task_id, tags)

    async def _tags(self, method: str, task_id: str, tags: Sequence[str]) -> Task:
        operation = Operation(method, "/task/{task_id}/tags", {"task_id": task_id}, body=list(tags))
        return await self._client.call(operation, one(Task))

    async def set_unique_id(self, task_id: str, unique_id: str) -> Task:
        """Give a task a unique_id, in place of the one it may have. Raises Conflict when another task has it."""
        operation = Operation(
            "POST",
            "/task/{task_id}/unique_id",
            {"task_id": task_id},
            body={"unique_id": unique_id},
            repeat=Repeat.RECOVER,
        )
        try:
            return await self._client.call(operation, one(Task))
        except Conflict as error:
            if not error.in_doubt:
                raise
            task = await self.get(task_id)  # the conflict may be with our own first attempt
            if task.unique_id == unique_id:
                return task
            raise error from None

    async def clear_unique_id(self, task_id: str) -> Task:
        """Take the unique_id away from a task, so that another one may have it."""
        return await self._client.call(
            Operation("DELETE", "/task/{task_id}/unique_id", {"task_id": task_id}), one(Task)
        )

    async def set_metadata(self, task_id: str, metadata: dict[str, Any]) -> Task:
        """Replace the whole metadata."""
        return await self._client.call(
            Operation("POST", "/task/{task_id}/setMetadata", {"task_id": task_id}, body=metadata), one(Task)
        )

    async def audit(self, task_id: str, accepted: bool, comments: str | None = None) -> dict[str, Any]:
        """Accept or reject a completed task. The answer is often empty: Scale may say just OK."""
        operation = Operation(
            "POST",
            "/task/{task_id}/audit",
            {"task_id": task_id},
            body={"accepted": accepted, "comments": comments},
            repeat=Repeat.ONCE,
            find_out="get the task and look at its audits and customer_review_status.",
            plain_answer=True,
        )
        return await self._client.call(operation, as_object)

    async def send_callback(self, task_id: str) -> dict[str, Any]:
        """Send the callback of a completed or failed task again."""
        for template in CALLBACK_PATHS:
            operation = Operation(
                "POST",
                template,
                {"task_id": task_id},
                repeat=Repeat.ONCE,
                find_out="look whether your callback receiver got it, or get the task and look at callback_succeeded.",
                plain_answer=True,
            )
            try:
                return await self._client.call(operation, as_object)
            except NotFound as error:
                missing = error
            if "task with that id" in (missing.scale_message or "").lower():
                break  # the path is known, the task is not
        raise missing

    async def page(self, filter: TaskFilter, next_token: str | None = None, limit: int = 100) -> TaskPage:  # noqa: A002
        """One page of tasks, newest first; ``limit`` is from 1 to 100. ``next_token`` is the one of the page before."""
        query = {**filter.to_query(), "limit": limit, "next_token": next_token or None}
        return await self._client.call(Operation("GET", "/tasks", query=query), one(TaskPage))

    def iterate(self, filter: TaskFilter) -> AsyncIterator[Task]:  # noqa: A002
        """All tasks of a filter, newest first, one page in memory at a time."""

        async def turn(token: str | None) -> tuple[list[Task], str | None, bool]:
            page = await self.page(filter, token)
            return page.docs, page.next_token, page.has_more

        return by_token(turn)

    async def count(self, filter: TaskFilter) -> int:  # noqa: A002
        """How many tasks a filter has."""
        page = await self.page(filter, limit=1)
        return page.total if page.total is not None else len(page.docs)

    def response(self, task_id: str, uuid: str) -> AbstractAsyncContextManager[ResponseStream]:
        """A result file of a task, as a stream. Needs the account's live key where Scale protects its result URLs."""
        segments = {"task_id": task_id, "uuid": uuid}
        return download(self._client, Operation("GET", "/task/{task_id}/response_url/{uuid}", segments))

"""What can be done with a task: create, cancel, tag, audit, … Every method is one transaction of its request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scale_mcp.sandbox import decisions, engine, ids, params
from scale_mcp.sandbox.accounts import Account
from scale_mcp.sandbox.batches import Batch
from scale_mcp.sandbox.http import ApiError, invalid, required
from scale_mcp.sandbox.projects import Project
from scale_mcp.sandbox.task_lists import TaskList
from scale_mcp.sandbox.task_query import TaskQuery
from scale_mcp.sandbox.task_store import TaskRecord, TaskStore
from scale_mcp.sandbox.task_types import TASK_TYPES, TaskType

if TYPE_CHECKING:
    from scale_mcp.sandbox.sandbox import Sandbox


def task_type(name: str) -> TaskType:
    """The type of that name, or 404."""
    kind = TASK_TYPES.get(name)
    if kind is None:
        raise ApiError(decisions.UNKNOWN_TASK_TYPE.value, f'There is no task type "{name}".')
    return kind


class Tasks:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.store = TaskStore(sandbox.store)

    def get(self, account: Account, task_id: str) -> TaskRecord:
        """The account's task, or 404; ids that are no ids are simply unknown."""
        record = self.store.find(self._sandbox.account_no(account.id), task_id)
        if record is None:
            raise ApiError(404, "Task with that ID not found.")
        return record

    def select(self, query: TaskQuery) -> TaskList:
        """The tasks that match a query."""
        return TaskList(self._sandbox.store, self.store.counters, query)

    def save(self, record: TaskRecord) -> TaskRecord:
        """Keep a change made now (a test task says that it was done 50 ms later than it was)."""
        record.document["updated_at"] = max(record.document["updated_at"], self._sandbox.clock.iso())
        self.store.save(record)
        return record

    # Creation

    def create(self, account: Account, type_name: str, body: dict[str, Any], key: str | None = None) -> TaskRecord:
        """A new task from a request's body. ``key`` is its Idempotency-Key.

        400 for what is missing or wrong, 402 for a type that is not enabled, 404 for an unknown type, project, batch
        or source task, 409 for a unique_id or key in use.
        """
        kind = task_type(type_name)
        if kind.enterprise and not self._sandbox.options.enterprise:
            raise ApiError(402, f'The task type "{kind.name}" is not enabled for your account.')
        account_no = self._sandbox.account_no(account.id)
        self._check_key(account_no, key)
        params.check_common(body)
        batch = self._sandbox.batches.get(account, body["batch"]) if "batch" in body else None
        project = self._project(account, kind, body, batch)
        version, merged = self._merged(project, body)
        params.check(kind, merged)
        self._check_place(project, batch)
        self._check_source_task(account_no, kind, merged)
        self._check_unique_id(account_no, merged.get("unique_id"))
        record = self._record(account, account_no, kind, merged, project, batch, version)
        self._begin(record, account, batch)
        if key:
            self.store.remember_key(account_no, key, record.task_id)
        return record

    def _check_key(self, account_no: int, key: str | None) -> None:
        first = self.store.id_of_key(account_no, key) if key else None
        if first is not None:
            raise ApiError(409, decisions.IDEMPOTENCY_KEY_REUSED.value.format(key=key, task_id=first))

    def _project(self, account: Account, kind: TaskType, body: dict[str, Any], batch: Batch | None) -> Project | None:
        """The project named, or the batch's. 400 when they differ, or when the project is for another type."""
        name: str | None = body.get("project")
        if batch is not None and name not in (None, batch.project):
            text = f'The batch "{batch.name}" belongs to the project "{batch.project}", not to "{name}".'
            raise ApiError(decisions.BATCH_OF_OTHER_PROJECT.value, text)
        name = batch.project if batch is not None else name
        if name is None:
            return None
        project = self._sandbox.projects.get(account, name)
        if project.type != kind.name:
            text = f'The project "{project.name}" is for tasks of the type {project.type}, not {kind.name}.'
            raise ApiError(decisions.PROJECT_OF_OTHER_TYPE.value, text)
        return project

    def _merged(self, project: Project | None, body: dict[str, Any]) -> tuple[int | None, dict[str, Any]]:
        """The project's params of the wanted version below the request, and the version used."""
        if project is None:
            return None, dict(body)
        wanted = params.whole(body.get("project_version"))
        if wanted == -1:
            return None, {**body, "project": project.name}
        found = self._sandbox.projects.params(project, wanted)
        if found is None:
            raise invalid(f'the project "{project.name}" has no version {wanted} of its params')
        version, inherited = found
        merged = {**inherited, **body, "project": project.name}
        own, theirs = body.get("instruction"), inherited.get("instruction")
        if own and theirs and project.flavour != "rapid":
            merged["instruction"] = own + decisions.INSTRUCTION_JOINT.value + theirs
        return version, merged

    @staticmethod
    def _check_place(project: Project | None, batch: Batch | None) -> None:
        if project is not None and project.flavour == "rapid" and batch is None:
            raise required("batch")
        if batch is not None and not batch.takes_tasks:
            raise ApiError(400, f'The batch "{batch.name}" is {batch.status} and takes no more tasks.')

    def _check_source_task(self, account_no: int, kind: TaskType, merged: dict[str, Any]) -> None:
        """Lidar segmentation may start from a completed lidar annotation task."""
        if kind.name != "lidarsegmentation" or "lidar_task" not in merged:
            return
        source = self.store.find(account_no, str(merged["lidar_task"]))
        if source is None:
            raise ApiError(404, "Task with that ID not found.")
        if source.document["type"] != "lidarannotation" or source.status != "completed":
            raise invalid('"lidar_task" must be a completed lidarannotation task')

    def _check_unique_id(self, account_no: int, unique_id: str | None, but: str | None = None) -> None:
        holder = self.store.id_of_unique(account_no, unique_id) if unique_id else None
        if holder not in (None, but):
            raise ApiError(409, f'The unique_id ("{unique_id}") is already used for a different task ({holder}).')

    def _record(
        self,
        account: Account,
        account_no: int,
        kind: TaskType,
        merged: dict[str, Any],
        project: Project | None,
        batch: Batch | None,
        version: int | None,
    ) -> TaskRecord:
        sandbox = self._sandbox
        now = sandbox.clock.now()
        filled = params.with_defaults(kind, merged)
        own = {name: value for name, value in filled.items() if name not in params.OF_THE_TASK}
        document: dict[str, Any] = {"task_id": ids.object_id(now), "created_at": sandbox.clock.iso(now)}
        if filled.get("callback_url"):
            document["callback_url"] = filled["callback_url"]
        document |= {"type": kind.name, "status": "pending"}
        if "instruction" in filled:
            document["instruction"] = filled["instruction"]
        document |= {
            "params": own,
            "is_test": account.is_test,
            "urgency": filled.get("urgency", "standard"),
            "metadata": filled.get("metadata", {}),
        }
        if project is not None:  # decisions.PROJECTLESS: nothing stands for none
            document["project"] = project.name
        if batch is not None:
            document["batch"] = batch.name
        for name in ("unique_id", "clear_unique_id_on_error"):
            if name in filled:
                document[name] = filled[name]
        if filled.get("tags"):
            document["tags"] = params.tags(filled["tags"])
        if "priority" in filled:
            document["priority"] = params.whole(filled["priority"])
        if version is not None:
            document["project_param_version"] = version
        document |= {"work_started": False, "updated_at": document["created_at"]}
        return TaskRecord(
            seq=0,
            account_no=account_no,
            project_no=project.no if project is not None else 0,
            batch_no=batch.no if batch is not None else 0,
            lane=engine.lane_of(project, batch),
            ordinal=self._next_ordinal(account_no),
            document=document,
        )

    def _next_ordinal(self, account_no: int) -> int:
        sql = "UPDATE accounts SET tasks = tasks + 1 WHERE no = ? RETURNING tasks"
        return int(self._sandbox.store.value(sql, (account_no,)))

    def _begin(self, record: TaskRecord, account: Account, batch: Batch | None) -> None:
        """Live: wait for a worker. Test: be done at once, in the same answer."""
        sandbox, document = self._sandbox, record.document
        now = sandbox.clock.now()
        failure = sandbox.attachments.failure(account.id, document["type"], document["params"])
        if batch is not None and batch.status == "completed":
            sandbox.batches.set_status(batch, decisions.TASK_FOR_COMPLETED_BATCH.value)
        if not account.is_test:
            record.queue_rank = None if failure else sandbox.engine.rank(document, batch)
            self.store.insert(record)
            if failure:
                sandbox.engine.expect_failure(record, failure, now)
            elif record.queue_rank is not None:
                sandbox.engine.expect(record.account_no, now)
            return
        done = sandbox.clock.iso(now + decisions.TEST_TASK_DURATION.value)
        document["updated_at"] = done
        if failure:
            engine.fail(document, failure)
        else:
            document |= {"status": "completed", "completed_at": done, "work_started": True}
            sandbox.engine.answer(record, None)
        self.store.insert(record)
        sandbox.deliveries.of_task(record, record.status, now)
        sandbox.engine.check_batch(record.batch_no, now)

    # Changes

    def cancel(self, record: TaskRecord, clear_unique_id: bool = False) -> TaskRecord:
        """Only what nobody has begun to work on can be canceled; a canceled task stays so, with 200."""
        document = record.document
        if record.status not in ("pending", "canceled"):
            raise ApiError(decisions.CANCEL_ERROR_TASK.value, f"The task is {record.status} and cannot be canceled.")
        if record.status == "pending" and document.get("work_started"):
            raise ApiError(400, "The task is in progress and cannot be canceled.")
        if clear_unique_id:
            document.pop("unique_id", None)
        document["status"] = "canceled"  # decisions.CALLBACK_OF_CANCELLATION: nobody is called
        record.queue_rank = None
        self.save(record)
        self._sandbox.engine.check_batch(record.batch_no, self._sandbox.clock.now())
        return record

    def set_tags(self, record: TaskRecord, tags: list[str]) -> TaskRecord:
        """These tags and no others (decisions.EMPTY_TAGS when there are none)."""
        record.document["tags"] = params.tags(tags)
        return self.save(record)

    def set_unique_id(self, record: TaskRecord, unique_id: str | None) -> TaskRecord:
        """Give the task this unique_id, or (None) take it away. 409 when another task has it."""
        self._check_unique_id(record.account_no, unique_id, but=record.task_id)
        if unique_id is None:
            record.document.pop("unique_id", None)
        else:
            record.document["unique_id"] = unique_id
        return self.save(record)

    def set_metadata(self, record: TaskRecord, metadata: dict[str, Any]) -> TaskRecord:
        record.document["metadata"] = params.metadata(metadata)
        return self.save(record)

    def audit(self, record: TaskRecord, accepted: bool, comments: str | None) -> TaskRecord:
        """The customer's verdict on a completed task, which calls back and may have it done again."""
        if record.status != "completed":
            raise ApiError(400, "Only completed tasks can be audited.")
        sandbox, now = self._sandbox, self._sandbox.clock.now()
        result = "accepted" if accepted else "rejected"
        audit = {
            "audited_by": decisions.AUDITOR.value,
            "audited_at": sandbox.clock.iso(now),
            "audit_time_secs": 0,
            "audit_result": result,
            "audit_source": "customer",
        }
        if comments is not None:
            audit["comments"] = comments
        record.document["customer_review_status"] = result
        record.document["audits"] = [*record.document.get("audits", []), audit]
        self.save(record)
        if record.batch_no:
            sandbox.batches.note_audit(record.batch_no, now)
        sandbox.deliveries.of_task(record, "audit", now)
        is_live = not record.document["is_test"]
        if is_live and not accepted and sandbox.engine.dice(record, "redo").random() < sandbox.options.redo_rate:
            sandbox.engine.recall(record, now + decisions.REDO_DELAY.value)
        return record

    def send_callback(self, record: TaskRecord) -> None:
        """Call back once more about a task that is completed or in error."""
        if record.status not in ("completed", "error"):
            raise ApiError(decisions.RESEND_WITHOUT_CALLBACK.value, "The task is neither completed nor in error.")
        if not record.document.get("callback_url"):
            raise ApiError(decisions.RESEND_WITHOUT_CALLBACK.value, "The task has no callback_url.")
        self._sandbox.deliveries.of_task(record, "resend", self._sandbox.clock.now())

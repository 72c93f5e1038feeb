"""The simulated workforce at work: who takes which task when, and what happens when it is done.

A discrete-event simulation on the agenda. A waiting task is a row with a ``queue_rank``; workers who are free take the
lowest rank first and the oldest within it. Tasks that not everybody may work on wait in lanes of their own. At most one
event per busy worker is planned, however long the queue is.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Any

from scale_mcp.sandbox import decisions
from scale_mcp.sandbox.agenda import Event
from scale_mcp.sandbox.batches import Batch
from scale_mcp.sandbox.params import whole
from scale_mcp.sandbox.projects import Project
from scale_mcp.sandbox.task_store import BASE, TaskRecord
from scale_mcp.sandbox.workforce import Worker, duration, hire, make_pool

if TYPE_CHECKING:
    from scale_mcp.sandbox.answers import Answer
    from scale_mcp.sandbox.sandbox import Sandbox

SCHEMA = """
CREATE TABLE IF NOT EXISTS assignments (
    account_no INTEGER NOT NULL,
    worker TEXT NOT NULL,
    task_seq INTEGER NOT NULL,
    started_at REAL NOT NULL,
    PRIMARY KEY (account_no, worker)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS assignments_by_task ON assignments (task_seq);
"""

RELEASED_AT_ONCE = 1000

logger = logging.getLogger(__name__)


class Engine:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox, self._store = sandbox, sandbox.store
        self.workers: list[Worker] = make_pool(sandbox.options.workers, sandbox.options.seed)
        self._by_email = {worker.email: worker for worker in self.workers}
        sandbox.agenda.on("release", self._on_release)
        sandbox.agenda.on("dispatch", self._on_dispatch)
        sandbox.agenda.on("task_done", self._on_done)
        sandbox.agenda.on("attachment_failed", self._on_attachment_failed)
        sandbox.agenda.on("recall", self._on_recall)

    # The queue

    def rank(self, document: dict[str, Any], batch: Batch | None) -> int | None:
        """Where a pending task stands in the queue; None while its batch is not finalized."""
        if batch is not None and batch.status == "staging":
            return None
        lowest, highest = decisions.PRIORITY_WITHOUT_ONE.value, 30
        of_batch: float = batch.priority if batch is not None and batch.priority is not None else lowest
        of_task = whole(document.get("priority")) or lowest
        if batch is not None and batch.flavour == "studio":
            place = self._sandbox.studio.place(batch.no)
            if place is not None:
                return (place - decisions.STUDIO_PLACES_FIRST.value) * 100 + (highest - of_task)
            of_batch += 0.5 * batch.calibration  # without places: calibration batches first, then the oldest
        return round((highest - of_batch) * 100) + (highest - of_task)

    def expect(self, account_no: int, at: float) -> None:
        """A task began to wait at this time: somebody looks at the queue after the usual delay."""
        self._plan_dispatch(account_no, at + decisions.PICKUP_DELAY.value)

    def _plan_dispatch(self, account_no: int, at: float) -> None:
        self._sandbox.agenda.schedule(at, "dispatch", {"account": account_no}, key=f"dispatch:{account_no}")

    def release(self, account_no: int, batch: Batch, at: float) -> None:
        """Put a batch's pending tasks in the queue, or in their new place in it (finalized, prioritized)."""
        self._plan_release(account_no, batch.no, 0, at)
        self.expect(account_no, at)

    def _plan_release(self, account_no: int, batch_no: int, after: int, at: float) -> None:
        payload = {"account": account_no, "batch": batch_no, "after": after}
        self._sandbox.agenda.schedule(at, "release", payload)

    def _on_release(self, event: Event) -> None:
        """Release so many tasks that nobody has to wait for it, and plan the next ones."""
        account_no, batch_no = event.payload["account"], event.payload["batch"]
        batch = self._sandbox.batches.by_no(batch_no)
        rows = self._store.query(
            "SELECT seq, queue_rank, json_extract(document, '$.priority') AS priority,"
            " json_extract(document, '$.work_started') AS started FROM tasks INDEXED BY tasks_by_batch"
            " WHERE batch_no = ? AND status = 'pending' AND seq > ? ORDER BY seq LIMIT ?",
            (batch_no, event.payload["after"], RELEASED_AT_ONCE),
        )
        ranks = [(self.rank({"priority": row["priority"]}, batch), row["seq"]) for row in rows if not row["started"]]
        self._store.execute_many("UPDATE tasks SET queue_rank = ? WHERE seq = ?", ranks)
        if len(rows) == RELEASED_AT_ONCE:
            self._plan_release(account_no, batch_no, rows[-1]["seq"], event.at)

    def _on_dispatch(self, event: Event) -> None:
        self._dispatch(event.payload["account"], event.at)

    def _dispatch(self, account_no: int, at: float) -> None:
        """Give waiting tasks to free workers; look again later when there are workers left and tasks too fresh."""
        lanes = self._lanes(account_no)
        rows = self._store.query("SELECT worker FROM assignments WHERE account_no = ?", (account_no,))
        busy = {row["worker"] for row in rows}
        ready_ms = round((at - decisions.PICKUP_DELAY.value) * 1000)
        while True:
            heads: list[tuple[int, int, int, list[str]]] = []
            for lane, people in lanes.items():
                free = [email for email in people if email not in busy]
                row = self._first_waiting(account_no, lane) if free else None
                if row is not None:
                    heads.append((row["queue_rank"], row["seq"], row["created_ms"], free))
            if not heads:
                return
            _, seq, created_ms, free = min(heads)
            if created_ms > ready_ms:
                self._plan_dispatch(account_no, max(at, created_ms / 1000 + decisions.PICKUP_DELAY.value))
                return
            record = self._sandbox.tasks.store.by_seq(seq)
            assert record is not None
            email = free[self.dice(record, "choice").randrange(len(free))]
            busy.add(email)
            self._assign(record, self.worker(email), at)

    def _first_waiting(self, account_no: int, lane: int) -> Any:
        return self._store.one(
            "SELECT seq, created_ms, queue_rank FROM tasks INDEXED BY tasks_waiting"
            " WHERE account_no = ? AND lane = ? AND queue_rank IS NOT NULL ORDER BY queue_rank, seq LIMIT 1",
            (account_no, lane),
        )

    def _lanes(self, account_no: int) -> dict[int, list[str]]:
        """The lanes in which tasks may be waiting, and who works in each (decisions.STUDIO_LABELERS)."""
        everybody = [worker.email for worker in self.workers]
        found = {0: everybody}
        account_id = self._sandbox.account_id(account_no)
        rows = self._store.query(
            "SELECT p.no AS project_no, p.name, b.no AS batch_no FROM projects p LEFT JOIN batches b"
            " ON b.account_id = p.account_id AND b.project_no = p.no AND b.status = 'in_progress'"
            " WHERE p.account_id = ? AND p.flavour = 'studio'",
            (account_id,),
        )
        for project_no, name, batch_no in rows:
            labelers = self._sandbox.studio.labelers
            found[-project_no] = labelers(account_id, name, None) or everybody
            if batch_no is not None:
                people = labelers(account_id, name, batch_no)
                found[batch_no] = everybody if people is None else people
        return found

    def worker(self, email: str) -> Worker:
        """The simulated worker behind an e-mail: of the pool, or a teammate, of the same making as the pool."""
        return self._by_email.get(email) or hire(email, self._sandbox.options.seed)

    def _assign(self, record: TaskRecord, worker: Worker, at: float) -> None:
        record.document |= {"work_started": True, "updated_at": self._sandbox.clock.iso(at)}
        record.queue_rank = None
        self._sandbox.tasks.store.save(record)
        self._store.execute(
            "INSERT INTO assignments VALUES (?, ?, ?, ?)", (record.account_no, worker.email, record.seq, at)
        )
        seconds = duration(record.document, worker, self.dice(record, "duration"))
        payload = {"account": record.account_no, "worker": worker.email, "task": record.seq}
        self._sandbox.agenda.schedule(at + seconds, "task_done", payload)

    # What happens to tasks

    def _on_done(self, event: Event) -> None:
        account_no, email = event.payload["account"], event.payload["worker"]
        self._store.execute("DELETE FROM assignments WHERE account_no = ? AND worker = ?", (account_no, email))
        record = self._sandbox.tasks.store.by_seq(event.payload["task"])
        if record is not None and record.status == "pending":
            self._complete(record, self.worker(email), event.at)
        self._dispatch(account_no, event.at)

    def _complete(self, record: TaskRecord, worker: Worker, at: float) -> None:
        self.answer(record, worker)
        iso = self._sandbox.clock.iso(at)
        record.document |= {"status": "completed", "completed_at": iso, "updated_at": iso}
        self._sandbox.tasks.store.save(record)
        self._sandbox.deliveries.of_task(record, "completed", at)
        self.check_batch(record.batch_no, at)
        if self.dice(record, "recall").random() < self._sandbox.options.recall_rate:
            self.recall(record, at + decisions.RECALL_DELAY.value)

    def answer(self, record: TaskRecord, worker: Worker | None) -> None:
        """Put the response on the task: fabricated without a worker (test mode), else truth with the worker's noise."""
        try:
            answer = self._made_answer(record, worker)
        except Exception as error:
            logger.exception("No answer could be made for task %s", record.task_id)
            record.document["response"] = {}
            record.document[decisions.SIMULATION_KEY.value] = {
                "truth": "none",
                "note": f"The answer could not be made: {error!r}",
            }
            return
        for file in answer.files:
            self._sandbox.tasks.store.add_file(
                record.account_no, record.task_id, file.uuid, file.content_type, file.content
            )
        for name, value in (
            ("response", answer.response),
            ("document_pages", answer.document_pages),
            (decisions.SIMULATION_KEY.value, answer.simulation or None),
        ):
            if value is not None:
                record.document[name] = value

    def _made_answer(self, record: TaskRecord, worker: Worker | None) -> Answer:
        from scale_mcp.sandbox.answers import live_answer, test_answer
        from scale_mcp.sandbox.truth import find_truth

        dice = self.dice(record, "answer")

        def url(uuid: str) -> str:
            return f"{BASE}/task/{record.task_id}/response_url/{uuid}"

        size = self._sandbox.attachments.picture_size(record)
        if worker is None:
            return test_answer(record.document, url, dice, size=size)

        def earlier(task_id: str) -> dict[str, Any] | None:
            found = self._sandbox.tasks.store.find(record.account_no, task_id)
            return None if found is None else found.document

        def content(address: str) -> bytes | None:
            return self._sandbox.attachments.content(record, address)

        truth = find_truth(record.document, content, task_of=earlier)
        return live_answer(record.document, truth, worker, url, dice, size=size)

    def dice(self, record: TaskRecord, purpose: str) -> random.Random:
        """Random numbers that are the same in every sandbox with this seed, for the account's n-th task.

        A task that is done again gets new ones.
        """
        again = len(record.document.get(decisions.PRIOR_RESPONSES.value, ()))
        return random.Random(f"{self._sandbox.options.seed}/{record.ordinal}/{again}/{purpose}")

    def expect_failure(self, record: TaskRecord, failure: dict[str, Any], at: float) -> None:
        """The attachments of this task cannot be had, which shows after a while."""
        payload = {"task": record.seq, "failure": failure}
        self._sandbox.agenda.schedule(at + decisions.ATTACHMENT_DELAY.value, "attachment_failed", payload)

    def _on_attachment_failed(self, event: Event) -> None:
        record = self._sandbox.tasks.store.by_seq(event.payload["task"])
        if record is None or record.status != "pending":
            return
        fail(record.document, event.payload["failure"])
        record.document["updated_at"] = self._sandbox.clock.iso(event.at)
        record.queue_rank = None
        self._sandbox.tasks.store.save(record)
        self._sandbox.deliveries.of_task(record, "error", event.at)
        self.check_batch(record.batch_no, event.at)

    def recall(self, record: TaskRecord, at: float) -> None:
        """Plan that a completed task goes back to pending."""
        self._sandbox.agenda.schedule(at, "recall", {"task": record.seq})

    def _on_recall(self, event: Event) -> None:
        record = self._sandbox.tasks.store.by_seq(event.payload["task"])
        if record is None or record.status != "completed":
            return
        document = record.document
        earlier = decisions.PRIOR_RESPONSES.value
        document[earlier] = [*document.get(earlier, []), document.pop("response", None)]
        document.pop("completed_at", None)
        document |= {"status": "pending", "work_started": False, "updated_at": self._sandbox.clock.iso(event.at)}
        batch = self._sandbox.batches.by_no(record.batch_no) if record.batch_no else None
        record.queue_rank = self.rank(document, batch)
        self._sandbox.tasks.store.save(record)
        self._sandbox.deliveries.of_task(record, "recall", event.at)
        if batch is not None and batch.status == "completed":
            self._sandbox.batches.set_status(batch, "in_progress")
        self.expect(record.account_no, event.at)

    # Batches

    def check_batch(self, batch_no: int, at: float) -> None:
        """Complete a batch in which nothing is pending and something is completed, and call back about it."""
        if not batch_no:
            return
        batch = self._sandbox.batches.by_no(batch_no)
        if batch.status != "in_progress":
            return
        counts = self._sandbox.batches.counts(batch)
        if decisions.BATCH_COMPLETION.value(counts):
            batch = self._sandbox.batches.set_status(batch, "completed", completed_at=at)
            self._sandbox.deliveries.of_batch(self._sandbox.account_no(batch.account_id), batch, at)


def fail(document: dict[str, Any], failure: dict[str, Any]) -> None:
    """Mark a task as failed for its attachments, and free its unique_id when it was created so."""
    document |= {"status": "error", "response": failure}
    if document.get("clear_unique_id_on_error"):
        document.pop("unique_id", None)


def lane_of(project: Project | None, batch: Batch | None) -> int:
    """Where a task waits: among all, or in the lane of its Studio batch, or (negative) of its Studio project."""
    if project is None or project.flavour != "studio":
        return 0
    return -project.no if batch is None else batch.no

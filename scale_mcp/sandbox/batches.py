"""Batches: named groups of a project's tasks, and their life cycle, which differs between the product flavours."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from scale_mcp.sandbox import decisions, ids
from scale_mcp.sandbox.accounts import Account
from scale_mcp.sandbox.clock import Clock
from scale_mcp.sandbox.http import ApiError
from scale_mcp.sandbox.projects import Flavour, Project
from scale_mcp.sandbox.store import Store, dumps

SCHEMA = """
CREATE TABLE IF NOT EXISTS batches (
    no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL,
    project_no INTEGER NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,           -- staging, in_progress or completed
    callback TEXT NOT NULL,
    calibration INTEGER NOT NULL,
    self_label INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    priority INTEGER,               -- 10 to 30, once prioritized
    archived INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    completed_at REAL,
    last_audited_at REAL,
    UNIQUE (account_id, name)
);
CREATE INDEX IF NOT EXISTS batches_by_account ON batches (account_id, no);
CREATE INDEX IF NOT EXISTS batches_by_status ON batches (account_id, status, no);
CREATE INDEX IF NOT EXISTS batches_by_project ON batches (account_id, project_no, no);
"""

SELECT = "SELECT b.*, p.name AS project, p.flavour FROM batches b JOIN projects p ON p.no = b.project_no"


@dataclass(frozen=True)
class Batch:
    """A row with its project's name and flavour; ``no`` is what other tables refer to. Times in seconds."""

    no: int
    id: str
    account_id: str
    project_no: int
    project: str
    flavour: Flavour
    name: str
    status: str
    callback: str
    calibration: bool
    self_label: bool
    metadata: dict[str, Any]
    priority: int | None
    archived: bool
    created_at: float
    completed_at: float | None
    last_audited_at: float | None

    @property
    def is_staged(self) -> bool:
        """Whether it must be finalized before anyone works on it."""
        return self.flavour != "standard"

    @property
    def takes_tasks(self) -> bool:
        return self.status == "staging" or not self.is_staged


class Batches:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def find(self, account: Account, name: str) -> Batch | None:
        row = self._store.one(f"{SELECT} WHERE b.account_id = ? AND b.name = ?", (account.id, name))
        return None if row is None else batch_of(row)

    def get(self, account: Account, name: str) -> Batch:
        """The batch of that name, or 404."""
        batch = self.find(account, name)
        if batch is None:
            raise ApiError(404, decisions.BATCH_NOT_FOUND.value.format(name=name))
        return batch

    def by_no(self, no: int) -> Batch:
        row = self._store.one(f"{SELECT} WHERE b.no = ?", (no,))
        assert row is not None
        return batch_of(row)

    def create(
        self,
        account: Account,
        project: Project,
        name: str,
        callback: str = "",
        calibration: bool = False,
        self_label: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> Batch:
        """A new batch: ``staging`` in Rapid and Studio projects, else ``in_progress``. 409 when the name is taken."""
        if self.find(account, name) is not None:
            raise ApiError(409, f'A batch with the name "{name}" already exists.')
        now = self._clock.now()
        status = "in_progress" if project.flavour == "standard" else "staging"
        self._store.execute(
            "INSERT INTO batches (id, account_id, project_no, name, status, callback, calibration, self_label,"
            " metadata, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(ids.object_id(now), account.id, project.no, name, status, callback),
                *(calibration, self_label, dumps(metadata or {}), now),
            ),
        )
        return self.get(account, name)

    def set_status(self, batch: Batch, status: str, completed_at: float | None = None) -> Batch:
        self._store.execute(
            "UPDATE batches SET status = ?, completed_at = ? WHERE no = ?", (status, completed_at, batch.no)
        )
        return self.by_no(batch.no)

    def set_metadata(self, batch: Batch, metadata: dict[str, Any]) -> Batch:
        self._store.execute("UPDATE batches SET metadata = ? WHERE no = ?", (dumps(metadata), batch.no))
        return self.by_no(batch.no)

    def set_priority(self, batch: Batch, priority: int) -> Batch:
        self._store.execute("UPDATE batches SET priority = ? WHERE no = ?", (priority, batch.no))
        return self.by_no(batch.no)

    def note_audit(self, batch_no: int, at: float) -> None:
        self._store.execute("UPDATE batches SET last_audited_at = ? WHERE no = ?", (at, batch_no))

    def counts(self, batch: Batch) -> dict[str, int]:
        """How many of the batch's tasks have which status; statuses without a task are absent."""
        rows = self._store.query(
            "SELECT status, sum(tasks) AS tasks FROM task_counts WHERE scope = ? GROUP BY status", (batch.no,)
        )
        return {row["status"]: row["tasks"] for row in rows if row["tasks"]}

    def serve(self, batch: Batch) -> dict[str, Any]:
        """The object as Scale shows it."""
        iso = self._clock.iso
        shown: dict[str, Any] = {
            "id": batch.id,
            "project": batch.project,
            "name": batch.name,
            "callback": batch.callback,
            "status": batch.status,
            "created_at": iso(batch.created_at),
            "metadata": batch.metadata,
        }
        if batch.is_staged:
            shown |= {"calibration_batch": batch.calibration, "self_label_batch": batch.self_label}
        for name, at in (("completed_at", batch.completed_at), ("last_audited_at", batch.last_audited_at)):
            if at is not None:
                shown[name] = iso(at)
        if batch.priority is not None:
            shown["priority"] = batch.priority
        if batch.archived:
            shown["archived"] = True
        return shown


def batch_of(row: Any) -> Batch:
    values = {name: row[name] for name in Batch.__dataclass_fields__}
    values["metadata"] = json.loads(values["metadata"])
    for name in ("calibration", "self_label", "archived"):
        values[name] = bool(values[name])
    return Batch(**values)

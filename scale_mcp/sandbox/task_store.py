"""Tasks in the database: one row each, with the columns that lists need beside the object as Scale shows it.

``seq`` is the order of creation, over all accounts; the clock never runs backwards, so it is also the order of
``created_at``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from scale_mcp.sandbox.clock import from_iso
from scale_mcp.sandbox.store import Store, dumps
from scale_mcp.sandbox.task_counters import BLOCK, Facts, Home, TaskCounters

SCHEMA = """
CREATE TABLE IF NOT EXISTS tasks (
    seq INTEGER PRIMARY KEY,
    task_id TEXT NOT NULL UNIQUE,
    account_no INTEGER NOT NULL,
    project_no INTEGER NOT NULL,    -- 0: none
    batch_no INTEGER NOT NULL,      -- 0: none
    type TEXT NOT NULL,
    status TEXT NOT NULL,
    review TEXT NOT NULL,           -- customer_review_status, '' before an audit
    unique_id TEXT,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    completed_ms INTEGER,
    lane INTEGER NOT NULL,          -- which queue it waits in: 0, or one of Studio's (engine.lane_of)
    ordinal INTEGER NOT NULL,       -- the account's how manieth task: what its random numbers are seeded with
    queue_rank INTEGER,             -- lower is earlier; NULL: not waiting for a worker
    document TEXT NOT NULL          -- the object as served, with BASE for our own address
);
CREATE INDEX IF NOT EXISTS tasks_by_status ON tasks (account_no, status, seq);
CREATE INDEX IF NOT EXISTS tasks_by_type ON tasks (account_no, type, status, seq);
CREATE INDEX IF NOT EXISTS tasks_by_project ON tasks (account_no, project_no, status, seq);
CREATE INDEX IF NOT EXISTS tasks_by_batch ON tasks (batch_no, status, seq);
CREATE INDEX IF NOT EXISTS tasks_by_review ON tasks (account_no, review, seq) WHERE review <> '';
CREATE INDEX IF NOT EXISTS tasks_by_completed ON tasks (account_no, completed_ms, seq) WHERE completed_ms IS NOT NULL;
CREATE INDEX IF NOT EXISTS tasks_by_updated ON tasks (account_no, updated_ms, seq);
CREATE INDEX IF NOT EXISTS tasks_waiting ON tasks (account_no, lane, queue_rank, seq) WHERE queue_rank IS NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS tasks_by_unique_id ON tasks (account_no, unique_id) WHERE unique_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS task_tags (
    account_no INTEGER NOT NULL,
    tag TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (account_no, tag, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS idempotency_keys (
    account_no INTEGER NOT NULL,
    key TEXT NOT NULL,
    task_id TEXT NOT NULL,
    PRIMARY KEY (account_no, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS response_files (
    task_id TEXT NOT NULL,
    uuid TEXT NOT NULL,
    account_no INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (task_id, uuid)
);
"""

# Stands for "scheme://host/v1" in stored objects, because one database may be served at many addresses.
BASE = "http://base.sandbox.invalid/v1"


@dataclass
class TaskRecord:
    """A task as the sandbox handles it: change ``document`` (the object as served) and save."""

    seq: int
    account_no: int
    project_no: int
    batch_no: int
    ordinal: int
    document: dict[str, Any]
    lane: int = 0
    queue_rank: int | None = None
    stored: Facts | None = None  # what the counters and tags in the database stand for; None: not stored yet

    @property
    def task_id(self) -> str:
        return str(self.document["task_id"])

    @property
    def status(self) -> str:
        return str(self.document["status"])

    def facts(self) -> Facts:
        """What is kept beside the row and must follow its changes."""
        document = self.document
        return Facts(document["status"], document.get("customer_review_status", ""), tuple(document.get("tags") or ()))


class TaskStore:
    def __init__(self, store: Store) -> None:
        self._store = store
        self.counters = TaskCounters(store)

    def find(self, account_no: int, task_id: str) -> TaskRecord | None:
        row = self._store.one("SELECT * FROM tasks WHERE task_id = ? AND account_no = ?", (task_id, account_no))
        return None if row is None else record_of(row)

    def by_seq(self, seq: int) -> TaskRecord | None:
        row = self._store.one("SELECT * FROM tasks WHERE seq = ?", (seq,))
        return None if row is None else record_of(row)

    def id_of_unique(self, account_no: int, unique_id: str) -> str | None:
        """The task that holds a unique_id."""
        sql = "SELECT task_id FROM tasks WHERE account_no = ? AND unique_id = ?"
        found: str | None = self._store.value(sql, (account_no, unique_id))
        return found

    def insert(self, record: TaskRecord) -> None:
        """Add a new task and give it its ``seq``."""
        columns = self._columns(record)
        names = ", ".join(columns)
        marks = ", ".join("?" * len(columns))
        cursor = self._store.execute(f"INSERT INTO tasks ({names}) VALUES ({marks})", tuple(columns.values()))  # noqa: S608
        assert cursor.lastrowid is not None
        record.seq = cursor.lastrowid
        self._follow(record, columns)

    def save(self, record: TaskRecord) -> None:
        columns = self._columns(record)
        names = ", ".join(f"{name} = ?" for name in columns)
        self._store.execute(f"UPDATE tasks SET {names} WHERE seq = ?", (*columns.values(), record.seq))  # noqa: S608
        self._follow(record, columns)

    @staticmethod
    def _columns(record: TaskRecord) -> dict[str, Any]:
        document = record.document
        completed = document.get("completed_at")
        return {
            "task_id": document["task_id"],
            "account_no": record.account_no,
            "project_no": record.project_no,
            "batch_no": record.batch_no,
            "type": document["type"],
            "status": document["status"],
            "review": document.get("customer_review_status", ""),
            "unique_id": document.get("unique_id"),
            "created_ms": milliseconds(document["created_at"]),
            "updated_ms": milliseconds(document["updated_at"]),
            "completed_ms": milliseconds(completed) if completed else None,
            "lane": record.lane,
            "ordinal": record.ordinal,
            "queue_rank": record.queue_rank,
            "document": dumps(document),
        }

    def _follow(self, record: TaskRecord, columns: dict[str, Any]) -> None:
        """Bring counters and tags in step with the row."""
        before, after = record.stored, record.facts()
        record.stored = after
        counters, account_no, seq = self.counters, record.account_no, record.seq
        counters.note_times(account_no, seq // BLOCK, columns["updated_ms"], columns["completed_ms"])
        if before == after:
            return
        home = Home(account_no, record.project_no, record.batch_no, record.document["type"])
        counters.follow(home, seq, before, after)
        had, has = set(before.tags if before else ()), set(after.tags)
        for tag in had - has:
            sql = "DELETE FROM task_tags WHERE account_no = ? AND tag = ? AND seq = ?"
            self._store.execute(sql, (account_no, tag, seq))
        for tag in has - had:
            self._store.execute("INSERT INTO task_tags VALUES (?, ?, ?)", (account_no, tag, seq))

    def remember_key(self, account_no: int, key: str, task_id: str) -> None:
        self._store.execute("INSERT INTO idempotency_keys VALUES (?, ?, ?)", (account_no, key, task_id))

    def id_of_key(self, account_no: int, key: str) -> str | None:
        """The task that was created under an Idempotency-Key."""
        sql = "SELECT task_id FROM idempotency_keys WHERE account_no = ? AND key = ?"
        found: str | None = self._store.value(sql, (account_no, key))
        return found

    def add_file(self, account_no: int, task_id: str, uuid: str, content_type: str, content: bytes) -> None:
        self._store.execute(
            "INSERT INTO response_files (task_id, uuid, account_no, content_type, content) VALUES (?, ?, ?, ?, ?)",
            (task_id, uuid, account_no, content_type, content),
        )

    def file(self, task_id: str, uuid: str) -> tuple[int, str, bytes] | None:
        """A result file: the account's number, content type and bytes."""
        row = self._store.one("SELECT * FROM response_files WHERE task_id = ? AND uuid = ?", (task_id, uuid))
        return None if row is None else (row["account_no"], row["content_type"], row["content"])


def record_of(row: Any) -> TaskRecord:
    record = TaskRecord(
        seq=row["seq"],
        account_no=row["account_no"],
        project_no=row["project_no"],
        batch_no=row["batch_no"],
        lane=row["lane"],
        ordinal=row["ordinal"],
        document=json.loads(row["document"]),
        queue_rank=row["queue_rank"],
    )
    record.stored = record.facts()
    return record


def milliseconds(iso: str) -> int:
    return round(from_iso(iso) * 1000)


def at_base(document: dict[str, Any], base_url: str) -> dict[str, Any]:
    """A copy of a stored object with its result URLs at the address by which the caller knows us."""
    text = dumps(document)
    if BASE not in text:
        return document
    replaced: dict[str, Any] = json.loads(text.replace(BASE, json.dumps(base_url)[1:-1]))
    return replaced

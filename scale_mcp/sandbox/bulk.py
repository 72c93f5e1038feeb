"""Many tasks at once, for tests and measurements: the rows that creation would have made, without the requests."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from scale_mcp.sandbox import ids
from scale_mcp.sandbox.accounts import Account
from scale_mcp.sandbox.engine import lane_of
from scale_mcp.sandbox.store import dumps
from scale_mcp.sandbox.task_counters import WHOLE_ACCOUNT, Facts, Home, blocks
from scale_mcp.sandbox.task_store import milliseconds

if TYPE_CHECKING:
    from scale_mcp.sandbox.sandbox import Sandbox

CHUNK = 10_000
BOX = {"box": {"objects_to_annotate": ["car"]}}
COLUMNS = (
    *("task_id", "account_no", "project_no", "batch_no", "type", "status", "review", "unique_id"),
    *("created_ms", "updated_ms", "completed_ms", "lane", "ordinal", "queue_rank", "document"),
)


def seed_tasks(
    sandbox: Sandbox,
    account: Account,
    count: int,
    *,
    project: str = "seeded",
    batch: str | None = None,
    completed: bool = True,
    unique_ids: str | None = None,
) -> None:
    """Add image annotation tasks to a project and, when named, a batch; both are made when they are missing.

    ``unique_ids`` is a prefix: the tasks get ``<prefix>0``, ``<prefix>1`` … Pending tasks of a live account wait for
    the workforce. Calls nobody back.
    """
    account_no = sandbox.register(account)
    found = sandbox.projects.find(account, project)
    home = found or sandbox.projects.create(account, project, "imageannotation", {"geometries": BOX})
    place = None
    if batch is not None:
        place = sandbox.batches.find(account, batch) or sandbox.batches.create(account, home, batch)
    now = sandbox.clock.now()
    iso = sandbox.clock.iso(now)
    status = "completed" if completed else "pending"
    rank = None if completed or account.is_test else sandbox.engine.rank({}, place)
    first = int(sandbox.store.value("SELECT tasks FROM accounts WHERE no = ?", (account_no,)))
    lane = lane_of(home, place)
    batch_no = place.no if place is not None else 0
    ms = milliseconds(iso)

    def rows() -> Iterator[tuple[Any, ...]]:
        for number in range(count):
            task_id = ids.object_id(now)
            document: dict[str, Any] = {
                "task_id": task_id,
                "created_at": iso,
                "type": home.type,
                "status": status,
                "params": {
                    "attachment_type": "image",
                    "geometries": BOX,
                    "attachment": f"https://example.com/pictures/{number:07d}.jpg",
                },
                "is_test": account.is_test,
                "urgency": "standard",
                "metadata": {"number": number},
                "project": home.name,
            }
            if place is not None:
                document["batch"] = place.name
            unique_id = None if unique_ids is None else f"{unique_ids}{number}"
            if unique_id is not None:
                document["unique_id"] = unique_id
            document |= {"project_param_version": 0, "work_started": completed, "updated_at": iso}
            if completed:
                document |= {"completed_at": iso, "response": {"annotations": [], "global_attributes": {}, "links": []}}
            yield (
                *(task_id, account_no, home.no, batch_no, home.type, status, "", unique_id),
                *(ms, ms, ms if completed else None, lane, first + number + 1, rank, dumps(document)),
            )

    source = rows()
    sql = f"INSERT INTO tasks ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
    with sandbox.store.transaction():
        while chunk := list(islice(source, CHUNK)):
            sandbox.store.execute_many(sql, chunk)
        sandbox.store.execute("UPDATE accounts SET tasks = tasks + ? WHERE no = ?", (count, account_no))
        last = int(sandbox.store.value("SELECT max(seq) FROM tasks") or 0)
        counters, facts = sandbox.tasks.store.counters, Facts(status, "")
        for block, tasks in blocks(last - count + 1, last):
            counters.note_times(account_no, block, ms, ms if completed else None)
            for scope in {WHOLE_ACCOUNT, batch_no}:
                counters.add(Home(account_no, home.no, batch_no, home.type), scope, facts, block, tasks)
        if rank is not None:
            sandbox.engine.expect(account_no, now)
        sandbox.engine.check_batch(batch_no, now)

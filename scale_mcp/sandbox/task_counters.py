"""Counters that follow every change of a task, so that totals, batch counts and deep pages never count rows.

Tasks are counted in *scopes*: 0 is the whole account, a batch's number that batch, and a negative number a tag, in the
whole account or in one batch. They are counted once over all, and once for each *block* of neighbouring seqs, together
with the span of times within the block: what a block cannot hold is passed over, and what it holds whole is added up,
unread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from scale_mcp.sandbox.store import Store

BLOCK = 4096
WHOLE_ACCOUNT = 0

SCHEMA = """
CREATE TABLE IF NOT EXISTS tag_scopes (
    no INTEGER PRIMARY KEY,         -- its negative is the scope
    account_no INTEGER NOT NULL,
    batch_no INTEGER NOT NULL,      -- 0: in the whole account
    tag TEXT NOT NULL,
    UNIQUE (account_no, batch_no, tag)
);
CREATE TABLE IF NOT EXISTS task_counts (
    scope INTEGER NOT NULL,
    account_no INTEGER NOT NULL,
    project_no INTEGER NOT NULL,
    type TEXT NOT NULL,
    status TEXT NOT NULL,
    review TEXT NOT NULL,
    tasks INTEGER NOT NULL,
    PRIMARY KEY (scope, account_no, project_no, type, status, review)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS task_blocks (
    scope INTEGER NOT NULL,
    account_no INTEGER NOT NULL,
    block INTEGER NOT NULL,         -- seq / BLOCK
    project_no INTEGER NOT NULL,
    type TEXT NOT NULL,
    status TEXT NOT NULL,
    review TEXT NOT NULL,
    tasks INTEGER NOT NULL,
    PRIMARY KEY (scope, account_no, block, project_no, type, status, review)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS task_block_times (   -- no time of a task in the block is, or ever was, outside of these
    account_no INTEGER NOT NULL,
    block INTEGER NOT NULL,
    updated_min INTEGER NOT NULL,
    updated_max INTEGER NOT NULL,
    completed_min INTEGER,
    completed_max INTEGER,
    PRIMARY KEY (account_no, block)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Home:
    """What never changes about where a task is counted."""

    account_no: int
    project_no: int
    batch_no: int
    type: str


@dataclass(frozen=True)
class Facts:
    """What may change, and moves a task from one counter to another."""

    status: str
    review: str
    tags: tuple[str, ...] = ()


class TaskCounters:
    def __init__(self, store: Store) -> None:
        self._store = store

    def follow(self, home: Home, seq: int, before: Facts | None, after: Facts) -> None:
        """Count a task that is new (``before`` is None) or has changed."""
        changes: Counter[tuple[int, str, str]] = Counter()
        if before is not None:
            changes.subtract((scope, before.status, before.review) for scope in self._scopes(home, before))
        changes.update((scope, after.status, after.review) for scope in self._scopes(home, after))
        for (scope, status, review), change in changes.items():
            if change:
                self.add(home, scope, Facts(status, review), seq // BLOCK, change)

    def _scopes(self, home: Home, facts: Facts) -> set[int]:
        places = {WHOLE_ACCOUNT, home.batch_no}
        return places | {self._tag_scope(home.account_no, place, tag) for place in places for tag in facts.tags}

    def _tag_scope(self, account_no: int, batch_no: int, tag: str) -> int:
        """The scope of a tag, which gets one when it is met for the first time."""
        return self.find_tag_scope(account_no, batch_no, tag) or -int(
            self._store.value(
                "INSERT INTO tag_scopes (account_no, batch_no, tag) VALUES (?, ?, ?) RETURNING no",
                (account_no, batch_no, tag),
            )
        )

    def find_tag_scope(self, account_no: int, batch_no: int, tag: str) -> int | None:
        """The scope of a tag in a batch (0: anywhere in the account); None when no task there ever had it."""
        sql = "SELECT no FROM tag_scopes WHERE account_no = ? AND batch_no = ? AND tag = ?"
        no: int | None = self._store.value(sql, (account_no, batch_no, tag))
        return None if no is None else -no

    def add(self, home: Home, scope: int, facts: Facts, block: int, change: int) -> None:
        """Add to the counters of one scope, over all and in one block."""
        kind = (home.project_no, home.type, facts.status, facts.review)
        self._store.execute(
            "INSERT INTO task_counts (scope, account_no, project_no, type, status, review, tasks)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET tasks = tasks + excluded.tasks",
            (scope, home.account_no, *kind, change),
        )
        self._store.execute(
            "INSERT INTO task_blocks (scope, account_no, block, project_no, type, status, review, tasks)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET tasks = tasks + excluded.tasks",
            (scope, home.account_no, block, *kind, change),
        )

    def note_times(self, account_no: int, block: int, updated_ms: int, completed_ms: int | None) -> None:
        """Widen the span of a block's times."""
        self._store.execute(
            "INSERT INTO task_block_times VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " updated_min = min(updated_min, excluded.updated_min),"
            " updated_max = max(updated_max, excluded.updated_max),"
            " completed_min = coalesce(min(completed_min, excluded.completed_min),"
            " completed_min, excluded.completed_min),"
            " completed_max = coalesce(max(completed_max, excluded.completed_max),"
            " completed_max, excluded.completed_max)",
            (account_no, block, updated_ms, updated_ms, completed_ms, completed_ms),
        )


def blocks(first: int, last: int) -> Iterable[tuple[int, int]]:
    """The blocks of a run of seqs, and how many of the run are in each."""
    for block in range(first // BLOCK, last // BLOCK + 1):
        yield block, min(last, (block + 1) * BLOCK - 1) - max(first, block * BLOCK) + 1

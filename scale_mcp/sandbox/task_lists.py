"""Lists of tasks: filters to SQL, pages newest first, totals.

Every page is read from an index that already has the order wanted. An index per property ends in ``status, seq``, so
that one status is one ordered range of it, and all statuses are a merge of four ranges (``UNION ALL … ORDER BY``, which
SQLite merges without sorting).
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, replace
from typing import Any

from scale_mcp.sandbox.store import Store
from scale_mcp.sandbox.task_store import BLOCK

STATUSES = ("pending", "completed", "canceled", "error")
# Below so many matches a range of times is read whole and sorted; above, the newest tasks are walked and filtered.
FEW = 20_000

Range = tuple[int | None, int | None]  # from and to, both inclusive, in milliseconds since 1970


@dataclass(frozen=True)
class TaskQuery:
    """What a list asks for. Empty tuples and None mean "any"."""

    account_no: int
    project_no: int | None = None
    batch_no: int | None = None
    type: str | None = None
    statuses: tuple[str, ...] = ()
    reviews: tuple[str, ...] = ()
    unique_ids: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    created: Range = (None, None)
    completed: Range = (None, None)
    updated: Range = (None, None)

    @property
    def needs_only_counters(self) -> bool:
        """Whether the counters know the total, creation times apart."""
        times = (*self.completed, *self.updated)
        return not (self.unique_ids or self.tags) and all(bound is None for bound in times)


Condition = tuple[str, tuple[Any, ...]]  # SQL and its arguments


@dataclass
class Branch:
    """One range of an index, in the order of ``seq``: where the rows come from and which of them."""

    source: str
    conditions: list[Condition]
    seq: str = "t.seq"

    def sql(self) -> str:
        return f"SELECT {self.seq} AS seq FROM {self.source} WHERE {' AND '.join(sql for sql, _ in self.conditions)}"  # noqa: S608

    def args(self) -> list[Any]:
        return [arg for _, args in self.conditions for arg in args]


class TaskLists:
    def __init__(self, store: Store) -> None:
        self._store = store

    def page(
        self, query: TaskQuery, limit: int, offset: int = 0, before: int | None = None
    ) -> tuple[list[Any], int | None]:
        """Rows of one page, newest first, and the ``seq`` after which the next page begins (None: no more)."""
        query = self._without_idle_bounds(query)
        if offset >= BLOCK and before is None and query.needs_only_counters:
            before, offset = self._skip(query, offset)
        sql, args = self.page_sql(query, limit + 1, offset, before)
        seqs = [row["seq"] for row in self._store.query(sql, args)]
        more = seqs[limit - 1] if len(seqs) > limit else None
        return self._rows(seqs[:limit]), more

    def page_sql(self, query: TaskQuery, limit: int, offset: int, before: int | None) -> tuple[str, list[Any]]:
        low, high = self._seq_range(query.created)
        high = min((bound for bound in (high, before) if bound is not None), default=None)
        sql, args = self._matches(query, low, high)
        return f"{sql} ORDER BY seq DESC LIMIT ? OFFSET ?", [*args, limit, offset]

    def _matches(self, query: TaskQuery, low: int | None, high: int | None) -> tuple[str, list[Any]]:
        """SQL for the ``seq`` of every match from ``low`` (inclusive) to ``high`` (exclusive)."""
        branches = self._branches(query, low, high)
        # decisions.TAGS_MATCH: any. A task that carries two of them is in two branches; no other branches overlap.
        union = " UNION " if query.tags else " UNION ALL "
        return union.join(branch.sql() for branch in branches), [arg for branch in branches for arg in branch.args()]

    def _rows(self, seqs: list[int]) -> list[Any]:
        marks = ", ".join("?" * len(seqs))
        rows = self._store.query(f"SELECT * FROM tasks WHERE seq IN ({marks})", seqs)  # noqa: S608
        return sorted(rows, key=lambda row: -int(row["seq"]))

    def _skip(self, query: TaskQuery, offset: int) -> tuple[int | None, int]:
        """Pass over whole blocks of tasks: where to go on, and how many are still to be passed over there."""
        low, high = self._seq_range(query.created)
        if low is not None or high is not None:
            return None, offset
        where, args = self._counter_conditions(query)
        sql = f"SELECT block, sum(tasks) AS tasks FROM task_blocks WHERE {where} GROUP BY block ORDER BY block DESC"  # noqa: S608
        before = None
        for row in self._store.query(sql, args):
            if row["tasks"] > offset:
                break
            before, offset = row["block"] * BLOCK, offset - row["tasks"]
        return before, offset

    def total(self, query: TaskQuery) -> int:
        """How many tasks match, over all pages."""
        query = self._without_idle_bounds(query)
        low, high = self._seq_range(query.created)
        if query.needs_only_counters and low is None and high is None:
            where, args = self._counter_conditions(query)
            return self._sum(f"SELECT sum(tasks) FROM task_counts WHERE {where}", args)  # noqa: S608
        first, last = -(-(low or 0) // BLOCK), (2**62 if high is None else high) // BLOCK
        if not query.needs_only_counters or first >= last:
            return self._count(query, low, high)
        where, args = self._counter_conditions(query)
        sql = f"SELECT sum(tasks) FROM task_blocks WHERE {where} AND block >= ? AND block < ?"  # noqa: S608
        whole = self._sum(sql, [*args, first, last])
        head = 0 if low is None else self._count(query, low, first * BLOCK)
        tail = 0 if high is None else self._count(query, last * BLOCK, high)
        return head + whole + tail

    def _count(self, query: TaskQuery, low: int | None, high: int | None) -> int:
        sql, args = self._matches(query, low, high)
        return self._sum(f"SELECT count(*) FROM ({sql})", args)  # noqa: S608

    def _sum(self, sql: str, args: list[Any]) -> int:
        return int(self._store.value(sql, args) or 0)

    @staticmethod
    def _counter_conditions(query: TaskQuery) -> tuple[str, list[Any]]:
        conditions: list[Condition] = [("batch_no = ? AND account_no = ?", (query.batch_no or 0, query.account_no))]
        if query.project_no is not None:
            conditions.append(("project_no = ?", (query.project_no,)))
        if query.type is not None:
            conditions.append(("type = ?", (query.type,)))
        conditions += one_of("status", query.statuses)
        conditions += one_of("review", query.reviews)
        return " AND ".join(sql for sql, _ in conditions), [arg for _, args in conditions for arg in args]

    def _branches(self, query: TaskQuery, low: int | None, high: int | None) -> list[Branch]:
        """The ranges to merge: one per value of the property that the chosen index has just before ``seq``."""
        statuses: list[list[Condition]] = [[("t.status = ?", (status,))] for status in query.statuses or STATUSES]
        index, split = "tasks_by_status", statuses
        if query.unique_ids:
            marks = ", ".join("?" * len(query.unique_ids))
            index, split = "tasks_by_unique_id", [[(f"t.unique_id IN ({marks})", query.unique_ids)]]
        elif (sparse := self._sparse_time_index(query)) is not None:
            index, split = sparse, [[]]
        elif query.tags:
            return [self._tag_branch(query, tag, low, high) for tag in query.tags]
        elif query.reviews:
            index = "tasks_by_review"
            split = [[("t.review = ? AND t.review <> ''", (review,))] for review in query.reviews]
        elif query.batch_no is not None:
            index = "tasks_by_batch"
        elif query.project_no is not None:
            index = "tasks_by_project"
        elif query.type is not None:
            index = "tasks_by_type"
        conditions = self._conditions(query, index)
        if split is not statuses:
            conditions = [*conditions, *one_of("t.status", query.statuses)]
        if index != "tasks_by_review":
            conditions = [*conditions, *one_of("t.review", query.reviews)]
        conditions += between("t.seq", low, high)
        return [Branch(f"tasks t INDEXED BY {index}", [*conditions, *part]) for part in split]

    def _tag_branch(self, query: TaskQuery, tag: str, low: int | None, high: int | None) -> Branch:
        return Branch(
            "task_tags g CROSS JOIN tasks t ON t.seq = g.seq",
            [
                ("g.account_no = ? AND g.tag = ?", (query.account_no, tag)),
                *self._conditions(query),
                *one_of("t.status", query.statuses),
                *one_of("t.review", query.reviews),
                *between("g.seq", low, high),
            ],
            seq="g.seq",
        )

    @staticmethod
    def _conditions(query: TaskQuery, index: str = "") -> list[Condition]:
        """What every branch asks of a task, but for status, review, tag and ``seq``."""
        found: list[Condition] = []
        if index != "tasks_by_batch":  # a batch implies its account, and its index does without
            found.append(("t.account_no = ?", (query.account_no,)))
        if query.batch_no is not None:
            found.append(("t.batch_no = ?", (query.batch_no,)))
        elif query.project_no is not None:
            found.append(("t.project_no = ?", (query.project_no,)))
        if query.type is not None:
            found.append(("t.type = ?", (query.type,)))
        for name, (start, end) in (("completed_ms", query.completed), ("updated_ms", query.updated)):
            if start is not None:
                found.append((f"t.{name} >= ?", (start,)))
            if end is not None:
                found.append((f"t.{name} <= ?", (end,)))
        return found

    def _sparse_time_index(self, query: TaskQuery) -> str | None:
        """The index of a time range that holds few tasks, if one of those asked for does."""
        for index, name, (start, end) in (
            ("tasks_by_completion", "completed_ms", query.completed),
            ("tasks_by_update", "updated_ms", query.updated),
        ):
            if start is None and end is None:
                continue
            sql = (
                f"SELECT count(*) FROM (SELECT 1 FROM tasks INDEXED BY {index} WHERE account_no = ?"  # noqa: S608
                f" AND {name} >= ? AND {name} <= ? LIMIT {FEW})"
            )
            if self._store.value(sql, (query.account_no, start or 0, end if end is not None else 2**62)) < FEW:
                return index
        return None

    def _without_idle_bounds(self, query: TaskQuery) -> TaskQuery:
        """Drop bounds on the last change that exclude no task of the account ("since the beginning of time")."""
        start, end = query.updated
        sql = "SELECT 1 FROM tasks INDEXED BY tasks_by_update WHERE account_no = ? AND updated_ms {} ? LIMIT 1"
        if start is not None and self._store.one(sql.format("<"), (query.account_no, start)) is None:
            start = None
        if end is not None and self._store.one(sql.format(">"), (query.account_no, end)) is None:
            end = None
        return replace(query, updated=(start, end))

    def _seq_range(self, created: Range) -> tuple[int | None, int | None]:
        """Creation times as bounds of ``seq`` (from, inclusive; to, exclusive), None where a bound excludes nothing."""
        start, end = created
        if start is None and end is None:
            return None, None
        low = None if start is None else self._first_seq(start)
        high = None if end is None else self._first_seq(end + 1)
        newest = self._store.value("SELECT seq FROM tasks ORDER BY seq DESC LIMIT 1") or 0
        oldest = self._store.value("SELECT seq FROM tasks ORDER BY seq LIMIT 1") or 0
        if low is not None and low <= oldest:
            low = None
        if high is not None and high > newest:
            high = None
        return low, high

    def _first_seq(self, created_ms: int) -> int:
        """The first task created at or after a moment, by halving: creation times rise with ``seq``."""
        low, high = 0, (self._store.value("SELECT seq FROM tasks ORDER BY seq DESC LIMIT 1") or 0) + 1
        while low < high:
            middle = (low + high) // 2
            row = self._store.one("SELECT seq, created_ms FROM tasks WHERE seq >= ? ORDER BY seq LIMIT 1", (middle,))
            if row is None or row["created_ms"] >= created_ms:
                high = middle
            else:
                low = row["seq"] + 1
        return low


def one_of(column: str, values: tuple[str, ...]) -> list[Condition]:
    """The condition that a column has one of the values; none at all for no values."""
    return [(f"{column} IN ({', '.join('?' * len(values))})", values)] if values else []


def between(seq: str, low: int | None, high: int | None) -> list[Condition]:
    """The condition that ``seq`` is at least ``low`` and below ``high``, each as far as given."""
    lower: list[Condition] = [] if low is None else [(f"{seq} >= ?", (low,))]
    return lower if high is None else [*lower, (f"{seq} < ?", (high,))]


def token_after(seq: int, total: int | None) -> str:
    """An opaque ``next_token``. A total that is costly to find out travels along."""
    return base64.urlsafe_b64encode(json.dumps([seq, total]).encode()).decode().rstrip("=")


def read_token(token: str) -> tuple[int, int | None]:
    """The position and total of a ``next_token``; ValueError when it is not one of ours."""
    try:
        seq, total = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (binascii.Error, UnicodeError, TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    if type(seq) is not int or not 0 <= seq < 2**62 or not (total is None or type(total) is int):
        raise ValueError("not a token")
    return seq, total

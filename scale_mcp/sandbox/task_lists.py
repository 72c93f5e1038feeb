"""Lists of tasks: filters to SQL, pages newest first, totals.

Every page is read from an index that already has the order wanted. An index per property ends in ``status, seq``, so
that one status is one ordered range of it, and all statuses are a merge of four ranges (``UNION ALL … ORDER BY``, which
SQLite merges without sorting).
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from scale_mcp.sandbox.store import Store

STATUSES = ("pending", "completed", "canceled", "error")
# Below so many matches a range of times is read whole and sorted; above, the newest tasks are walked and filtered.
FEW = 5000

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
        sql, args = self.page_sql(query, limit + 1, offset, before)
        seqs = [row["seq"] for row in self._store.query(sql, args)]
        more = seqs[limit - 1] if len(seqs) > limit else None
        return self._rows(seqs[:limit]), more

    def page_sql(self, query: TaskQuery, limit: int, offset: int, before: int | None) -> tuple[str, list[Any]]:
        sql, args = self._matches(query, before)
        return f"{sql} ORDER BY seq DESC LIMIT ? OFFSET ?", [*args, limit, offset]

    def _matches(self, query: TaskQuery, before: int | None) -> tuple[str, list[Any]]:
        branches = self._branches(query, before)
        # A task that carries two of the tags is in two branches; all other branches have nothing in common.
        union = " UNION " if query.tags else " UNION ALL "
        return union.join(branch.sql() for branch in branches), [arg for branch in branches for arg in branch.args()]

    def _rows(self, seqs: list[int]) -> list[Any]:
        marks = ", ".join("?" * len(seqs))
        rows = self._store.query(f"SELECT * FROM tasks WHERE seq IN ({marks})", seqs)  # noqa: S608
        return sorted(rows, key=lambda row: -int(row["seq"]))

    def total(self, query: TaskQuery) -> int:
        """How many tasks match, over all pages."""
        if query.needs_only_counters and self._seq_range(query.created) == (None, None):
            return self._counted(query)
        sql, args = self._matches(query, None)
        return int(self._store.value(f"SELECT count(*) FROM ({sql})", args))  # noqa: S608

    def _counted(self, query: TaskQuery) -> int:
        conditions: list[Condition] = [("batch_no = ? AND account_no = ?", (query.batch_no or 0, query.account_no))]
        if query.project_no is not None:
            conditions.append(("project_no = ?", (query.project_no,)))
        if query.type is not None:
            conditions.append(("type = ?", (query.type,)))
        conditions += one_of("status", query.statuses)
        conditions += one_of("review", query.reviews)
        where = " AND ".join(sql for sql, _ in conditions)
        sql = f"SELECT coalesce(sum(tasks), 0) FROM task_counts WHERE {where}"  # noqa: S608
        return int(self._store.value(sql, [arg for _, args in conditions for arg in args]))

    def _branches(self, query: TaskQuery, before: int | None) -> list[Branch]:
        """The ranges to merge: one per value of the property that the chosen index has just before ``seq``."""
        statuses: list[list[Condition]] = [[("t.status = ?", (status,))] for status in query.statuses or STATUSES]
        index, split = "tasks_by_status", statuses
        if query.unique_ids:
            marks = ", ".join("?" * len(query.unique_ids))
            index, split = "tasks_by_unique_id", [[(f"t.unique_id IN ({marks})", query.unique_ids)]]
        elif (sparse := self._sparse_time_index(query)) is not None:
            index, split = sparse, [[]]
        elif query.tags:
            return [self._tag_branch(query, tag, before) for tag in query.tags]
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
        conditions += self._seq_conditions("t.seq", query, before)
        return [Branch(f"tasks t INDEXED BY {index}", [*conditions, *part]) for part in split]

    def _tag_branch(self, query: TaskQuery, tag: str, before: int | None) -> Branch:
        return Branch(
            "task_tags g CROSS JOIN tasks t ON t.seq = g.seq",
            [
                ("g.account_no = ? AND g.tag = ?", (query.account_no, tag)),
                *self._conditions(query),
                *one_of("t.status", query.statuses),
                *one_of("t.review", query.reviews),
                *self._seq_conditions("g.seq", query, before),
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
            found.append(("t.batch_no = ? AND t.batch_no > 0", (query.batch_no,)))
        elif query.project_no is not None:
            found.append(("t.project_no = ? AND t.project_no > 0", (query.project_no,)))
        if query.type is not None:
            found.append(("t.type = ?", (query.type,)))
        for name, (start, end) in (("completed_ms", query.completed), ("updated_ms", query.updated)):
            if start is not None:
                found.append((f"t.{name} >= ?", (start,)))
            if end is not None:
                found.append((f"t.{name} <= ?", (end,)))
        return found

    def _seq_conditions(self, seq: str, query: TaskQuery, before: int | None) -> list[Condition]:
        low, high = self._seq_range(query.created)
        high = min((bound for bound in (high, before) if bound is not None), default=None)
        return [
            *([(f"{seq} >= ?", (low,))] if low is not None else []),
            *([(f"{seq} < ?", (high,))] if high is not None else []),
        ]

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


def token_after(seq: int, total: int | None) -> str:
    """An opaque ``next_token``. A total that is costly to find out travels along."""
    return base64.urlsafe_b64encode(json.dumps([seq, total]).encode()).decode().rstrip("=")


def read_token(token: str) -> tuple[int, int | None]:
    """The position and total of a ``next_token``; ValueError when it is not one of ours."""
    try:
        seq, total = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (binascii.Error, UnicodeError, TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    if type(seq) is not int or not (total is None or type(total) is int):
        raise ValueError("not a token")
    return seq, total

"""What a list of tasks asks for, and the ranges of indexes that hold the matches.

Every page is read from an index that already has the order wanted. An index per property ends in ``status, seq``, so
that one status is one ordered range of it, and all statuses are a merge of four ranges (``UNION ALL … ORDER BY``, which
SQLite merges without sorting).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

STATUSES = ("pending", "completed", "canceled", "error")

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
    def spans(self) -> dict[str, Range]:
        """The times whose order is not that of ``seq``."""
        return {"completed": self.completed, "updated": self.updated}

    @property
    def has_times(self) -> bool:
        return any(span != (None, None) for span in self.spans.values())

    @property
    def is_counted(self) -> bool:
        """Whether the total is a matter of adding up counters."""
        return not (self.has_times or self.unique_ids or len(self.tags) > 1)

    @property
    def is_one_range(self) -> bool:
        """Whether every row of one index range (per status) is a match."""
        properties = (self.batch_no is not None or self.project_no is not None, self.type is not None, self.reviews)
        return not (self.has_times or self.tags) and sum(map(bool, properties)) <= 1


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


def branches(query: TaskQuery, sparse_index: str | None, low: int | None, high: int | None) -> list[Branch]:
    """The ranges to merge for the matches with a ``seq`` from ``low`` to ``high`` (exclusive).

    One per value of the property that the chosen index has just before ``seq``; ``sparse_index`` is that of a range of
    times with few tasks.
    """
    statuses: list[list[Condition]] = [[("t.status = ?", (status,))] for status in query.statuses or STATUSES]
    index, split = "tasks_by_status", statuses
    if query.unique_ids:
        index, split = "tasks_by_unique_id", [one_of("t.unique_id", query.unique_ids)]
    elif sparse_index is not None:
        index, split = sparse_index, [[]]
    elif query.tags:
        return [_tag_branch(query, tag, low, high) for tag in query.tags]
    elif query.reviews:
        index = "tasks_by_review"
        split = [[("t.review = ? AND t.review <> ''", (review,))] for review in query.reviews]
    elif query.batch_no is not None:
        index = "tasks_by_batch"
    elif query.project_no is not None:
        index = "tasks_by_project"
    elif query.type is not None:
        index = "tasks_by_type"
    conditions = _conditions(query, index)
    if split is not statuses:
        conditions += one_of("t.status", query.statuses)
    if index != "tasks_by_review":
        conditions += one_of("t.review", query.reviews)
    if query.tags:
        marks = ", ".join("?" * len(query.tags))
        sql = f"EXISTS (SELECT 1 FROM task_tags WHERE account_no = ? AND tag IN ({marks}) AND seq = t.seq)"  # noqa: S608
        conditions.append((sql, (query.account_no, *query.tags)))
    conditions += between("t.seq", low, high)
    return [Branch(f"tasks t INDEXED BY {index}", [*conditions, *part]) for part in split]


def _tag_branch(query: TaskQuery, tag: str, low: int | None, high: int | None) -> Branch:
    conditions = [
        ("g.account_no = ? AND g.tag = ?", (query.account_no, tag)),
        *_conditions(query),
        *one_of("t.status", query.statuses),
        *one_of("t.review", query.reviews),
        *between("g.seq", low, high),
    ]
    return Branch("task_tags g CROSS JOIN tasks t ON t.seq = g.seq", conditions, seq="g.seq")


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
    for name, (start, end) in query.spans.items():
        if start is not None:
            found.append((f"t.{name}_ms >= ?", (start,)))
        if end is not None:
            found.append((f"t.{name}_ms <= ?", (end,)))
    return found


def one_of(column: str, values: tuple[Any, ...]) -> list[Condition]:
    """The condition that a column has one of the values; none at all for no values."""
    return [(f"{column} IN ({', '.join('?' * len(values))})", values)] if values else []


def between(seq: str, low: int | None, high: int | None) -> list[Condition]:
    """The condition that ``seq`` is at least ``low`` and below ``high``, each as far as given."""
    lower: list[Condition] = [] if low is None else [(f"{seq} >= ?", (low,))]
    return lower if high is None else [*lower, (f"{seq} < ?", (high,))]

"""Lists of tasks: pages newest first, totals.

A page is read from an index (task_query.py); filters that no index has all of are first narrowed down to the blocks
(task_counters.py) that can hold a match.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

from scale_mcp.sandbox import task_counters
from scale_mcp.sandbox.store import Store
from scale_mcp.sandbox.task_counters import WHOLE_ACCOUNT, TaskCounters
from scale_mcp.sandbox.task_query import Condition, Range, TaskQuery, branches, one_of

FEW = 2_000  # below so many matches a range of times is read whole and sorted


@dataclass(frozen=True)
class Block:
    """Neighbouring seqs, ``first`` to ``end`` (exclusive), with at most ``tasks`` matches, or just so many."""

    first: int
    end: int
    tasks: int
    is_exact: bool

    def below(self, seq: int) -> Block | None:
        """The part of it below a ``seq``, if there is any."""
        if self.end <= seq:
            return self
        return Block(self.first, seq, self.tasks, is_exact=False) if self.first < seq else None


class TaskList:
    """The tasks that match a query: pages of them, newest first, and how many there are."""

    def __init__(self, store: Store, counters: TaskCounters, query: TaskQuery) -> None:
        self._store, self._counters = store, counters
        self._is_empty = False
        if query.completed != (None, None):  # a time of completion is had by completed tasks only
            self._is_empty = bool(query.statuses) and "completed" not in query.statuses
            query = replace(query, statuses=("completed",))
        self._query = query
        self._low, self._high = self._seq_range() if query.created != (None, None) else (None, None)

    def page(self, limit: int, offset: int = 0, before: int | None = None) -> tuple[list[Any], int | None]:
        """Rows of one page, and the ``seq`` after which the next page begins (None: no more)."""
        if self._is_empty:
            return [], None
        high = min((bound for bound in (self._high, before) if bound is not None), default=None)
        if self._is_short or (self._query.is_one_range and offset < task_counters.BLOCK):
            seqs = self._seqs(limit + 1, offset, self._low, high)
        else:
            seqs = self._seqs_by_blocks(limit + 1, offset, high)
        more = seqs[limit - 1] if len(seqs) > limit else None
        return self._rows(seqs[:limit]), more

    def total(self) -> int:
        """How many tasks match, over all pages."""
        if self._is_empty:
            return 0
        if self._is_short:
            return self._count(self._low, self._high)
        if self._low is None and self._high is None and self._query.is_counted:
            where, args = self._counter_conditions()
            return int(self._store.value(f"SELECT sum(tasks) FROM task_counts WHERE {where}", args) or 0)  # noqa: S608
        total = 0
        for run in _runs(self._blocks):
            is_exact = run[0].is_exact
            total += sum(block.tasks for block in run) if is_exact else self._count(run[-1].first, run[0].end)
        return total

    def _seqs(self, limit: int, offset: int, low: int | None, high: int | None) -> list[int]:
        sql, args = self.page_sql(limit, offset, low, high)
        return [row["seq"] for row in self._store.query(sql, args)]

    def _seqs_by_blocks(self, limit: int, offset: int, high: int | None) -> list[int]:
        """The same from those blocks alone that can hold a match; whole blocks within the offset are passed over."""
        blocks = self._blocks if high is None else [cut for block in self._blocks if (cut := block.below(high))]
        found: list[int] = []
        at = 0
        while at < len(blocks) and len(found) < limit:
            block = blocks[at]
            if offset:
                tasks = block.tasks if block.is_exact else self._count(block.first, block.end)
                if tasks <= offset:
                    offset, at = offset - tasks, at + 1
                    continue
            last = at
            while last + 1 < len(blocks) and blocks[last + 1].end == blocks[last].first:
                last += 1
            found += self._seqs(limit - len(found), offset, blocks[last].first, block.end)
            offset, at = 0, last + 1
        return found

    def _rows(self, seqs: list[int]) -> list[Any]:
        marks = ", ".join("?" * len(seqs))
        rows = self._store.query(f"SELECT * FROM tasks WHERE seq IN ({marks})", seqs)  # noqa: S608
        return sorted(rows, key=lambda row: -int(row["seq"]))

    def _count(self, low: int | None, high: int | None) -> int:
        sql, args = self._matches(low, high)
        return int(self._store.value(f"SELECT count(*) FROM ({sql})", args))  # noqa: S608

    # What the counters know

    @cached_property
    def _scopes(self) -> tuple[int, ...]:
        """The scopes that hold all matches."""
        query, place = self._query, self._query.batch_no or WHOLE_ACCOUNT
        if not query.tags:
            return (place,)
        found = (self._counters.find_tag_scope(query.account_no, place, tag) for tag in query.tags)
        return tuple(scope for scope in found if scope is not None)

    @cached_property
    def _blocks(self) -> list[Block]:
        """The blocks that can hold a match, newest first."""
        size = task_counters.BLOCK
        bottom, top = self._low or 0, 2**62 if self._high is None else self._high
        where, args = self._counter_conditions()
        rows = self._store.query(
            f"SELECT block, sum(tasks), min(scope) = max(scope) FROM task_blocks WHERE {where}"  # noqa: S608
            " AND block >= ? AND block <= ? AND tasks > 0 GROUP BY block ORDER BY block DESC",
            [*args, bottom // size, top // size],
        )
        times = self._times(bottom // size, top // size) if self._query.has_times else None
        found = []
        for no, tasks, in_one_scope in rows:
            first, end = max(no * size, bottom), min((no + 1) * size, top)
            in_time = True if times is None else times.get(no)
            if first < end and in_time is not None:
                is_exact = bool(in_one_scope) and in_time and end - first == size
                found.append(Block(first, end, tasks, is_exact))
        return found

    def _times(self, first: int, last: int) -> dict[int, bool]:
        """Blocks with a task in the wanted span of times, and whether all their tasks are in it."""
        found = {}
        spans = [(name, *span) for name, span in self._query.spans.items() if span != (None, None)]
        sql = "SELECT * FROM task_block_times WHERE account_no = ? AND block >= ? AND block <= ?"
        for row in self._store.query(sql, (self._query.account_no, first, last)):
            holds_any = holds_all = True
            for name, start, end in spans:
                low, high = row[f"{name}_min"], row[f"{name}_max"]
                if low is None or (start is not None and high < start) or (end is not None and low > end):
                    holds_any = False
                elif (start is not None and low < start) or (end is not None and high > end):
                    holds_all = False
            if holds_any:
                found[row["block"]] = holds_all
        return found

    def _counter_conditions(self) -> tuple[str, list[Any]]:
        query = self._query
        if not self._scopes:
            return "0", []
        conditions: list[Condition] = [*one_of("scope", self._scopes), ("account_no = ?", (query.account_no,))]
        if query.project_no is not None:
            conditions.append(("project_no = ?", (query.project_no,)))
        if query.type is not None:
            conditions.append(("type = ?", (query.type,)))
        conditions += one_of("status", query.statuses)
        conditions += one_of("review", query.reviews)
        return " AND ".join(sql for sql, _ in conditions), [arg for _, args in conditions for arg in args]

    # SQL for the rows

    def page_sql(self, limit: int, offset: int, low: int | None, high: int | None) -> tuple[str, list[Any]]:
        sql, args = self._matches(low, high)
        return f"{sql} ORDER BY seq DESC LIMIT ? OFFSET ?", [*args, limit, offset]

    def _matches(self, low: int | None, high: int | None) -> tuple[str, list[Any]]:
        """SQL for the ``seq`` of every match from ``low`` (inclusive) to ``high`` (exclusive)."""
        found = branches(self._query, self._sparse_index, low, high)
        # decisions.TAGS_MATCH: any. A task that carries two of them is in two branches; no other branches overlap.
        union = " UNION " if len(self._query.tags) > 1 else " UNION ALL "
        return union.join(branch.sql() for branch in found), [arg for branch in found for arg in branch.args()]

    # Few matches

    @property
    def _is_short(self) -> bool:
        return bool(self._query.unique_ids) or self._sparse_index is not None

    @cached_property
    def _sparse_index(self) -> str | None:
        """The index of a time range that holds few tasks, if one of those asked for does."""
        for name, (start, end) in self._query.spans.items():
            if start is None and end is None:
                continue
            sql = (
                f"SELECT count(*) FROM (SELECT 1 FROM tasks INDEXED BY tasks_by_{name} WHERE account_no = ?"  # noqa: S608
                f" AND {name}_ms >= ? AND {name}_ms <= ? LIMIT {FEW})"
            )
            if self._store.value(sql, (self._query.account_no, start or 0, 2**62 if end is None else end)) < FEW:
                return f"tasks_by_{name}"
        return None

    # Creation times

    def _seq_range(self) -> Range:
        """Creation times as bounds of ``seq`` (from, inclusive; to, exclusive), None where a bound excludes nothing."""
        start, end = self._query.created
        newest = self._store.value("SELECT seq FROM tasks ORDER BY seq DESC LIMIT 1") or 0
        oldest = self._store.value("SELECT seq FROM tasks ORDER BY seq LIMIT 1") or 0
        low = None if start is None else self._first_seq(start, newest)
        high = None if end is None else self._first_seq(end + 1, newest)
        return None if low is None or low <= oldest else low, None if high is None or high > newest else high

    def _first_seq(self, created_ms: int, newest: int) -> int:
        """The first task created at or after a moment, by halving: creation times rise with ``seq``."""
        low, high = 0, newest + 1
        while low < high:
            middle = (low + high) // 2
            row = self._store.one("SELECT seq, created_ms FROM tasks WHERE seq >= ? ORDER BY seq LIMIT 1", (middle,))
            if row is None or row["created_ms"] >= created_ms:
                high = middle
            else:
                low = row["seq"] + 1
        return low


def _runs(blocks: list[Block]) -> Iterator[list[Block]]:
    """Blocks that can be counted in one go: neighbours of which the counters know as much."""
    run = blocks[:1]
    for newer, older in pairwise(blocks):
        if newer.is_exact != older.is_exact or older.end != newer.first:
            yield run
            run = []
        run.append(older)
    if run:
        yield run

"""Is the trail whole? Every row's hash is computed again and every row must follow the one before it.

Rows are read in pages of one snapshot, so that a chain of any length takes the same memory, and those who write
meanwhile are neither stopped nor taken for faults. What it cannot see by itself is an end that was cut off together
with its head, or a chain that was computed anew from some row on: for that, note number and hash of the last row
elsewhere from time to time, and hand them in as ``noted``.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from scale_mcp.hosting.audit.chain import (
    ANCHOR,
    FACTS,
    GENESIS,
    INTENT,
    OUTCOME,
    Head,
    audit_head,
    audit_rows,
    facts_of,
    row_hash,
)
from scale_mcp.hosting.store import Database

PAGE = 1_000  # rows read at a time
MOST_FAULTS = 20  # told one by one; the others are counted
MOST_OPEN = 50


@dataclass(frozen=True)
class Fault:
    """What is wrong with the row of this number."""

    seq: int
    what: str


@dataclass(frozen=True)
class OpenCall:
    """An intent without an outcome: the call runs at this moment, or its process was killed and nobody knows."""

    seq: int
    entry: str
    time: str
    replica: str
    persona: str
    tool: str


@dataclass(frozen=True)
class Verification:
    """What was found. ``first`` and ``last`` are 0 and ``head_hash`` that of the beginning for an empty chain."""

    rows: int
    first: int
    last: int
    head_hash: str
    pruned: int  # rows before the first, taken out by ``prune``
    faults: tuple[Fault, ...]
    fault_count: int
    open_calls: tuple[OpenCall, ...]
    open_count: int

    @property
    def holds(self) -> bool:
        return self.fault_count == 0


async def verify(database: Database, *, noted: Mapping[int, str] | None = None) -> Verification:
    """Check the whole chain.

    noted  number → hash of rows as they were read earlier and kept elsewhere
    """
    check = _Check(dict(noted or {}))
    async with database.reading() as connection:
        if database.dialect == "postgresql":
            await connection.execution_options(isolation_level="REPEATABLE READ")
        found = (await connection.execute(sa.select(audit_head.c.seq, audit_head.c.hash))).first()
        head = Head(found.seq, found.hash) if found else None
        async for page in _pages(connection):
            for row in page:
                check.row(row)
        check.end(head)
        open_calls, open_count = await _open_calls(connection)
    return Verification(
        rows=check.count,
        first=check.first.seq if check.first else 0,
        last=check.last.seq if check.last else 0,
        head_hash=check.last.hash if check.last else GENESIS,
        pruned=check.first.seq - 1 if check.first and check.anchor else 0,
        faults=tuple(sorted(check.faults, key=lambda fault: fault.seq)),
        fault_count=check.fault_count,
        open_calls=open_calls,
        open_count=open_count,
    )


@dataclass
class _Check:
    """Goes over the rows in their order and remembers what it needs of those before."""

    noted: dict[int, str]
    count: int = 0
    first: Head | None = None  # number of the first row, and the hash that it follows
    last: Head | None = None
    anchor: Head | None = None  # the last row that was pruned, by the newest row that tells of it
    faults: list[Fault] = field(default_factory=list)
    fault_count: int = 0
    _wrong: int = 0  # number of the last row with a fault

    def row(self, row: RowMapping) -> None:
        seq, before = row["seq"], self.last
        self.count += 1
        if self.first is None:
            self.first = Head(seq, row["prev_hash"])
            if seq == 1 and row["prev_hash"] != GENESIS:
                self._fault(seq, "was edited: it says that something stands before it.")
        elif before is not None and seq != before.seq + 1:
            self._missing(before.seq + 1, seq - 1)
            before = None
        if self._hash(row) != row["hash"]:
            self._fault(seq, "was edited: its fields do not give its hash.")
        elif before is not None and row["prev_hash"] != before.hash and self._wrong != before.seq:
            self._fault(before.seq, f"was replaced: row {seq} was written after another one.")
        self._content(row)
        if seq in self.noted and self.noted.pop(seq) != row["hash"]:
            self._fault(seq, "was replaced: it has another hash than was noted.")
        self.last = Head(seq, row["hash"])

    def end(self, head: Head | None) -> None:
        last = self.last.seq if self.last else 0
        self._beginning()
        if head is None:
            self._fault(last, "is the last one, but the head of the chain is missing.")
        elif head.seq > last:
            self._missing(last + 1, head.seq)
        elif head.seq < last:
            self._fault(head.seq + 1, "was added behind the head of the chain.")
        elif self.last and head.hash != self.last.hash and self._wrong != last:
            self._fault(last, "was replaced: the head of the chain has another hash.")
        for seq in sorted(self.noted):
            if not self.first or seq >= self.first.seq:
                self._fault(seq, "is missing, though it was noted.")

    def _beginning(self) -> None:
        if self.first is None:
            return
        pruned = self.first.seq - 1
        if self.anchor is None:
            if pruned:
                self._missing(1, pruned)
        elif pruned > self.anchor.seq:
            self._missing(self.anchor.seq + 1, pruned)
        elif pruned < self.anchor.seq:
            self._fault(self.first.seq, "was put back: it had been pruned.")
        elif self.first.hash != self.anchor.hash:
            self._fault(self.first.seq, "was replaced: it does not follow what was pruned.")

    def _content(self, row: RowMapping) -> None:
        try:
            content = json.loads(row["content"])
            wrong = _wrong_facts(row, content)
        except (ValueError, AttributeError, RecursionError):
            if self._wrong != row["seq"]:
                self._fault(row["seq"], "was edited: its content cannot be read.")
            return
        if wrong and self._wrong != row["seq"]:
            self._fault(row["seq"], f"was edited: it is searched by another {' and '.join(wrong)} than it tells of.")
        if row["kind"] == ANCHOR:
            through, digest = content.get("through"), content.get("hash")
            if isinstance(through, int) and isinstance(digest, str):
                self.anchor = Head(through, digest)

    def _hash(self, row: RowMapping) -> str:
        try:
            return row_hash(row["prev_hash"], row["seq"], row["time"], row["replica"], row["kind"], row["content"])
        except TypeError:  # SQLite lets anybody put bytes where text belongs
            return ""

    def _missing(self, first: int, last: int) -> None:
        self._fault(first, "is missing." if first == last else f"and all up to {last} are missing.")

    def _fault(self, seq: int, what: str) -> None:
        self.fault_count += 1
        self._wrong = seq
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(Fault(seq, what))


def _wrong_facts(row: RowMapping, content: dict[str, Any]) -> list[str]:
    """The columns to search by that do not say what the content says."""
    # Nearly always they say it to the letter, which is seen much sooner than what they should say.
    suspect = [column for column, name in FACTS.items() if row[column] != content.get(name)]
    if not suspect and not row["kind"].startswith("persona."):
        return []
    facts = facts_of(row["kind"], content)
    return [column for column in FACTS if row[column] != facts[column]]


async def _pages(connection: AsyncConnection) -> AsyncIterator[list[RowMapping]]:
    last = -1
    while True:
        query = sa.select(audit_rows).where(audit_rows.c.seq > last).order_by(audit_rows.c.seq).limit(PAGE)
        page = list((await connection.execute(query)).mappings())
        if page:
            yield page
            last = page[-1]["seq"]
        if len(page) < PAGE:
            return


async def _open_calls(connection: AsyncConnection) -> tuple[tuple[OpenCall, ...], int]:
    outcome = audit_rows.alias("outcome")
    finished = sa.exists().where(outcome.c.entry == audit_rows.c.entry, outcome.c.kind == OUTCOME)
    unfinished = sa.and_(audit_rows.c.kind == INTENT, ~finished)
    count = await connection.scalar(sa.select(sa.func.count()).select_from(audit_rows).where(unfinished))
    rows = (
        await connection.execute(
            sa.select(audit_rows).where(unfinished).order_by(audit_rows.c.seq.desc()).limit(MOST_OPEN)
        )
    ).mappings()
    return tuple(_open_call(row) for row in rows), int(count or 0)


def _open_call(row: RowMapping) -> OpenCall:
    return OpenCall(
        seq=row["seq"],
        entry=row["entry"] or "",
        time=row["time"],
        replica=row["replica"],
        persona=row["persona"] or "",
        tool=row["tool"] or "",
    )

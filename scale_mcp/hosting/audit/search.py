"""Reading the trail: rows by who, what, when and with what outcome, and calls with intent and outcome together."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import RowMapping
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import FromClause

from scale_mcp.hosting.audit.chain import INTENT, LONGEST_FACT, OUTCOME, audit_head, audit_rows
from scale_mcp.hosting.store import Database
from scale_mcp.text import one_line

UNKNOWN = "unknown"  # the outcome of a call that has none: it runs, or its process was killed
PAGE = 1_000
LONGEST_SOUGHT = 1_000  # characters of a text that rows are to contain; SQLite gives up on much longer ones


@dataclass(frozen=True)
class Query:
    """What is looked for; everything that is given must agree. Times as ``stamp`` writes them; until is exclusive.

    Texts may come from anybody: they are compared as rows hold them, on one line and without control characters.

    kind      a kind of row, or the beginning of several: ``persona.``
    outcome   of a call; ``unknown`` finds those that have none
    contains  a text in the row's content, such as a task's id; case does not matter for plain letters
    """

    persona: str | None = None
    user: str | None = None
    tool: str | None = None
    outcome: str | None = None
    actor: str | None = None
    connection: str | None = None
    kind: str | None = None
    entry: str | None = None
    contains: str | None = None
    since: str | None = None
    until: str | None = None


@dataclass(frozen=True)
class Row:
    """A row of the chain, its content read."""

    seq: int
    time: str
    replica: str
    kind: str
    content: dict[str, Any]
    prev_hash: str
    hash: str


@dataclass(frozen=True)
class CallRecord:
    """A call: its intent, and its outcome where there is one (else ``outcome`` is unknown and ``result`` empty)."""

    entry: str
    seq: int
    time: str
    replica: str
    persona: str
    user: str
    tool: str
    outcome: str
    connection: str
    finished_at: str | None
    intent: dict[str, Any]
    result: dict[str, Any]


class Trail:
    """Reads what ``Recorder`` wrote, by whichever process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def last(self) -> int:
        """The number of the newest row; 0 for none."""
        async with self._database.reading() as connection:
            return int(await connection.scalar(sa.select(audit_head.c.seq)) or 0)

    async def rows(self, query: Query, *, after: int = 0, before: int | None = None, limit: int = 100) -> list[Row]:
        """The newest rows that agree, newest first, numbered above ``after`` and below ``before``."""
        wanted = [*_conditions(query, audit_rows), audit_rows.c.seq > after]
        if before is not None:
            wanted.append(audit_rows.c.seq < before)
        statement = sa.select(audit_rows).where(*wanted).order_by(audit_rows.c.seq.desc()).limit(limit)
        async with self._database.reading() as connection:
            return [_row(found) for found in (await connection.execute(statement)).mappings()]

    async def all(self, query: Query, *, after: int = 0, page: int = PAGE) -> AsyncIterator[Row]:
        """All rows that agree, oldest first, in flat memory."""
        while True:
            statement = (
                sa.select(audit_rows)
                .where(*_conditions(query, audit_rows), audit_rows.c.seq > after)
                .order_by(audit_rows.c.seq)
                .limit(page)
            )
            async with self._database.reading() as connection:
                found = [_row(row) for row in (await connection.execute(statement)).mappings()]
            for row in found:
                yield row
            if len(found) < page:
                return
            after = found[-1].seq

    async def calls(self, query: Query, *, before: int | None = None, limit: int = 50) -> list[CallRecord]:
        """The newest calls that agree, newest first, whose intent is numbered below ``before``.

        ``kind`` is of no use here; ``contains`` looks into the intent.
        """
        intent, result = audit_rows.alias("intent"), audit_rows.alias("result")
        asked = replace(query, outcome=None, actor=None, connection=None, kind=None)
        wanted = [*_conditions(asked, intent), intent.c.kind == INTENT]
        if before is not None:
            wanted.append(intent.c.seq < before)
        if query.outcome == UNKNOWN:
            wanted.append(result.c.seq.is_(None))
        elif query.outcome is not None:
            wanted.append(result.c.outcome == one_line(query.outcome, LONGEST_FACT))
        if query.connection is not None:
            wanted.append(result.c.connection == one_line(query.connection, LONGEST_FACT))
        statement = (
            sa.select(
                intent,
                result.c.time.label("finished_at"),
                result.c.outcome.label("result_outcome"),
                result.c.connection.label("result_connection"),
                result.c.content.label("result_content"),
            )
            .select_from(intent.outerjoin(result, sa.and_(result.c.entry == intent.c.entry, result.c.kind == OUTCOME)))
            .where(*wanted)
            .order_by(intent.c.seq.desc())
            .limit(limit)
        )
        async with self._database.reading() as connection:
            return [_call(found) for found in (await connection.execute(statement)).mappings()]


def _conditions(query: Query, rows: FromClause) -> list[ColumnElement[bool]]:
    column = rows.c
    equal = {
        "persona": query.persona,
        "user_name": query.user,
        "tool": query.tool,
        "actor": query.actor,
        "connection": query.connection,
        "entry": query.entry,
    }
    made: list[ColumnElement[bool]] = [
        column[name] == one_line(value, LONGEST_FACT) for name, value in equal.items() if value is not None
    ]
    if query.outcome == UNKNOWN:
        outcome = audit_rows.alias("known")
        made.append(column.kind == INTENT)
        made.append(~sa.exists().where(outcome.c.entry == column.entry, outcome.c.kind == OUTCOME))
    elif query.outcome is not None:
        made.append(column.outcome == one_line(query.outcome, LONGEST_FACT))
    if query.kind is not None:
        kind = one_line(query.kind, LONGEST_FACT)
        made.append(column.kind.startswith(kind, autoescape=True) if kind.endswith(".") else column.kind == kind)
    if query.contains is not None:
        written = json.dumps(query.contains[:LONGEST_SOUGHT])[1:-1].lower()  # as it stands in the canonical content
        made.append(sa.func.lower(column.content).contains(written, autoescape=True))
    if query.since is not None:
        made.append(column.time >= query.since)
    if query.until is not None:
        made.append(column.time < query.until)
    return made


def _row(found: RowMapping) -> Row:
    return Row(
        seq=found["seq"],
        time=found["time"],
        replica=found["replica"],
        kind=found["kind"],
        content=_content(found["content"]),
        prev_hash=found["prev_hash"],
        hash=found["hash"],
    )


def _call(found: RowMapping) -> CallRecord:
    return CallRecord(
        entry=found["entry"] or "",
        seq=found["seq"],
        time=found["time"],
        replica=found["replica"],
        persona=found["persona"] or "",
        user=found["user_name"] or "",
        tool=found["tool"] or "",
        outcome=found["result_outcome"] or UNKNOWN,
        connection=found["result_connection"] or "",
        finished_at=found["finished_at"],
        intent=_content(found["content"]),
        result=_content(found["result_content"]) if found["result_content"] else {},
    )


def _content(text: str) -> dict[str, Any]:
    """The content as it was written; of a row that somebody damaged, its text."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    return content if isinstance(content, dict) else {"unreadable": text[:1_000]}

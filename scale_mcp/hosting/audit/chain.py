"""The chain: rows of which each carries the hash of the one before, so that a change made to any of them shows.

A row's hash is SHA-256 over its six fields, joined by line ends:

    prev_hash, seq, time, replica, kind, content

None of the fields holds a line end (content is JSON), so no two rows give the same text. All replicas write into one
chain: whoever adds to it locks the single row of ``audit_head`` first, which holds number and hash of the last row.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from scale_mcp.hosting.store.tables import metadata
from scale_mcp.text import one_line

GENESIS = "0" * 64  # stands for the row before the first
INTENT, OUTCOME = "call.intent", "call.outcome"
ANCHOR = "audit.pruned"
GAP = "audit.gap"
KIND = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
LONGEST_FACT = 200  # characters of a column that rows are searched by
LONGEST_REPLICA = 100

audit_rows = sa.Table(
    "audit_rows",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("time", sa.Text, nullable=False, index=True),
    sa.Column("replica", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("prev_hash", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    # What rows are searched by, copied from their content. Not hashed: ``verify`` compares them with the content.
    sa.Column("entry", sa.Text, index=True),
    sa.Column("actor", sa.Text),
    sa.Column("persona", sa.Text, index=True),
    sa.Column("user_name", sa.Text),
    sa.Column("tool", sa.Text),
    sa.Column("outcome", sa.Text),
    sa.Column("connection", sa.Text),
)

audit_head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
)

# Made once: they are run twice for every call.
_LOCK = sa.select(audit_head.c.seq, audit_head.c.hash).where(audit_head.c.id == 1).with_for_update()
_ADD = sa.insert(audit_rows)
_MOVE = (
    sa.update(audit_head)
    .where(audit_head.c.id == 1)
    .values(seq=sa.bindparam("last_seq"), hash=sa.bindparam("last_hash"))
)

# Column → name in the content.
FACTS = {
    "entry": "entry",
    "actor": "actor",
    "persona": "persona",
    "user_name": "user",
    "tool": "tool",
    "outcome": "outcome",
    "connection": "connection",
}


class ChainBroken(Exception):
    """The head of the chain is missing or unreadable: nothing can be added."""


@dataclass(frozen=True, slots=True)
class Head:
    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A row before it has its place in the chain. ``content`` is canonical JSON."""

    time: str
    replica: str
    kind: str
    content: str
    facts: dict[str, str | None] = field(default_factory=dict)


def draft(time: str, replica: str, kind: str, content: Mapping[str, Any]) -> Draft:
    """A row to be written. Raises ``ValueError`` for a kind that is none and for content that is not JSON."""
    if not KIND.fullmatch(kind):
        raise ValueError(f"{kind!r} is no kind of audit row; write it like persona.added.")
    return Draft(time, one_line(replica, LONGEST_REPLICA), kind, canonical(content), facts_of(kind, content))


def canonical(value: Any) -> str:
    """The one text of a JSON value: sorted names, no spaces, ASCII. Raises ``ValueError`` for what is not JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def facts_of(kind: str, content: Mapping[str, Any]) -> dict[str, str | None]:
    """The columns to search by, on one line and capped. What stands there as an object goes by its name."""
    facts = {column: _fact(content.get(name)) for column, name in FACTS.items()}
    if kind.startswith("persona."):
        facts["persona"] = facts["persona"] or _fact(content.get("name"))
    return facts


def _fact(value: Any) -> str | None:
    if isinstance(value, Mapping):
        value = value.get("name")
    return one_line(value, LONGEST_FACT) if isinstance(value, str) else None


def row_hash(prev_hash: str, seq: int, time: str, replica: str, kind: str, content: str) -> str:
    """64 hexadecimal digits."""
    return hashlib.sha256(
        "\n".join((prev_hash, str(seq), time, replica, kind, content)).encode("utf-8", "surrogatepass")
    ).hexdigest()


async def hold(connection: AsyncConnection) -> Head:
    """Lock the chain until the end of this writing transaction, and give its last row's number and hash."""
    synchronous = connection.sync_connection
    if synchronous is None or not synchronous.get_execution_options().get("writes"):
        raise ValueError("The audit is written in a transaction of Database.writing().")
    found = (await connection.execute(_LOCK)).first()
    if found is None:
        raise ChainBroken("The head of the audit chain is missing. Run `scale-mcp audit verify`.")
    return Head(found.seq, found.hash)


async def extend(connection: AsyncConnection, drafts: Sequence[Draft]) -> int:
    """Add rows at the end of the chain, in their order, and give the number of the last one."""
    head = await hold(connection)
    seq, last = head.seq, head.hash
    rows = []
    for item in drafts:
        seq += 1
        digest = row_hash(last, seq, item.time, item.replica, item.kind, item.content)
        rows.append(
            {
                "seq": seq,
                "time": item.time,
                "replica": item.replica,
                "kind": item.kind,
                "content": item.content,
                "prev_hash": last,
                "hash": digest,
                **dict.fromkeys(FACTS),
                **item.facts,
            }
        )
        last = digest
    if rows:
        await connection.execute(_ADD, rows)
        await connection.execute(_MOVE, {"last_seq": seq, "last_hash": last})
    return seq

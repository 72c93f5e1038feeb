"""The trail as files: a JSON object per line, from which the hashes can be computed again, or a table."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from scale_mcp.hosting.audit.chain import canonical
from scale_mcp.hosting.audit.search import Row

COLUMNS = (
    "seq",
    "time",
    "replica",
    "kind",
    "entry",
    "actor",
    "persona",
    "user",
    "tool",
    "outcome",
    "connection",
    "content",
    "prev_hash",
    "hash",
)
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets would compute


def as_json(row: Row) -> dict[str, Any]:
    return {
        "seq": row.seq,
        "time": row.time,
        "replica": row.replica,
        "kind": row.kind,
        "content": row.content,
        "prev_hash": row.prev_hash,
        "hash": row.hash,
    }


def as_json_line(row: Row) -> str:
    return json.dumps(as_json(row), ensure_ascii=True, separators=(",", ":"))


def csv_header() -> str:
    return _line(COLUMNS)


def as_csv_line(row: Row) -> str:
    """A line of the table. A cell that a spreadsheet would take for a formula begins with an apostrophe."""
    facts = {**row.content, **{name: value for name, value in vars(row).items() if name != "content"}}
    facts["content"] = canonical(row.content)
    return _line(tuple(_cell(facts.get(column)) for column in COLUMNS))


def _cell(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else canonical(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _line(cells: tuple[str, ...]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(cells)
    return buffer.getvalue()

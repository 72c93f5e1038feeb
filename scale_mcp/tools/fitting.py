"""Making results fit: what a text costs, tables for models, and large values cut down with a note of what is missing.

Everything here works on values that Scale sent. They are cleaned, shortened and quoted, and never reworded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from scale_mcp.text import cap, clean_value, is_clean_json, one_line

Row = Mapping[str, Any]

PAGE_TOKENS = 1_940  # text and structure of a default page, by `tokens`, which errs upwards; the promise is 2,000
CELL = 120  # characters of one cell in a table: whole names and addresses, but no prose
WHOLE_CELL = 2_000  # of one that was asked for by name
QUOTE = 300  # characters of a quoted text

_WRITE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode
_PIECE = re.compile(r"[A-Za-z]+|\d{1,3}|[^\sA-Za-z\d]+|\s+")
_TOKEN = re.compile(r"[A-Za-z]{1,6}|\d{1,3}|[^\sA-Za-z\d]{1,4}")


def tokens(text: str) -> int:
    """About how many tokens a language model sees; on the high side for ids and JSON."""
    if text.isascii():  # the same sum as below, counted by the piece that makes one token
        return len(_TOKEN.findall(text)) + text.count("\n") + text.count("\t")
    total = 0
    for piece in _PIECE.findall(text):
        if piece[0].isalpha():
            total += 1 + (len(piece) - 1) // 6
        elif piece[0].isdigit():
            total += 1
        elif piece.isspace():
            total += piece.count("\n") + piece.count("\t")
        else:
            total += 1 + (len(piece) - 1) // 4 if piece.isascii() else len(piece)
    return total


def compact(value: Any) -> str:
    """A value as JSON without spaces."""
    return _WRITE(value)


def quoted(text: Any, length: int = QUOTE) -> str:
    """Somebody's words as one quoted line: data, whatever they say."""
    return _WRITE(one_line(str(text), length))


def cell(value: Any, length: int = CELL) -> str:
    """A value in a table: short, on one line, empty when there is none."""
    if value is None or value == []:
        return ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = ", ".join(value)
    return one_line(value if isinstance(value, str) else compact(value), length)


def table(rows: Sequence[Row], columns: Iterable[str], whole: Collection[str] = ()) -> str:
    """Rows under a head line, cells parted by tabs. Columns that are empty throughout are left out.

    Cells of the columns in ``whole`` are not cut: half an address is none.
    """
    shown = {
        column: WHOLE_CELL if column in whole else CELL
        for column in columns
        if any(cell(row.get(column)) for row in rows)
    }
    lines = ["\t".join(shown)]
    lines += ["\t".join(cell(row.get(column), length) for column, length in shown.items()) for row in rows]
    return "\n".join(lines)


def shared(rows: Sequence[Row], columns: Iterable[str]) -> dict[str, Any]:
    """The columns in which all of several rows say the same: worth one line instead of a column."""
    if len(rows) < 2:
        return {}
    return {
        column: rows[0][column]
        for column in columns
        if rows[0].get(column) not in (None, "", []) and all(row.get(column) == rows[0][column] for row in rows)
    }


# Large values -----------------------------------------------------------------------------------------------------

# Longest string, most list items and most members kept, from mild to harsh.
_STEPS = ((4000, 100, 100), (1500, 40, 60), (600, 15, 40), (300, 6, 30), (150, 3, 20), (80, 2, 12), (40, 1, 6))
_DEEPEST = 12


def shorten(value: Any, characters: int, path: str = "") -> tuple[Any, list[str]]:
    """``value`` cleaned and cut until its JSON has at most about ``characters``, with a note for each cut.

    Types stay, so that a schema still holds. A note reads ``response.annotations: 15 of 10000 items``.
    """
    written = compact(value)
    if not is_clean_json(written):
        value = clean_value(value)
        written = compact(value)
    if len(written) <= characters:
        return value, []
    for step in _STEPS:
        notes: list[str] = []
        shorter = _cut(value, step, path, notes, _DEEPEST)
        if len(compact(shorter)) <= characters:
            break
    return shorter, notes[:10] + ([f"and {len(notes) - 10} more cuts"] if len(notes) > 10 else [])


def _cut(value: Any, step: tuple[int, int, int], path: str, notes: list[str], depth: int) -> Any:
    longest, most_items, most_members = step
    if isinstance(value, str) and len(value) > longest:
        notes.append(f"{path}: {longest} of {len(value)} characters")
        return cap(value, longest)
    if isinstance(value, list | dict) and depth == 0:
        notes.append(f"{path}: nested deeper")
        return type(value)()
    if isinstance(value, list):
        if len(value) > most_items:
            notes.append(f"{path}: {most_items} of {len(value)} items")
        return [_cut(item, step, f"{path}[{i}]", notes, depth - 1) for i, item in enumerate(value[:most_items])]
    if isinstance(value, dict):
        if len(value) > most_members:
            notes.append(f"{path}: {most_members} of {len(value)} members")
        kept = list(value.items())[:most_members]
        return {key: _cut(item, step, f"{path}.{key}".lstrip("."), notes, depth - 1) for key, item in kept}
    return value


def outline(value: Any, depth: int = 3) -> str:
    """The shape of a value in a few words: ``{annotations: [10000 × {uuid, type, label}]}``."""
    if isinstance(value, dict):
        if not value or depth == 0:
            return f"{{{len(value)} members}}" if value else "{}"
        shown = [f"{one_line(str(key), 40)}: {outline(item, depth - 1)}" for key, item in list(value.items())[:8]]
        if depth == 1:
            shown = [one_line(str(key), 40) for key in list(value)[:12]]
        return "{" + ", ".join(shown) + (", …" if len(value) > len(shown) else "") + "}"
    if isinstance(value, list):
        return f"[{len(value)} × {outline(value[0], depth - 1)}]" if value else "[]"
    if isinstance(value, str):
        return f"string of {len(value)}" if len(value) > 40 else "string"
    return "null" if value is None else type(value).__name__.replace("bool", "boolean").replace("str", "string")

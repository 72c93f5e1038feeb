"""Lists as every tool returns them: a page of ``docs``, how many there are in all, and how to go on.

The structure keeps Scale's field names. The text beside it is a table in which nothing is said twice: what all rows
share stands in its head. A page is cut by columns or by rows until both together fit an agent's budget.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from scale_mcp.text import clean_value
from scale_mcp.tools.card import ToolOutput
from scale_mcp.tools.fitting import PAGE_TOKENS, compact, quoted, shared, shorten, table, tokens

DEFAULT_LIMIT = 20
ENTRY_CHARACTERS = 1_500  # of one element, before its long values are cut


class Entry(BaseModel):
    """One element of a list. Only what is there is shown."""

    model_config = ConfigDict(extra="allow", populate_by_name=True, protected_namespaces=())


class Listing(ToolOutput):
    """A page of things. Subclasses narrow ``docs`` and say what the things are called."""

    nouns: ClassVar[tuple[str, str]] = ("item", "items")

    docs: list[Any]
    total: int | None = Field(None, description="All that match")
    has_more: bool = False
    note: str | None = Field(None, description="What is not shown and how to get it")

    _columns: tuple[str, ...] | None = PrivateAttr(default=None)  # of the table; None: all

    def text(self) -> str:
        rows = [doc.model_dump(mode="json", by_alias=True, exclude_none=True) for doc in self.docs]
        count = self.nouns[0] if len(rows) == 1 else self.nouns[1]
        of_all = f" of {self.total}" if self.total is not None and self.total != len(rows) else ""
        columns = list(dict.fromkeys(column for row in rows for column in row))
        same = shared(rows, columns)
        head = f"{len(rows)}{of_all} {count}" if rows else f"No {self.nouns[1]}{of_all}"
        if same:
            head += "; all " + ", ".join(f"{name} {quoted(value, 80)}" for name, value in same.items())
        varying = [column for column in columns if column not in same]
        body = table(rows, [name for name in varying if self._columns is None or name in self._columns])
        return "\n".join(part for part in (f"{head}.", body if rows else "", self.note or "") if part)


Page = TypeVar("Page", bound=Listing)


def entries(things: Iterable[BaseModel], columns: Sequence[str]) -> list[dict[str, Any]]:
    """The named fields of wire objects, as rows for a list: cleaned, capped, times to the second."""
    rows = []
    for thing in things:
        wire = clean_value(thing.model_dump(mode="json", by_alias=True, exclude_unset=True))
        row = {name: _brief(wire[name], name) for name in columns if wire.get(name) not in (None, "", [], {})}
        rows.append(row)
    return rows


def _brief(value: Any, name: str) -> Any:
    if isinstance(value, str) and name.endswith("_at") and len(value) > 20 and value.endswith("Z"):
        return value.partition(".")[0].removesuffix("Z") + "Z"
    return shorten(value, 300)[0] if not isinstance(value, int | float) else value


def by_columns(
    kind: type[Page], rows: list[dict[str, Any]], budget: int, keep: Iterable[str] = (), **fields: Any
) -> Page:
    """A page of all ``rows``. Until it fits, columns go: from the table first, then altogether, the last one first.

    For lists whose pages Scale cuts, where leaving out a row would lose it. The first two columns always stay.
    """
    kept = list(keep)
    structure = list(dict.fromkeys(column for row in rows for column in row))
    in_table = list(structure)
    dropped: list[str] = []
    while True:
        page = _page(kind, [{name: row[name] for name in structure if name in row} for row in rows], dropped, fields)
        page._columns = tuple(in_table)
        if _cost(page) <= budget:
            return page
        for columns, record in ((in_table, []), (structure, dropped)):
            if loose := [name for name in columns[2:] if name not in kept]:
                columns.remove(loose[-1])
                record.insert(0, loose[-1])
                break
        else:
            return page


def _page(kind: type[Page], rows: list[dict[str, Any]], dropped: list[str], fields: dict[str, Any]) -> Page:
    notes = [fields.get("note")]
    if dropped:
        notes.append(f"Left out to keep this short: {', '.join(dropped)}.")
    return kind.model_validate({**fields, "docs": rows, "note": " ".join(filter(None, notes)) or None})


def by_rows(
    kind: type[Page],
    rows: list[dict[str, Any]],
    *,
    offset: int = 0,
    limit: int = DEFAULT_LIMIT,
    go_on: str = "call again",
    **fields: Any,
) -> Page:
    """A page of ``rows[offset:]``, as many as fit. For lists that Scale sends whole; the rest follows by offset.

    ``go_on`` says which call that is.
    """
    budget = PAGE_TOKENS * max(1, -(-limit // DEFAULT_LIMIT))
    wanted = rows[offset : offset + limit]
    while True:
        end = offset + len(wanted)
        following = end if end < len(rows) else None
        note = f"{len(rows) - end} more: {go_on} with offset {end}." if following is not None else None
        notes = " ".join(filter(None, (note, fields.get("note")))) or None
        page = kind.model_validate(
            {
                **fields,
                "docs": wanted,
                "total": len(rows),
                "has_more": following is not None,
                "next_offset": following,
                "note": notes,
            }
        )
        cost = _cost(page)
        if cost <= budget or len(wanted) <= 1:
            return page
        wanted = wanted[: max(1, min(len(wanted) - 1, len(wanted) * budget // cost))]


def _cost(page: Listing) -> int:
    return tokens(compact(page.model_dump(mode="json", by_alias=True, exclude_none=True))) + tokens(page.text())

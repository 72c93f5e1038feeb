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
from scale_mcp.tools.fitting import PAGE_TOKENS, WHOLE_CELL, cell, compact, quoted, shared, shorten, table, tokens

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
    common: dict[str, Any] | None = Field(None, description="What each of docs has, not repeated in it")
    note: str | None = Field(None, description="What is not shown and how to get it")

    _columns: tuple[str, ...] | None = PrivateAttr(default=None)  # of the table; None: all
    _whole: tuple[str, ...] = PrivateAttr(default=())  # columns whose cells are not cut

    def text(self) -> str:
        rows = [doc.model_dump(mode="json", by_alias=True, exclude_none=True) for doc in self.docs]
        count = self.nouns[0] if len(rows) == 1 else self.nouns[1]
        of_all = f" of {self.total}" if self.total is not None and self.total != len(rows) else ""
        columns = list(dict.fromkeys(column for row in rows for column in row))
        same = shared(rows, columns) | (self.common or {})
        head = f"{len(rows)}{of_all} {count}" if rows else f"No {self.nouns[1]}{of_all}"
        if same:
            head += "; all " + ", ".join(f"{name} {self._quoted(name, value)}" for name, value in same.items())
        varying = [column for column in columns if column not in same]
        shown = [name for name in varying if self._columns is None or name in self._columns]
        body = table(rows, shown, self._whole)
        return "\n".join(part for part in (f"{head}.", body if rows else "", self.note or "") if part)

    def _quoted(self, name: str, value: Any) -> str:
        length = WHOLE_CELL if name in self._whole else 80
        return quoted(cell(value, length), length)


Page = TypeVar("Page", bound=Listing)


def page_budget(limit: int) -> int:
    """Tokens that text and structure of a page may take together; who asks for more than a default page gets more."""
    return PAGE_TOKENS * max(1, -(-limit // DEFAULT_LIMIT))


def entries(things: Iterable[BaseModel], columns: Sequence[str]) -> list[dict[str, Any]]:
    """The named fields of wire objects, as rows for a list: cleaned, capped, times to the second."""
    rows = []
    for thing in things:
        wire = clean_value(thing.model_dump(mode="json", by_alias=True, exclude_unset=True))
        rows.append(entry({name: wire.get(name) for name in columns}))
    return rows


def entry(fields: dict[str, Any]) -> dict[str, Any]:
    """One row: what is there of ``fields``, briefly."""
    return {name: _brief(value, name) for name, value in fields.items() if value not in (None, "", [], {})}


def _brief(value: Any, name: str) -> Any:
    if isinstance(value, str) and name.endswith("_at"):
        return value.partition(".")[0].removesuffix("Z") + "Z" if value.endswith("Z") else value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, bool | int | float) else shorten(value, 300)[0]


def by_columns(
    kind: type[Page], rows: list[dict[str, Any]], budget: int, keep: Iterable[str] = (), **fields: Any
) -> Page:
    """A page of all ``rows``. Until it fits, columns go: from the table first, then altogether, the last one first.

    For lists whose pages Scale cuts, where leaving out a row would lose it. The first two columns always stay, and so
    do those to ``keep``, which were asked for: whole.
    """
    kept = list(keep)
    structure = list(dict.fromkeys(column for row in rows for column in row))
    constant = shared(rows, structure)
    in_table = list(structure)
    dropped: list[str] = []
    page: Page | None = None  # as long as the structure stays what it is
    while True:
        if page is None:
            docs = [{name: row[name] for name in structure if name in row} for row in rows]
            page = _page(kind, docs, {name: constant.get(name) for name in dropped}, fields)
            structural = cost_of_structure(page)
        page._columns, page._whole = tuple(in_table), tuple(kept)
        if structural + tokens(page.text()) <= budget:
            return page
        if loose := [name for name in in_table[2:] if name not in kept]:
            in_table.remove(loose[-1])
        elif loose := [name for name in structure[2:] if name not in kept]:
            # What all rows share is not lost by leaving it out of each.
            dropped.insert(0, next((name for name in reversed(loose) if name in constant), loose[-1]))
            structure.remove(dropped[0])
            page = None
        else:
            return page


def _page(kind: type[Page], docs: list[dict[str, Any]], dropped: dict[str, Any], fields: dict[str, Any]) -> Page:
    """``dropped`` has the value that all rows share, or None: what is the same everywhere is said once instead."""
    lost = [name for name, value in dropped.items() if value is None]
    notes = [f"Left out to keep this short: {', '.join(lost)}." if lost else None, fields.get("note")]
    common = {name: value for name, value in dropped.items() if value is not None}
    return kind.model_validate(
        {**fields, "docs": docs, "common": common or None, "note": "\n".join(filter(None, notes)) or None}
    )


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
    budget = page_budget(limit)
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
        taken = cost(page)
        if taken <= budget or len(wanted) <= 1:
            return page
        wanted = wanted[: max(1, min(len(wanted) - 1, len(wanted) * budget // taken))]


def cost(page: Listing) -> int:
    """The tokens of a page's structure and text together."""
    return cost_of_structure(page) + tokens(page.text())


def cost_of_structure(page: Listing) -> int:
    return tokens(compact(page.model_dump(mode="json", by_alias=True, exclude_none=True)))

"""Completing project and batch names while a person types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from scale_mcp.models.batches import BatchFilter
from scale_mcp.text import clean

if TYPE_CHECKING:
    from scale_mcp.api import ScaleApi

MOST = 100  # the protocol's limit
PAGES = 10  # of batches looked through
PAGE = 100

Kind = Literal["project", "batch"]
LISTED_BY: dict[Kind, str] = {"project": "list_projects", "batch": "list_batches"}
"""The tools that list the names: whoever may not use one is not helped to its names either."""

# Which argument of which template or prompt takes which names.
TEMPLATE_ARGUMENTS: dict[tuple[str, str], Kind] = {
    ("scale://project/{name}", "name"): "project",
    ("scale://batch/{name}", "name"): "batch",
}
PROMPT_ARGUMENTS: dict[str, Kind] = {"project": "project", "batch": "batch"}


@dataclass(frozen=True)
class Completion:
    """At most 100 names. ``total`` is None when there may be more than were looked at."""

    values: list[str]
    total: int | None
    has_more: bool


async def complete(api: ScaleApi, kind: Kind, prefix: str, project: str | None = None) -> Completion:
    """The names that begin with ``prefix``, upper and lower case alike; batches of one ``project`` only, if given."""
    if kind == "project":
        names, looked_at_all = [found.name for found in await api.projects.list()], True
    else:
        names, looked_at_all = await _batch_names(api, project)
    wanted = prefix.casefold()
    # A name that cleaning would change cannot be shown truthfully, so it is not offered.
    matching = sorted({name for name in names if name.casefold().startswith(wanted) and clean(name) == name})
    return Completion(
        matching[:MOST],
        len(matching) if looked_at_all else None,
        len(matching) > MOST or not looked_at_all,
    )


async def _batch_names(api: ScaleApi, project: str | None) -> tuple[list[str], bool]:
    names: list[str] = []
    for _ in range(PAGES):
        page = await api.batches.page(BatchFilter(project=project), offset=len(names), limit=PAGE)
        names += [batch.name for batch in page.docs]
        if not page.docs or not page.has_more:
            return names, True
    return names, False

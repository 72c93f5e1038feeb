"""Completing project and batch names while a person types."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from scale_mcp.api.errors import NotFound
from scale_mcp.models.batches import BatchFilter
from scale_mcp.text import clean
from scale_mcp.tools.visible import visible

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


async def complete(
    api: ScaleApi,
    kind: Kind,
    prefix: str,
    project: str | None = None,
    visible_projects: Collection[str] | None = None,
) -> Completion:
    """The names that begin with ``prefix``, upper and lower case alike; batches of one ``project`` only, if given.

    With ``visible_projects``, only those projects and their batches; others are as if they did not exist.
    """
    if kind == "project":
        names = [found.name for found in await api.projects.list() if visible(found.name, visible_projects)]
        looked_at_all = True
    elif project is not None and not visible(project, visible_projects):
        return Completion([], 0, has_more=False)
    elif project is None and visible_projects is not None:
        names, looked_at_all = await _batches_of_all(api, visible_projects)
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


async def _batches_of_all(api: ScaleApi, projects: Collection[str]) -> tuple[list[str], bool]:
    """One project after the other, as looking through the whole account would tell how much else is in it."""
    names: list[str] = []
    looked_at_all = True
    for project in projects:
        try:
            more, complete_list = await _batch_names(api, project)
        except NotFound:  # a project of the list that is not made yet
            continue
        names += more
        looked_at_all = looked_at_all and complete_list
    return names, looked_at_all


async def _batch_names(api: ScaleApi, project: str | None) -> tuple[list[str], bool]:
    names: list[str] = []
    for _ in range(PAGES):
        page = await api.batches.page(BatchFilter(project=project), offset=len(names), limit=PAGE)
        names += [batch.name for batch in page.docs]
        if not page.docs or not page.has_more:
            return names, True
    return names, False

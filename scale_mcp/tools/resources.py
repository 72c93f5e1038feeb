"""Projects, batches and tasks as resources: the whole object under an address, where tools show a short form."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pydantic import TypeAdapter, ValidationError

from scale_mcp.api.errors import NotFound
from scale_mcp.models.checks import problems_in
from scale_mcp.models.field_types import Identifier, Name
from scale_mcp.text import clean_value
from scale_mcp.tools.card import ToolFailure
from scale_mcp.tools.fitting import compact, shorten
from scale_mcp.tools.visible import not_there, visible

if TYPE_CHECKING:
    from scale_mcp.api import ScaleApi

Visible = Collection[str] | None  # the only projects that may be read; None: all

MAX_CHARACTERS = 200_000
MIME_TYPE = "application/json"


@dataclass(frozen=True)
class ResourceTemplate:
    """A kind of resource. ``uri_template`` has one variable, which stands for a percent-encoded name or id.

    ``read_by`` is the tool that reads the same: the resource is there only where that tool is.
    """

    name: str
    uri_template: str
    title: str
    description: str
    fetch: Callable[[ScaleApi, str, Visible], Awaitable[dict[str, Any]]]
    variable: str
    check: Any
    read_by: str

    @property
    def addresses(self) -> re.Pattern[str]:
        """The form of the addresses it answers; group 1 is the encoded name."""
        prefix = self.uri_template.partition("{")[0]
        return re.compile(re.escape(prefix) + r"([^/?#]+)")


async def read_project(api: ScaleApi, name: str, visible_projects: Visible) -> dict[str, Any]:
    if not visible(name, visible_projects):
        raise not_there("project", name, visible_projects)
    return (await api.projects.get(name)).to_wire()


async def read_batch(api: ScaleApi, name: str, visible_projects: Visible) -> dict[str, Any]:
    """The batch with its progress, which Scale keeps apart."""
    batch = await api.batches.get(name)
    if not visible(batch.project, visible_projects):  # before another request tells by its time that there is one
        raise not_there("batch", name)
    status = await api.batches.status(name)
    counts = {count: getattr(status, count) for count in ("pending", "completed", "error", "canceled")}
    return {**batch.to_wire(), "status": status.status, "counts": counts}


async def read_task(api: ScaleApi, task_id: str, visible_projects: Visible) -> dict[str, Any]:
    task = await api.tasks.get(task_id)
    if not visible(task.project, visible_projects):
        raise not_there("task", task_id)
    return task.to_wire()


TEMPLATES: tuple[ResourceTemplate, ...] = (
    ResourceTemplate(
        "project",
        "scale://project/{name}",
        "A project",
        "A project with all versions of its parameters and ontology, by its percent-encoded name.",
        read_project,
        "name",
        Name,
        "get_project",
    ),
    ResourceTemplate(
        "batch",
        "scale://batch/{name}",
        "A batch",
        "A batch and how far it is, by its percent-encoded name.",
        read_batch,
        "name",
        Name,
        "get_batch",
    ),
    ResourceTemplate(
        "task",
        "scale://task/{id}",
        "A task",
        "A task with its parameters and response, by its id.",
        read_task,
        "id",
        Identifier,
        "get_task",
    ),
)


async def read(
    api: ScaleApi, template: ResourceTemplate, uri: str, visible_projects: Collection[str] | None = None
) -> str:
    """The resource at ``uri``, an address of the template, as JSON text.

    With ``visible_projects``, what belongs to others is not there, in the same words as what does not exist. Raises
    ToolFailure for that and for a name that cannot be one; Scale's own errors pass through.
    """
    name = name_in(template, uri)
    try:
        return _text(await template.fetch(api, name, visible_projects))
    except NotFound:
        if visible_projects is None:
            raise
        raise not_there(template.name, name, visible_projects) from None


def name_in(template: ResourceTemplate, uri: str) -> str:
    """The name or id that an address of the template holds. Raises ToolFailure when it cannot be one."""
    match = template.addresses.fullmatch(uri)
    if match is None:
        raise ToolFailure(f"{uri[:200]} is no address of the form {template.uri_template}.")
    return _decoded(template, match[1])


def _decoded(template: ResourceTemplate, encoded: str) -> str:
    try:
        name: str = TypeAdapter(template.check).validate_python(unquote(encoded, errors="strict"), strict=True)
    except UnicodeDecodeError:
        raise ToolFailure(f"The {template.variable} in the address is not percent-encoded UTF-8.") from None
    except ValidationError as error:
        problems = "; ".join(problem.text for problem in problems_in(error))
        raise ToolFailure(f"The {template.variable} in the address {problems}.") from None
    return name


def _text(value: dict[str, Any]) -> str:
    text = compact(clean_value(value))
    if len(text) <= MAX_CHARACTERS:
        return text
    shorter, notes = shorten(value, MAX_CHARACTERS)
    return compact({**shorter, "shortened": notes})

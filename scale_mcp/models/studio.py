"""Studio: who works on which project, in which groups, on which batch first. Studio speaks camelCase."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from scale_mcp.models.base import WireModel
from scale_mcp.models.common import Items, spelt

Assignments = dict[str, list[str]]
"""Project names by e-mail address, for the active members of the team."""


class StudioBatch(WireModel):
    """A pending Studio batch. ``total`` and ``completed`` count tasks; a lower priority number comes first."""

    id: str | None = None
    name: str
    project_id: Annotated[str | None, spelt("projectId", "project_id")] = None
    project_name: Annotated[str | None, spelt("projectName", "project_name")] = None
    batch_type: Annotated[str | None, spelt("batchType", "batch_type")] = None
    studio_priority: Annotated[float | None, spelt("studioPriority", "studio_priority")] = None
    total: int | None = None
    completed: int | None = None
    groups: Items[Any] = Field(default_factory=list)


class GroupMember(WireModel):
    id: str | None = None
    email: str | None = None


class ProjectGroup(WireModel):
    """A group of labellers of a Studio project; ``is_singleton``: one person standing for herself."""

    id: str | None = None
    name: str
    num_workers: Annotated[int | None, spelt("numWorkers", "num_workers")] = None
    is_singleton: Annotated[bool | None, spelt("isSingleton", "is_singleton")] = None
    workers: Items[GroupMember] = Field(default_factory=list)

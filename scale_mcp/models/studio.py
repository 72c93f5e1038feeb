"""Studio: who works on which project, in which groups, on which batch first. Studio speaks camelCase."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AliasChoices, Field

from scale_mcp.models.base import WireModel
from scale_mcp.models.common import Items

Assignments = dict[str, list[str]]
"""Project names by e-mail address, for the active members of the team."""


class StudioBatch(WireModel):
    """A pending Studio batch. ``total`` and ``completed`` count tasks; a lower priority number comes first."""

    id: str | None = None
    name: str
    project_id: Annotated[
        str | None, Field(validation_alias=AliasChoices("projectId", "project_id"), serialization_alias="projectId")
    ] = None
    project_name: Annotated[
        str | None,
        Field(validation_alias=AliasChoices("projectName", "project_name"), serialization_alias="projectName"),
    ] = None
    batch_type: Annotated[
        str | None, Field(validation_alias=AliasChoices("batchType", "batch_type"), serialization_alias="batchType")
    ] = None
    studio_priority: Annotated[
        float | None,
        Field(
            validation_alias=AliasChoices("studioPriority", "studio_priority"),
            serialization_alias="studioPriority",
        ),
    ] = None
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
    num_workers: Annotated[
        int | None, Field(validation_alias=AliasChoices("numWorkers", "num_workers"), serialization_alias="numWorkers")
    ] = None
    is_singleton: Annotated[
        bool | None,
        Field(validation_alias=AliasChoices("isSingleton", "is_singleton"), serialization_alias="isSingleton"),
    ] = None
    workers: Items[GroupMember] = Field(default_factory=list)

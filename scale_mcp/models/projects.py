"""Projects as Scale sends them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from scale_mcp.models.base import WireModel
from scale_mcp.models.common import Items, spelt


class Project(WireModel):
    """A project: one task type, versioned default parameters, an optional ontology.

    ``param_history`` holds the versions of the parameters, oldest first; new tasks inherit the last one.
    """

    name: str
    type: str | None = None
    created_at: str | None = None
    param_history: Items[dict[str, Any]] = Field(default_factory=list)
    ontology_history: Annotated[Items[Any], spelt("ontologyHistory", "ontology_history")] = Field(default_factory=list)
    archived: bool | None = None

    @property
    def version(self) -> int | None:
        """The version of the parameters in force, None when there are none."""
        version = self.param_history[-1].get("version") if self.param_history else None
        return version if isinstance(version, int) else None

    @property
    def params(self) -> dict[str, Any]:
        """The parameters in force, without their version and time."""
        if not self.param_history:
            return {}
        return {key: value for key, value in self.param_history[-1].items() if key not in ("version", "created_at")}


class ProjectTemplate(WireModel):
    """The task template of a text collection or chat project."""

    id: str
    version: int | str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    template_variables: Any = None
    response_schema: Any = None
    auto_onboard_enabled: bool | None = None

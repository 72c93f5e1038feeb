"""Uploaded and imported files."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AliasChoices, Field

from scale_mcp.models.base import WireModel
from scale_mcp.models.common import Items


class File(WireModel):
    """A stored file. ``attachment_url`` (``scaledata://…``) serves as the attachment of a task. ``size`` is bytes."""

    id: str
    attachment_url: str | None = None
    mime_type: str | None = None
    size: int | None = None
    display_name: str | None = None
    reference_id: str | None = None
    metadata: Any = None
    project_names: Items[str] = Field(default_factory=list)
    created_at: str | None = None
    updated_at: str | None = None


class FilePage(WireModel):
    """One page of a project's files. Sources disagree on the cursor's name, so both are read."""

    docs: Items[File] = Field(default_factory=list)
    total: int | None = None
    has_more: bool | None = None
    cursor: Annotated[str | None, Field(validation_alias=AliasChoices("cursor", "next_token"))] = None

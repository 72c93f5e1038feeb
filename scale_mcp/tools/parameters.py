"""Parameters that several tools share, with the words that describe them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, WithJsonSchema

from scale_mcp.models.common import IsoTime
from scale_mcp.models.field_types import Identifier, Name

TaskId = Annotated[Identifier, Field(description="Task id")]
BatchName = Annotated[Name, Field(description="Batch name")]
ProjectName = Annotated[Name, Field(description="Project name")]
Limit = Annotated[int, Field(ge=1, le=100, description="Page size")]
Offset = Annotated[int, Field(ge=0, description="Items to skip")]
Time = Annotated[IsoTime, Field(description="ISO 8601")]

TEXTS = WithJsonSchema({"type": "array", "items": {"type": "string"}})

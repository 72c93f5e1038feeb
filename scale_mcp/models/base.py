"""The two bases of everything that crosses the wire: tolerant when reading, strict when writing."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class WireModel(BaseModel):
    """Something Scale sends. Unknown fields are kept, so that a newer API loses nothing on its way through us."""

    model_config = ConfigDict(extra="allow", populate_by_name=True, protected_namespaces=(), coerce_numbers_to_str=True)

    def to_wire(self) -> dict[str, Any]:
        """The object as Scale sent it: wire names, nothing that was absent."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class RequestModel(BaseModel):
    """Something we send. Unknown fields and coerced values are refused before anything leaves."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True, protected_namespaces=())

    def to_wire(self) -> dict[str, Any]:
        """The body or query to send: wire names, nothing that was left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

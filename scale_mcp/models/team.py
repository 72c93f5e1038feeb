"""People of the account."""

from __future__ import annotations

from typing import Annotated

from pydantic import AliasChoices, Field

from scale_mcp.models.base import WireModel


class Teammate(WireModel):
    """A member of the team. ``role`` may also say ``invited`` or ``disabled``; ``expiry`` is an invitation's end."""

    email: str
    role: str | None = None
    first_name: Annotated[
        str | None,
        Field(validation_alias=AliasChoices("firstName", "first_name"), serialization_alias="firstName"),
    ] = None
    last_name: Annotated[
        str | None,
        Field(validation_alias=AliasChoices("lastName", "last_name"), serialization_alias="lastName"),
    ] = None
    company: str | None = None
    is_studio_labeler: Annotated[
        bool | None,
        Field(
            validation_alias=AliasChoices("isStudioLabeler", "is_studio_labeler"),
            serialization_alias="isStudioLabeler",
        ),
    ] = None
    expiry: str | None = None

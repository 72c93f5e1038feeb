"""People of the account."""

from __future__ import annotations

from typing import Annotated

from scale_mcp.models.base import WireModel
from scale_mcp.models.common import spelt


class Teammate(WireModel):
    """A member of the team. ``role`` may also say ``invited`` or ``disabled``; ``expiry`` is an invitation's end."""

    email: str
    role: str | None = None
    first_name: Annotated[str | None, spelt("firstName", "first_name")] = None
    last_name: Annotated[str | None, spelt("lastName", "last_name")] = None
    company: str | None = None
    is_studio_labeler: Annotated[bool | None, spelt("isStudioLabeler", "is_studio_labeler")] = None
    expiry: str | None = None

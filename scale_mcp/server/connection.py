"""What a server talks to: one Scale account through one key, and what that key can set in motion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from scale_mcp.api import ScaleApi

Kind = Literal["live", "test", "sandbox"]


@dataclass(frozen=True)
class Connection:
    """An opened ``ScaleApi`` and its kind. Whoever opened the api closes it."""

    api: ScaleApi
    kind: Kind

    @property
    def real(self) -> bool:
        """Whether people are paid and nothing can be taken back: only a live key outside the sandbox."""
        return self.kind == "live"

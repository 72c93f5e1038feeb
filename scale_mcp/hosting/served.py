"""What the router hands back: a call's result and how it came about, or the refusal when nobody could serve it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scale_mcp.tools.card import ToolFailure

if TYPE_CHECKING:
    from scale_mcp.hosting.connection_records import Kind
    from scale_mcp.tools.card import ToolOutput


@dataclass(frozen=True)
class Served:
    """A result, and every step that was taken for it.

    connection     the name of the connection that served it
    moved_from     connections that were limited before, in order; the call was moved to this one
    key_changes    how often it went on with another key of the connection
    coalesced      it is the answer to the same question, asked at the same time by the same persona
    cached         it is an answer of a moment ago, as Scale limits the connection
    stale_seconds  the age of an old answer, given because Scale limits the connection; None for any other
    """

    output: ToolOutput
    connection: str
    kind: Kind
    moved_from: tuple[str, ...] = ()
    stale_seconds: float | None = None
    coalesced: bool = False
    cached: bool = False
    key_changes: int = 0

    def told(self) -> dict[str, Any]:
        """The same for a program, without the output. What did not happen is left out."""
        steps: dict[str, Any] = {
            "moved_from": list(self.moved_from),
            "key_changes": self.key_changes,
            "coalesced": self.coalesced,
            "cached": self.cached,
        }
        told: dict[str, Any] = {"connection": self.connection, "kind": self.kind}
        told |= {name: value for name, value in steps.items() if value}
        if self.stale_seconds is not None:
            told["stale_seconds"] = round(self.stale_seconds, 1)
        return told


class Limited(ToolFailure):
    """Scale limits whatever could have served the call, and nothing was done. ``retry_after`` is in seconds."""

    code = "rate_limited"
    retryable = True

    def __init__(self, connections: tuple[str, ...], wait: float, why_not_moved: str = "") -> None:
        self.retry_after = round(max(1.0, wait), 1)
        many = "connections" if len(connections) > 1 else "connection"
        super().__init__(
            f"Scale limits the rate of the {many} {', '.join(connections)}; nothing was done. {why_not_moved}"
            f"{' ' if why_not_moved else ''}Wait {self.retry_after:.0f} s, then try again."
        )


class NoRoute(ToolFailure):
    """No connection is set up for this call of this persona."""

    code = "no_connection"

    def __init__(self) -> None:
        super().__init__(
            "No connection is set up for this call. Ask the operator to add a route: "
            "`scale-mcp persona edit NAME --route CONNECTION`."
        )

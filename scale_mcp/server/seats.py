"""Every request is answered from its caller's seat: the tools, resources and rules that this caller has in front of it.

A server of one person has one seat. A hosted server has one per persona, found by the verified caller of each request
and never by a session, so that nothing remembered for one caller can answer another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from scale_mcp.server.guard import Context
from scale_mcp.server.offers import Offers
from scale_mcp.server.surface import ToolSurface


@dataclass(frozen=True)
class Seat:
    """What one caller has in front of it."""

    tools: ToolSurface
    offers: Offers


class Seats(Protocol):
    """Finds the seat of a request's caller."""

    async def of(self, ctx: Context) -> Seat:
        """Raises ``MCPError`` when there is no caller, or none any more."""

    def input_schema(self, name: str) -> Mapping[str, Any] | None:
        """The input schema of a tool, for the transport's check of routing headers; None where there is none."""


class OneSeat:
    """The only caller of a server with one connection."""

    def __init__(self, seat: Seat) -> None:
        self.seat = seat

    async def of(self, ctx: Context) -> Seat:
        return self.seat

    def input_schema(self, name: str) -> Mapping[str, Any] | None:
        return self.seat.tools.input_schema(name)

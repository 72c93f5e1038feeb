"""The tools as a host gets them, without a running server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scale_mcp.settings import Settings
    from scale_mcp.tools.card import Card

CHARACTERS_PER_TOKEN = 4.5  # of these definitions, measured with the o200k_base encoding


def offered(settings: Settings) -> list[Card]:
    """The cards that a server with these settings offers, in their fixed order.

    Raises:
        SettingsError: a filter names something unknown, or leaves nothing.
    """
    from scale_mcp.server.selection import select
    from scale_mcp.tools.registry import cards

    return list(select(cards(), settings).cards.values())


def tokens(tools: list[Card]) -> int:
    """About what usually reaches a model costs it: name, description and input schema, in tokens."""
    from scale_mcp.tools.schema import input_schema

    shown = [{"name": c.name, "description": c.description, "inputSchema": input_schema(c)} for c in tools]
    characters = len(json.dumps(shown, ensure_ascii=False, separators=(",", ":")))
    return round(characters / CHARACTERS_PER_TOKEN / 100) * 100

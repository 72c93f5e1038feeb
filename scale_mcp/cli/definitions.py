"""The tools as a host gets them, without a running server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scale_mcp.settings import Settings
    from scale_mcp.tools.card import Card


def offered(settings: Settings) -> list[Card]:
    """The cards that a server with these settings offers, in their fixed order.

    Raises:
        SettingsError: a filter names something unknown, or leaves nothing.
    """
    from scale_mcp.server.selection import select
    from scale_mcp.tools.registry import cards

    return list(select(cards(), settings).cards.values())


def definition(card: Card) -> dict[str, Any]:
    """Everything there is to know about a tool: what tools/list says, with our own words for risk and toolset."""
    from scale_mcp.tools.schema import input_schema, output_schema

    return {
        "name": card.name,
        "title": card.title,
        "description": card.description,
        "toolset": card.toolset,
        "risk": card.risk,
        "inputSchema": input_schema(card),
        "outputSchema": output_schema(card),
        "annotations": {
            "readOnlyHint": card.risk == "read",
            "destructiveHint": card.risk == "destroy",
            "idempotentHint": card.idempotent,
            "openWorldHint": card.open_world,
        },
    }


def size(tools: list[Card]) -> int:
    """Characters of what usually reaches a model: name, description and input schema."""
    from scale_mcp.tools.schema import input_schema

    shown = [{"name": c.name, "description": c.description, "inputSchema": input_schema(c)} for c in tools]
    return len(json.dumps(shown, ensure_ascii=False, separators=(",", ":")))


def first_sentence(card: Card) -> str:
    """The description up to its first full stop that ends a sentence, on one line."""
    import re

    return re.split(r"(?<=[.!?])\s+(?=[A-Z`])", " ".join(card.description.split()), maxsplit=1)[0]

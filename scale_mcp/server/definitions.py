"""A card as MCP shows it: name, texts, schemas and all four behaviour hints."""

from __future__ import annotations

from typing import Any

import mcp.types as t

from scale_mcp.tools.card import Card
from scale_mcp.tools.schema import input_schema, output_schema


def definition(card: Card) -> t.Tool:
    """The card's entry in tools/list."""
    return t.Tool(
        name=card.name,
        title=card.title,
        description=card.description,
        input_schema=input_schema(card),
        output_schema=output_schema(card),
        annotations=hints(card),
        _meta={"scale-mcp/toolset": card.toolset, "scale-mcp/risk": card.risk},
    )


def as_json(card: Card) -> dict[str, Any]:
    """The same entry as it travels."""
    return definition(card).model_dump(mode="json", by_alias=True, exclude_none=True)


def hints(card: Card) -> t.ToolAnnotations:
    """What hosts go by when they decide whether to ask a person. Each is said, none left to its default."""
    return t.ToolAnnotations(
        read_only_hint=card.risk == "read",
        destructive_hint=card.risk == "destroy",
        idempotent_hint=card.idempotent,
        open_world_hint=True,  # each of them talks to Scale
    )

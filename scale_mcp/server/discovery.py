"""Discovery mode: three tools instead of all, for hosts with a small context.

``find_tools`` ranks, ``describe_tool`` shows one definition, ``run_tool`` runs it through the same desk as a direct
call: same selection, checks, consent, limits and results. What is not selected can be neither found nor described
nor run, and is answered like an invented name.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import mcp.types as t

from scale_mcp.server.calls import CallAnswer, CallDesk
from scale_mcp.server.definitions import hints
from scale_mcp.server.guard import Context
from scale_mcp.server.results import failure
from scale_mcp.server.search import ToolSearch
from scale_mcp.server.selection import Selection
from scale_mcp.text import one_line
from scale_mcp.tools.schema import input_schema

FOUND = 5  # tools per answer of find_tools


@dataclass(frozen=True)
class LocalTool:
    """A tool of the server itself, beside the cards."""

    definition: t.Tool
    run: Callable[[Context, t.CallToolRequestParams], Awaitable[CallAnswer]]


class Discovery:
    """The three tools over one selection."""

    def __init__(self, selection: Selection, desk: CallDesk) -> None:
        self._selection = selection
        self._desk = desk
        self._search = ToolSearch(selection.cards.values())

    def tools(self) -> list[LocalTool]:
        cards = list(self._selection.cards.values())
        areas = ", ".join(dict.fromkeys(card.toolset for card in cards))
        only_reads = all(card.risk == "read" for card in cards)
        return [
            LocalTool(
                t.Tool(
                    name="find_tools",
                    title="Find tools",
                    description=f"Find the Scale tool for a need, among {len(cards)} ({areas}). Say in plain words "
                    f"what should happen, e.g. 'label boxes in an image'. Returns the {FOUND} best, best first.",
                    input_schema=_object(query=_string("What should happen, in a few words.")),
                    annotations=_local_hints(),
                ),
                self._find,
            ),
            LocalTool(
                t.Tool(
                    name="describe_tool",
                    title="Describe a tool",
                    description="Show one tool's full description and input schema. Do this before run_tool.",
                    input_schema=_object(name=_string("A tool's name, as find_tools gave it.")),
                    annotations=_local_hints(),
                ),
                self._describe,
            ),
            LocalTool(
                t.Tool(
                    name="run_tool",
                    title="Run a tool",
                    description="Run one tool with arguments that follow the schema describe_tool gave.",
                    input_schema=_object(
                        name=_string("A tool's name, as find_tools gave it."),
                        arguments={
                            "type": "object",
                            "description": "The tool's own arguments; {} when it takes none.",
                            "additionalProperties": True,
                        },
                    ),
                    annotations=t.ToolAnnotations(
                        read_only_hint=only_reads,
                        destructive_hint=any(card.risk == "destroy" for card in cards),
                        idempotent_hint=only_reads,
                        open_world_hint=True,
                    ),
                ),
                self._run,
            ),
        ]

    async def _find(self, ctx: Context, params: t.CallToolRequestParams) -> CallAnswer:
        query = (params.arguments or {}).get("query")
        if problem := _wrong(params, query=str):
            return problem
        hits = self._search.find(str(query), FOUND)
        found = [
            {
                "name": hit.card.name,
                "risk": hit.card.risk,
                "summary": hit.card.summary,
            }
            for hit in hits
        ]
        if not found:
            return _plain("Nothing fits. Say it in other words, e.g. 'create an image annotation task'.")
        return _plain("\n".join(f"{tool['name']} ({tool['risk']}): {tool['summary']}" for tool in found))

    async def _describe(self, ctx: Context, params: t.CallToolRequestParams) -> CallAnswer:
        if problem := _wrong(params, name=str):
            return problem
        name = (params.arguments or {})["name"]
        card = self._selection.get(name)
        if card is None:
            return _not_offered(name)
        described = {
            "name": card.name,
            "title": card.title,
            "description": card.description,
            "inputSchema": input_schema(card),
            "annotations": hints(card).model_dump(by_alias=True, exclude_none=True),
        }
        return _plain(json.dumps(described, ensure_ascii=False, separators=(",", ":")))

    async def _run(self, ctx: Context, params: t.CallToolRequestParams) -> CallAnswer:
        if problem := _wrong(params, name=str, arguments=dict):
            return problem
        given = params.arguments or {}
        card = self._selection.get(given["name"])
        if card is None:
            await self._desk.not_offered(ctx, params, given["name"])
            return _not_offered(given["name"])
        return await self._desk.run(ctx, params, card, given["arguments"])


def _wrong(params: t.CallToolRequestParams, **expected: type) -> t.CallToolResult | None:
    """The refusal of arguments that are unknown, missing or of the wrong type; None when all is well."""
    given = params.arguments or {}
    kinds: dict[type, str] = {str: "a string", dict: "an object"}
    problems = [f"Unknown argument {one_line(name, 60)!r}." for name in given if name not in expected]
    for name, kind in expected.items():
        if not isinstance(given.get(name), kind):
            problems.append(f"{name} must be {kinds[kind]}." if name in given else f"{name} is missing.")
    if not problems:
        return None
    return failure(
        f"{' '.join(problems)} {params.name} takes: {', '.join(expected)}.", "invalid_arguments", retryable=False
    )


def _not_offered(name: str) -> t.CallToolResult:
    return failure(
        f"There is no tool called {one_line(name, 128)!r}. Use find_tools to see what there is.",
        "unknown_tool",
        retryable=False,
    )


def _plain(text: str) -> t.CallToolResult:
    return t.CallToolResult(content=[t.TextContent(type="text", text=text)])


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _string(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _local_hints() -> t.ToolAnnotations:
    return t.ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)

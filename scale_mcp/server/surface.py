"""The tools of one seat: the list and the call answer from the same set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import mcp.types as t

from scale_mcp.server.calls import CallAnswer, CallDesk, unknown_tool
from scale_mcp.server.definitions import definition
from scale_mcp.server.guard import Context
from scale_mcp.server.paging import Pages
from scale_mcp.server.selection import Selection
from scale_mcp.settings import Settings
from scale_mcp.text import one_line
from scale_mcp.tools.card import Card

if TYPE_CHECKING:
    from scale_mcp.server.discovery import LocalTool


class ToolSurface:
    """Answers tools/list and tools/call from the same set of tools."""

    def __init__(self, selection: Selection, desk: CallDesk, settings: Settings) -> None:
        self.desk = desk
        self._pages = Pages(settings.list_page_size)
        self._cards: Mapping[str, Card] = {} if settings.discovery else selection.cards
        self._local: dict[str, LocalTool] = {}
        self._defined: dict[str, t.Tool] = {}
        if settings.discovery:
            from scale_mcp.server.discovery import Discovery  # with its vocabulary, which nobody else waits for

            for tool in Discovery(selection, desk).tools():
                self.add(tool)

    def add(self, tool: LocalTool) -> None:
        """Offer a tool of the server itself."""
        self._local[tool.definition.name] = tool

    def input_schema(self, name: str) -> dict[str, Any] | None:
        """Spares the transport a tools/list per call when it checks routing headers."""
        if name not in self._cards and name not in self._local:
            return None
        return self._definition(name).input_schema

    async def on_list(self, ctx: Context, params: t.PaginatedRequestParams | None) -> t.ListToolsResult:
        page, cursor = self._pages.page([*self._cards, *self._local], params)
        return t.ListToolsResult(tools=[self._definition(name) for name in page], next_cursor=cursor)

    def _definition(self, name: str) -> t.Tool:
        """Made when first asked for: the schemas of all tools take longer than the first call should."""
        if name not in self._defined:
            local = self._local.get(name)
            self._defined[name] = local.definition if local is not None else definition(self._cards[name])
        return self._defined[name]

    async def on_call(self, ctx: Context, params: t.CallToolRequestParams) -> CallAnswer:
        card, local = self._cards.get(params.name), self._local.get(params.name)
        if card is None and local is None:
            await self.desk.not_offered(ctx, params, params.name)
            raise unknown_tool(one_line(params.name, 128))
        if refusal := self.desk.refuse_over_limit():
            return refusal
        if local is not None:
            return await local.run(ctx, params)
        assert card is not None
        return await self.desk.run(ctx, params, card, params.arguments or {})

    def plain_card(self, name: str) -> Card | None:
        """The card of a tool whose calls need no more of their caller than arguments: nobody is asked before one."""
        card = self._cards.get(name)
        return None if card is None or name in self._local or self.desk.may_ask_about(card) else card

    async def on_plain_call(self, params: t.CallToolRequestParams, card: Card) -> CallAnswer:
        """The answer to a call of such a card, whose caller cannot be asked and hears of no progress."""
        return self.desk.refuse_over_limit() or await self.desk.run(None, params, card, params.arguments or {})

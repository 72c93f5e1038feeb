"""Resources, prompts and completion: what a server offers beside tools."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import mcp.types as t
from mcp import MCPError

from scale_mcp.server.calls import Context
from scale_mcp.server.connection import Connection
from scale_mcp.server.paging import Pages
from scale_mcp.server.selection import Selection
from scale_mcp.text import one_line

Contents = t.TextResourceContents | t.BlobResourceContents
PromptAnswer = t.GetPromptResult | t.InputRequiredResult


@dataclass(frozen=True)
class LocalResource:
    """A resource or template, the form of the addresses it answers, and how to read one."""

    definition: t.Resource | t.ResourceTemplate
    addresses: re.Pattern[str]
    read: Callable[[str], Awaitable[Contents]]


@dataclass(frozen=True)
class LocalPrompt:
    definition: t.Prompt
    render: Callable[[Context, t.GetPromptRequestParams], Awaitable[PromptAnswer]]


class Offers:
    """Answers the requests about resources, prompts and completion."""

    def __init__(self, connection: Connection, selection: Selection) -> None:
        self._pages = Pages()
        self._resources: list[LocalResource] = []
        self._prompts: dict[str, LocalPrompt] = {}

    def add_resource(self, resource: LocalResource) -> None:
        self._resources.append(resource)

    def add_prompt(self, prompt: LocalPrompt) -> None:
        self._prompts[prompt.definition.name] = prompt

    async def on_list_resources(self, ctx: Context, params: t.PaginatedRequestParams | None) -> t.ListResourcesResult:
        fixed = [r.definition for r in self._resources if isinstance(r.definition, t.Resource)]
        page, cursor = self._pages.page(fixed, params)
        return t.ListResourcesResult(resources=page, next_cursor=cursor)

    async def on_list_templates(
        self, ctx: Context, params: t.PaginatedRequestParams | None
    ) -> t.ListResourceTemplatesResult:
        templates = [r.definition for r in self._resources if isinstance(r.definition, t.ResourceTemplate)]
        page, cursor = self._pages.page(templates, params)
        return t.ListResourceTemplatesResult(resource_templates=page, next_cursor=cursor)

    async def on_read_resource(self, ctx: Context, params: t.ReadResourceRequestParams) -> t.ReadResourceResult:
        uri = str(params.uri)
        for resource in self._resources:
            if resource.addresses.fullmatch(uri):
                return t.ReadResourceResult(contents=[await resource.read(uri)])
        raise MCPError(code=t.INVALID_PARAMS, message="Resource not found", data={"uri": one_line(uri, 500)})

    async def on_list_prompts(self, ctx: Context, params: t.PaginatedRequestParams | None) -> t.ListPromptsResult:
        page, cursor = self._pages.page([prompt.definition for prompt in self._prompts.values()], params)
        return t.ListPromptsResult(prompts=page, next_cursor=cursor)

    async def on_get_prompt(self, ctx: Context, params: t.GetPromptRequestParams) -> PromptAnswer:
        prompt = self._prompts.get(params.name)
        if prompt is None:
            raise MCPError(code=t.INVALID_PARAMS, message=f"Unknown prompt: {one_line(params.name, 128)}")
        return await prompt.render(ctx, params)

    async def on_completion(self, ctx: Context, params: t.CompleteRequestParams) -> t.CompleteResult:
        return t.CompleteResult(completion=t.Completion(values=[], total=0, has_more=False))

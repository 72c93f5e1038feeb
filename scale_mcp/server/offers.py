"""Resources, prompts and completion: what a server offers beside tools, under the same selection.

Reading ``scale://task/…`` is ``get_task`` by another door, so it is there only where that tool is.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import anyio
import mcp.types as t
from mcp import MCPError

from scale_mcp.api.errors import NotFound, ScaleError
from scale_mcp.server.connection import Connection
from scale_mcp.server.guard import Context
from scale_mcp.server.limits import CallLimit
from scale_mcp.server.logs import get_logger
from scale_mcp.server.paging import Pages
from scale_mcp.server.results import UNTRUSTED_META
from scale_mcp.server.selection import Selection
from scale_mcp.settings import Settings
from scale_mcp.text import one_line
from scale_mcp.tools import completion, prompts, resources
from scale_mcp.tools.card import ToolFailure

log = get_logger(__name__)

Contents = t.TextResourceContents | t.BlobResourceContents
PromptAnswer = t.GetPromptResult | t.InputRequiredResult
OVER_LIMIT = -32000  # of the range that JSON-RPC leaves to servers
COMPLETION_TIMEOUT = 5.0  # seconds; a person is typing


class Reading(Protocol):
    """How a caller's reads reach Scale. Both raise what the tools and the api layer raise."""

    async def resource(self, ctx: Context, template: resources.ResourceTemplate, uri: str) -> str:
        """The resource at an address of the template, as JSON text."""

    async def names(
        self, ctx: Context, kind: completion.Kind, prefix: str, project: str | None
    ) -> completion.Completion:
        """Names that begin with ``prefix``; of batches only those of ``project``, if given."""


@dataclass(frozen=True)
class LocalResource:
    """A resource or template, the form of the addresses it answers, and how to read one."""

    definition: t.Resource | t.ResourceTemplate
    addresses: re.Pattern[str]
    read: Callable[[Context, str], Awaitable[Contents]]


@dataclass(frozen=True)
class LocalPrompt:
    definition: t.Prompt
    render: Callable[[Context, t.GetPromptRequestParams], Awaitable[PromptAnswer]]


class Offers:
    """Answers the requests about resources, prompts and completion."""

    def __init__(self, selection: Selection, reading: Reading) -> None:
        self._selection = selection
        self._reading = reading
        self._pages = Pages()
        self._resources: list[LocalResource] = []
        self._prompts: dict[str, LocalPrompt] = {}
        for template in resources.TEMPLATES:
            if template.read_by in selection.cards:
                self.add_resource(
                    LocalResource(_template(template), template.addresses, partial(self._read_from_scale, template))
                )
        for prompt in prompts.PROMPTS.values():
            self.add_prompt(LocalPrompt(_prompt(prompt), partial(_render, prompt)))

    def add_resource(self, resource: LocalResource) -> None:
        self._resources.append(resource)

    def add_prompt(self, prompt: LocalPrompt) -> None:
        self._prompts[prompt.definition.name] = prompt

    async def on_list_resources(self, ctx: Context, params: t.PaginatedRequestParams | None) -> t.ListResourcesResult:
        """Only templates come from Scale: listing every project would cost a request at each start of a host."""
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
                return t.ReadResourceResult(contents=[await resource.read(ctx, uri)])
        raise _missing(uri, "Resource not found")

    async def _read_from_scale(self, template: resources.ResourceTemplate, ctx: Context, uri: str) -> Contents:
        try:
            text = await self._reading.resource(ctx, template, uri)
        except NotFound as problem:
            raise _missing(uri, str(problem)) from None
        except ToolFailure as problem:
            raise _missing(uri, str(problem)) from None
        return t.TextResourceContents(uri=uri, mime_type=resources.MIME_TYPE, text=text, _meta={UNTRUSTED_META: True})

    async def on_list_prompts(self, ctx: Context, params: t.PaginatedRequestParams | None) -> t.ListPromptsResult:
        page, cursor = self._pages.page([prompt.definition for prompt in self._prompts.values()], params)
        return t.ListPromptsResult(prompts=page, next_cursor=cursor)

    async def on_get_prompt(self, ctx: Context, params: t.GetPromptRequestParams) -> PromptAnswer:
        prompt = self._prompts.get(params.name)
        if prompt is None:
            raise MCPError(code=t.INVALID_PARAMS, message=f"Unknown prompt: {one_line(params.name, 128)}")
        return await prompt.render(ctx, params)

    async def on_completion(self, ctx: Context, params: t.CompleteRequestParams) -> t.CompleteResult:
        """Names that begin with what was typed; none where nothing fits, is offered or answers in time."""
        kind = _completed(params)
        nothing = completion.Completion([], 0, has_more=False)
        if kind is None or completion.LISTED_BY[kind] not in self._selection.cards:
            return _completion(nothing)
        chosen = (params.context.arguments or {}).get("project") if params.context else None
        found = nothing
        with anyio.move_on_after(COMPLETION_TIMEOUT):
            try:
                found = await self._reading.names(ctx, kind, params.argument.value, chosen)
            except (ScaleError, ToolFailure) as problem:
                log.info("completion_failed", problem=str(problem))
        return _completion(found)


class OwnersReading:
    """Reads with the one connection of a server that one person runs."""

    def __init__(self, connection: Connection, settings: Settings, limit: CallLimit) -> None:
        self._api = connection.api
        self._timeout = settings.call_timeout
        self._limit = limit

    async def resource(self, ctx: Context, template: resources.ResourceTemplate, uri: str) -> str:
        if wait := self._limit.take():
            raise MCPError(
                code=OVER_LIMIT,
                message=f"Too many calls a minute; wait {wait:.1f} s.",
                data={"retry_after_s": round(wait, 3)},
            )
        try:
            with anyio.fail_after(self._timeout):
                return await resources.read(self._api, template, uri)
        except TimeoutError:
            raise MCPError(code=t.INTERNAL_ERROR, message=f"Given up after {self._timeout:g} s; try again.") from None

    async def names(
        self, ctx: Context, kind: completion.Kind, prefix: str, project: str | None
    ) -> completion.Completion:
        if self._limit.take():
            return completion.Completion([], 0, has_more=False)
        return await completion.complete(self._api, kind, prefix, project)


def _template(template: resources.ResourceTemplate) -> t.ResourceTemplate:
    return t.ResourceTemplate(
        name=template.name,
        uri_template=template.uri_template,
        title=template.title,
        description=template.description,
        mime_type=resources.MIME_TYPE,
    )


def _prompt(prompt: prompts.Prompt) -> t.Prompt:
    return t.Prompt(
        name=prompt.name,
        title=prompt.title,
        description=prompt.description,
        arguments=[
            t.PromptArgument(name=argument.name, description=argument.description, required=argument.required)
            for argument in prompt.arguments
        ],
    )


async def _render(prompt: prompts.Prompt, ctx: Context, params: t.GetPromptRequestParams) -> t.GetPromptResult:
    content = t.TextContent(type="text", text=prompt.render(params.arguments or {}))
    return t.GetPromptResult(description=prompt.description, messages=[t.PromptMessage(role="user", content=content)])


def _completed(params: t.CompleteRequestParams) -> completion.Kind | None:
    """Which kind of name the argument takes."""
    if isinstance(params.ref, t.ResourceTemplateReference):
        return completion.TEMPLATE_ARGUMENTS.get((params.ref.uri, params.argument.name))
    if params.ref.name in prompts.PROMPTS:
        return completion.PROMPT_ARGUMENTS.get(params.argument.name)
    return None


def _completion(found: completion.Completion) -> t.CompleteResult:
    return t.CompleteResult(completion=t.Completion(values=found.values, total=found.total, has_more=found.has_more))


def _missing(uri: str, message: str) -> MCPError:
    return MCPError(code=t.INVALID_PARAMS, message=message, data={"uri": one_line(uri, 500)})

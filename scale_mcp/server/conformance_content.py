"""The resources, prompts and pieces of content that the official conformance suite asks for. See ``conformance``."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import mcp.types as t

from scale_mcp.server.guard import Context
from scale_mcp.server.offers import LocalPrompt, LocalResource, Offers

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC"
WAV = "UklGRiwAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQgAAACAgICAgICAgA=="
STRING = {"type": "string"}


def text_of(text: str) -> t.TextContent:
    return t.TextContent(type="text", text=text)


def said(text: str) -> t.CallToolResult:
    return t.CallToolResult(content=[text_of(text)])


def image() -> t.ImageContent:
    return t.ImageContent(type="image", data=PNG, mime_type="image/png")


def embedded(uri: str, mime_type: str, text: str) -> t.EmbeddedResource:
    return t.EmbeddedResource(type="resource", resource=t.TextResourceContents(uri=uri, mime_type=mime_type, text=text))


def object_of(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def form(message: str, **properties: dict[str, Any]) -> t.ElicitRequest:
    return t.ElicitRequest(params=t.ElicitRequestFormParams(message=message, requested_schema=object_of(**properties)))


Read = Callable[[Context, str], Awaitable[t.TextResourceContents | t.BlobResourceContents]]


def add_resources(offers: Offers) -> None:
    def fixed(mime_type: str, *, text: str | None = None, blob: str | None = None) -> Read:
        async def read(ctx: Context, uri: str) -> t.TextResourceContents | t.BlobResourceContents:
            if blob is not None:
                return t.BlobResourceContents(uri=uri, mime_type=mime_type, blob=blob)
            return t.TextResourceContents(uri=uri, mime_type=mime_type, text=text or "")

        return read

    async def from_template(ctx: Context, uri: str) -> t.TextResourceContents:
        name = uri.removeprefix("test://template/").removesuffix("/data")
        data = json.dumps({"id": name, "templateTest": True, "data": f"Data for ID: {name}"})
        return t.TextResourceContents(uri=uri, mime_type="application/json", text=data)

    for uri, read in (
        ("test://static-text", fixed("text/plain", text="This is the content of the static text resource.")),
        ("test://static-binary", fixed("image/png", blob=PNG)),
        ("test://watched-resource", fixed("text/plain", text="Watched resource content")),
    ):
        definition = t.Resource(uri=uri, name=uri.removeprefix("test://"))
        offers.add_resource(LocalResource(definition, re.compile(re.escape(uri)), read))
    template = t.ResourceTemplate(uri_template="test://template/{id}/data", name="template")
    offers.add_resource(LocalResource(template, re.compile("test://template/[^/]+/data"), from_template))


def add_prompts(offers: Offers) -> None:
    def prompt(name: str, *arguments: str) -> t.Prompt:
        return t.Prompt(
            name=name,
            description="A fixture.",
            arguments=[t.PromptArgument(name=each, description="Any text.", required=True) for each in arguments],
        )

    def prompted(*content: t.ContentBlock) -> t.GetPromptResult:
        return t.GetPromptResult(messages=[t.PromptMessage(role="user", content=block) for block in content])

    async def simple(ctx: Context, params: t.GetPromptRequestParams) -> t.GetPromptResult:
        return prompted(text_of("This is a simple prompt for testing."))

    async def with_arguments(ctx: Context, params: t.GetPromptRequestParams) -> t.GetPromptResult:
        given = params.arguments or {}
        return prompted(text_of(f"Prompt with arguments: arg1='{given.get('arg1')}', arg2='{given.get('arg2')}'"))

    async def with_resource(ctx: Context, params: t.GetPromptRequestParams) -> t.GetPromptResult:
        uri = (params.arguments or {}).get("resourceUri", "test://static-text")
        resource = embedded(uri, "text/plain", "Embedded resource content for testing.")
        return prompted(resource, text_of("Please process the embedded resource above."))

    async def with_image(ctx: Context, params: t.GetPromptRequestParams) -> t.GetPromptResult:
        return prompted(image(), text_of("Please analyze the image above."))

    async def asking(ctx: Context, params: t.GetPromptRequestParams) -> t.GetPromptResult | t.InputRequiredResult:
        if "user_context" in (params.input_responses or {}):
            return prompted(text_of("Use the context that the person gave."))
        question = form("What context should the prompt use?", context=STRING)
        return t.InputRequiredResult(input_requests={"user_context": question})

    for definition, render in (
        (prompt("test_simple_prompt"), simple),
        (prompt("test_prompt_with_arguments", "arg1", "arg2"), with_arguments),
        (prompt("test_prompt_with_embedded_resource", "resourceUri"), with_resource),
        (prompt("test_prompt_with_image"), with_image),
        (prompt("test_input_required_result_prompt"), asking),
    ):
        offers.add_prompt(LocalPrompt(definition, render))

"""The fixtures that the official conformance suite calls, on our own server stack.

Mounted only by the hidden ``--conformance`` switch, for ``scripts/conformance.sh``. Same transports, middleware, guard
and lists as ever; only what the suite looks for by name is added. Names, texts and schemas are the suite's.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import mcp.types as t
from mcp import MCPError
from mcp.server.lowlevel import Server
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.server.subscriptions import InMemorySubscriptionBus, PromptsListChanged, ToolsListChanged
from mcp.shared.message import ServerMessageMetadata

from scale_mcp.server.calls import CallAnswer
from scale_mcp.server.conformance_content import (
    STRING,
    WAV,
    add_prompts,
    add_resources,
    embedded,
    form,
    image,
    object_of,
    said,
    text_of,
)
from scale_mcp.server.consent import FIRST_MODERN
from scale_mcp.server.discovery import LocalTool
from scale_mcp.server.guard import Context
from scale_mcp.server.offers import Offers
from scale_mcp.server.results import failure

PAUSE = 0.05  # seconds between two notifications of one call
NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
Run = Callable[[Context, t.CallToolRequestParams], Awaitable[CallAnswer]]
Ask = t.ElicitRequest | t.CreateMessageRequest | t.ListRootsRequest


def mount(
    server: Server[Any], add_tool: Callable[[LocalTool], None], offers: Offers, bus: InMemorySubscriptionBus
) -> None:
    """Add every fixture to a server that is being built."""
    for tool in [*_content_tools(), *_notifying_tools(bus), *_legacy_asking_tools(), *_modern_asking_tools()]:
        add_tool(tool)
    add_resources(offers)
    add_prompts(offers)
    subscribed: set[str] = set()

    async def set_level(ctx: Context, params: t.SetLevelRequestParams) -> t.EmptyResult:
        return t.EmptyResult()

    async def subscribe(ctx: Context, params: t.SubscribeRequestParams) -> t.EmptyResult:
        subscribed.add(str(params.uri))
        return t.EmptyResult()

    async def unsubscribe(ctx: Context, params: t.UnsubscribeRequestParams) -> t.EmptyResult:
        subscribed.discard(str(params.uri))
        return t.EmptyResult()

    server.add_request_handler("logging/setLevel", t.SetLevelRequestParams, set_level)
    server.add_request_handler("resources/subscribe", t.SubscribeRequestParams, subscribe)
    server.add_request_handler("resources/unsubscribe", t.UnsubscribeRequestParams, unsubscribe)


class EventLog(EventStore):
    """Keeps what was sent on each stream, so that a client that reconnects gets the rest."""

    def __init__(self) -> None:
        self._events: list[tuple[str, t.JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: t.JSONRPCMessage | None) -> str:
        self._events.append((stream_id, message))
        return str(len(self._events))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        if not last_event_id.isdecimal() or not 0 < int(last_event_id) <= len(self._events):
            return None
        stream_id = self._events[int(last_event_id) - 1][0]
        for number, (stream, message) in enumerate(self._events[int(last_event_id) :], int(last_event_id) + 1):
            if stream == stream_id and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream_id


def _tool(name: str, description: str, run: Run, schema: dict[str, Any] = NO_ARGUMENTS) -> LocalTool:
    hints = t.ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
    return LocalTool(t.Tool(name=name, description=description, input_schema=schema, annotations=hints), run)


# --- tools that only answer -------------------------------------------------------------------------------------


def _content_tools() -> list[LocalTool]:
    def always(*content: t.ContentBlock) -> Run:
        async def run(ctx: Context, params: t.CallToolRequestParams) -> CallAnswer:
            return t.CallToolResult(content=list(content))

        return run

    async def fail(ctx: Context, params: t.CallToolRequestParams) -> CallAnswer:
        return failure("This tool intentionally returns an error for testing", "fixture")

    async def echo(ctx: Context, params: t.CallToolRequestParams) -> CallAnswer:
        return said(json.dumps(params.arguments or {}))

    audio = t.AudioContent(type="audio", data=WAV, mime_type="audio/wav")
    resource = embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")
    mixed = embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}')
    header = {"type": "string", "description": "Also sent as a header.", "x-mcp-header": "Region"}
    return [
        _tool("test_simple_text", "A text.", always(text_of("This is a simple text response for testing."))),
        _tool("test_image_content", "A picture.", always(image())),
        _tool("test_audio_content", "A sound.", always(audio)),
        _tool("test_embedded_resource", "A resource.", always(resource)),
        _tool("test_multiple_content_types", "Mixed.", always(text_of("Multiple content types test:"), image(), mixed)),
        _tool("test_error_handling", "Always fails.", fail),
        _tool("json_schema_2020_12_tool", "Rich schema.", echo, SCHEMA_2020_12),
        _tool("test_x_mcp_header", "A parameter that travels as a header too.", echo, object_of(region=header)),
    ]


SCHEMA_2020_12: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"address": {"$anchor": "addressDef", "type": "object", "properties": {"street": STRING, "city": STRING}}},
    "properties": {
        "name": STRING,
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": STRING,
        "email": STRING,
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


# --- tools that send notifications ------------------------------------------------------------------------------


def _notifying_tools(bus: InMemorySubscriptionBus) -> list[LocalTool]:
    async def log(ctx: Context, text: str) -> None:
        """Old clients get every line, new ones only when this request asked for them."""
        if ctx.protocol_version < FIRST_MODERN or t.LOG_LEVEL_META_KEY in (ctx.meta or {}):
            line = t.LoggingMessageNotification(params=t.LoggingMessageNotificationParams(level="info", data=text))
            await ctx.session.send_notification(line, ctx.request_id)

    async def logging(ctx: Context, params: t.CallToolRequestParams) -> CallAnswer:
        for text in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await log(ctx, text)
            await anyio.sleep(PAUSE)
        return said("Tool with logging executed successfully")

    async def progress(ctx: Context, params: t.CallToolRequestParams) -> CallAnswer:
        for done in (0, 50, 100):
            await ctx.session.report_progress(done, 100, f"Completed step {done} of 100")
            await anyio.sleep(PAUSE)
        return said("Tool with progress executed successfully")

    async def reconnection(ctx: Context, params: t.CallToolRequestParams) -> CallAnswer:
        if ctx.close_sse_stream is not None:
            await ctx.close_sse_stream()
        await anyio.sleep(4 * PAUSE)
        return said("Reconnection test completed")

    async def tool_change(ctx: Context, params: t.CallToolRequestParams) -> CallAnswer:
        await bus.publish(ToolsListChanged())
        return said("tools/list_changed was sent")

    async def prompt_change(ctx: Context, params: t.CallToolRequestParams) -> CallAnswer:
        await bus.publish(PromptsListChanged())
        return said("prompts/list_changed was sent")

    return [
        _tool("test_tool_with_logging", "Logs three lines.", logging),
        _tool("test_logging_tool", "Logs three lines.", logging),
        _tool("test_tool_with_progress", "Reports progress three times.", progress),
        _tool("test_reconnection", "Closes the stream and goes on.", reconnection),
        _tool("test_trigger_tool_change", "Says that the tools changed.", tool_change),
        _tool("test_trigger_prompt_change", "Says that the prompts changed.", prompt_change),
    ]


# --- tools that ask the client while the call waits (before 2026-07-28) -----------------------------------------


def _legacy_asking_tools() -> list[LocalTool]:
    def asking(title: str, schema: dict[str, Any] | None, message: str = "Please answer") -> Run:
        async def run(ctx: Context, params: t.CallToolRequestParams) -> CallAnswer:
            text = str((params.arguments or {}).get("message", message))
            answer = await ctx.session.elicit_form(text, schema or {}, ctx.request_id)
            return said(f"{title}: action={answer.action}, content={json.dumps(answer.content or {})}")

        return run

    async def sampling(ctx: Context, params: t.CallToolRequestParams) -> CallAnswer:
        request = _sampling(str((params.arguments or {}).get("prompt", "")), 100)
        link = ServerMessageMetadata(related_request_id=ctx.request_id)
        answer = await ctx.session.send_request(request, t.CreateMessageResult, metadata=link)
        return said(f"LLM response: {answer.content.text if answer.content.type == 'text' else answer.content.type}")

    choices = ["active", "inactive", "pending"]
    defaults: dict[str, dict[str, Any]] = {
        "name": {**STRING, "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {**STRING, "enum": choices, "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    options, values = (
        ["option1", "option2", "option3"],
        [{"const": f"value{number}", "title": f"{word} Option"} for number, word in enumerate(("First", "Second"), 1)],
    )
    enums: dict[str, dict[str, Any]] = {
        "untitledSingle": {**STRING, "enum": options},
        "titledSingle": {**STRING, "oneOf": values},
        "legacyEnum": {**STRING, "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]},
        "untitledMulti": {"type": "array", "items": {**STRING, "enum": options}},
        "titledMulti": {"type": "array", "items": {"anyOf": values}},
    }
    asked = "User response"
    return [
        _tool("test_sampling", "Asks the client's model.", sampling, object_of(prompt=STRING)),
        _tool(
            "test_elicitation",
            "Asks the person.",
            asking(asked, object_of(username=STRING, email=STRING)),
            object_of(message=STRING),
        ),
        _tool(
            "test_elicitation_sep1034_defaults",
            "Asks with defaults.",
            asking("Elicitation completed", {**object_of(**defaults), "required": []}),
        ),
        _tool(
            "test_elicitation_sep1330_enums",
            "Asks with choices.",
            asking("Elicitation completed", {**object_of(**enums), "required": []}),
        ),
    ]


# --- tools that answer with a question (from 2026-07-28) --------------------------------------------------------


def _sampling(prompt: str, most: int) -> t.CreateMessageRequest:
    message = t.SamplingMessage(role="user", content=text_of(prompt))
    return t.CreateMessageRequest(params=t.CreateMessageRequestParams(messages=[message], max_tokens=most))


def _needs(questions: dict[str, Ask], state: str | None = None) -> Run:
    """A tool that asks until every question has an answer of the right kind, then says what it heard."""

    async def run(ctx: Context, params: t.CallToolRequestParams) -> CallAnswer:
        answers = params.input_responses or {}
        if params.request_state == state and all(key in answers for key in questions):
            heard = {key: answers[key].model_dump(mode="json", by_alias=True, exclude_none=True) for key in questions}
            return said(("state-ok " if state else "") + json.dumps(heard))
        return t.InputRequiredResult(input_requests=dict(questions), request_state=state)

    return run


def _modern_asking_tools() -> list[LocalTool]:
    name = form("What is your name?", name=STRING)
    confirm = form("Please confirm", ok={"type": "boolean"})
    rounds = {
        "step1": form("Step 1: What is your name?", name=STRING),
        "step2": form("Step 2: What is your favorite color?", color=STRING),
    }

    async def multi_round(ctx: Context, params: t.CallToolRequestParams) -> CallAnswer:
        answers = params.input_responses or {}
        if params.request_state == "round 2" and "step2" in answers:
            return said("Both steps are answered.")
        step, state = ("step2", "round 2") if "step1" in answers and params.request_state else ("step1", "round 1")
        return t.InputRequiredResult(input_requests={step: rounds[step]}, request_state=state)

    async def capabilities(ctx: Context, params: t.CallToolRequestParams) -> CallAnswer:
        declared = ctx.session.client_capabilities
        questions: dict[str, Ask] = {}
        if declared is not None and declared.elicitation is not None:
            questions["name"] = name
        if declared is not None and declared.sampling is not None:
            questions["greeting"] = _sampling("Generate a greeting", 50)
        if not questions or params.input_responses:
            return said("Asked only what the client can do.")
        return t.InputRequiredResult(input_requests=dict(questions))

    async def missing_capability(ctx: Context, params: t.CallToolRequestParams) -> CallAnswer:
        declared = ctx.session.client_capabilities
        if declared is None or declared.sampling is None:
            raise MCPError(
                code=t.MISSING_REQUIRED_CLIENT_CAPABILITY,
                message="This tool needs the client's sampling capability",
                data={"requiredCapabilities": {"sampling": {}}},
            )
        return said("The client can sample.")

    several: dict[str, Ask] = {
        "user_name": name,
        "greeting": _sampling("Generate a greeting", 50),
        "client_roots": t.ListRootsRequest(),
    }
    asks = "test_input_required_result_"
    return [
        _tool(f"{asks}elicitation", "Asks the person.", _needs({"user_name": name})),
        _tool(
            f"{asks}sampling",
            "Asks the model.",
            _needs({"capital_question": _sampling("What is the capital of France?", 100)}),
        ),
        _tool(f"{asks}list_roots", "Asks for the roots.", _needs({"client_roots": t.ListRootsRequest()})),
        _tool(f"{asks}request_state", "Hands a state over.", _needs({"confirm": confirm}, "waiting")),
        _tool(f"{asks}tampered_state", "Hands a state over.", _needs({"confirm": confirm}, "waiting")),
        _tool(f"{asks}multiple_inputs", "Asks three things.", _needs(several, "waiting")),
        _tool(f"{asks}multi_round", "Asks twice.", multi_round),
        _tool(f"{asks}capabilities", "Asks only what is declared.", capabilities),
        _tool("test_missing_capability", "Needs sampling.", missing_capability),
        _tool("test_streaming_elicitation", "Asks the person.", _needs({"user_name": name})),
    ]

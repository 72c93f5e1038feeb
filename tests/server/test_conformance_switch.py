"""The fixtures of the official suite are there when asked for, and never otherwise. The suite itself runs in CI."""

from __future__ import annotations

from typing import Any

import mcp.types as t
import pytest
from mcp import Client, MCPError

from scale_mcp.server.conformance import EventLog
from tests.small_cards import CARDS, built

pytestmark = pytest.mark.anyio
BOTH_ERAS = pytest.mark.parametrize("era", ["legacy", "2026-07-28"])


@BOTH_ERAS
async def test_without_the_switch_no_fixture_exists(era: str) -> None:
    async with Client(built(), mode=era) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == list(CARDS)
        assert (await client.list_resources()).resources == []
        with pytest.raises(MCPError):
            await client.session.call_tool("test_simple_text", {})


@BOTH_ERAS
async def test_with_the_switch_they_stand_beside_the_tools(era: str) -> None:
    async with Client(built(conformance=True), mode=era) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        text = await client.call_tool("test_simple_text", {})
        image = await client.call_tool("test_image_content", {})
        failed = await client.call_tool("test_error_handling", {})
        resource = (await client.read_resource("test://template/123/data")).contents[0]
        prompt = await client.get_prompt("test_prompt_with_arguments", {"arg1": "a", "arg2": "b"})

    assert names[: len(CARDS)] == list(CARDS)
    assert len(names) > len(CARDS) + 25
    assert isinstance(text.content[0], t.TextContent)
    assert isinstance(image.content[0], t.ImageContent)
    assert failed.is_error
    assert isinstance(resource, t.TextResourceContents)
    assert '"id": "123"' in resource.text
    assert isinstance(prompt.messages[0].content, t.TextContent)
    assert prompt.messages[0].content.text == "Prompt with arguments: arg1='a', arg2='b'"


@pytest.mark.parametrize(
    ("era", "tool", "heard"),
    [
        ("legacy", "test_elicitation_sep1034_defaults", "action=accept"),
        ("2026-07-28", "test_input_required_result_elicitation", "accept"),
        ("2026-07-28", "test_input_required_result_request_state", "state-ok"),
        ("2026-07-28", "test_input_required_result_multi_round", "Both steps"),
    ],
)
async def test_they_ask_and_hear_the_answer(era: str, tool: str, heard: str) -> None:
    async def person(ctx: Any, params: t.ElicitRequestParams) -> t.ElicitResult:
        return t.ElicitResult(action="accept", content={"name": "Ann", "ok": True, "color": "red"})

    async with Client(built(conformance=True), mode=era, elicitation_callback=person) as client:
        result = await client.call_tool(tool, {})

    assert isinstance(result.content[0], t.TextContent)
    assert heard in result.content[0].text


async def test_missed_events_of_one_stream_are_replayed_in_order() -> None:
    events, replayed = EventLog(), []
    message = t.JSONRPCNotification(jsonrpc="2.0", method="notifications/message")
    for stream in ("a", "b", "a", "a"):
        last = await events.store_event(stream, message)
    await events.store_event("a", None)

    async def keep(event: Any) -> None:
        replayed.append(event.event_id)

    assert await events.replay_events_after("1", keep) == "a"
    assert (replayed, last) == (["3", "4"], "4")
    assert await events.replay_events_after("99", keep) is None
    assert await events.replay_events_after("x", keep) is None

"""Plain calls that go past the SDK are answered as it would have answered them."""

from __future__ import annotations

from typing import Any

import httpx2
import mcp.types as t
import pytest
from mcp.shared.inbound import x_mcp_header_map

from scale_mcp.api import ApiOptions, ScaleApi
from scale_mcp.server.build import build_server
from scale_mcp.server.calls import OwnersDesk
from scale_mcp.server.connection import Connection
from scale_mcp.server.discovery import LocalTool
from scale_mcp.server.guard import Context
from scale_mcp.server.limits import CallLimit
from scale_mcp.server.selection import Selection
from scale_mcp.server.shortcut import ShortcutServer
from scale_mcp.server.surface import ToolSurface
from scale_mcp.tools.registry import cards
from scale_mcp.tools.schema import input_schema
from tests.both_ways import HANDSHAKE, MODERN, Answer, at_door, recorded, same, without
from tests.small_cards import CARDS, FakeApi, built, settings
from tests.tool_arguments import ARGUMENTS
from tests.tools.conftest import FakeScale

pytestmark = pytest.mark.anyio

DOORS = ("stdio", "mcp")
EVERYWHERE = pytest.mark.parametrize(
    ("door", "version"), [(door, version) for door in DOORS for version in ("2025-11-25", MODERN)]
)
Asked = tuple[str, Any]
UNSUITED = ["set_studio_batch_priorities"]  # refused: this Scale does not have the batches that the test arguments name


def real(**overrides: Any) -> ShortcutServer:
    """A server with every tool over a Scale that answers anything, with a test key."""
    api = ScaleApi("test_tools", transport=httpx2.MockTransport(FakeScale()), options=ApiOptions(attempts=1))
    return build_server(Connection(api, "test"), settings(**overrides))


async def answers(server: ShortcutServer, door: str, version: str, calls: list[Asked]) -> list[Answer]:
    async with at_door(server, door, version) as client:
        return [same(await client.ask(tool, arguments)) for tool, arguments in calls]


@EVERYWHERE
async def test_every_tool_answers_alike_on_both_ways(door: str, version: str) -> None:
    calls: list[Asked] = [(tool, ARGUMENTS[tool]) for tool in cards()]
    server = real()
    taken = recorded(server)

    short = await answers(server, door, version, calls)

    assert short == await answers(without(real()), door, version, calls)
    assert [call.params.name for call in taken] == list(cards())
    assert [tool for (tool, _), answer in zip(calls, short, strict=True) if answer["result"]["isError"]] == UNSUITED


@pytest.mark.parametrize("version", [*HANDSHAKE, MODERN])
@pytest.mark.parametrize("door", DOORS)
async def test_every_version_gets_its_own_form_of_a_result(door: str, version: str) -> None:
    server = real()
    taken = recorded(server)
    calls: list[Asked] = [("get_task", ARGUMENTS["get_task"]), ("get_task", {}), ("list_tasks", {"limit": 1})]

    short = await answers(server, door, version, calls)

    assert short == await answers(without(real()), door, version, calls)
    assert len(taken) == len(calls)
    assert ("resultType" in short[0]["result"]) is (version == MODERN)


@EVERYWHERE
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        *[("fail", {"how": how}) for how in ("expected", "crash", "scale", "validation", "recursion")],
        ("fail", {"how": "\u202enothing like it\u0000"}),
        ("look", {}),
        ("look", None),
        ("look", {"name": "a\u200bb\u2028c", "nam": 1}),
        ("look", {"name": None}),
        ("look", {"name": "x" * 100}),
        ("say", {"text": "ä漢😀\u202e </scale-data>", "times": 2}),
        ("say", {"text": "long ", "times": 30_000}),
    ],
)
async def test_failing_odd_and_long_calls_answer_alike(door: str, version: str, tool: str, arguments: Any) -> None:
    server = built()
    taken = recorded(server)

    short = await answers(server, door, version, [(tool, arguments)])

    assert short == await answers(without(built()), door, version, [(tool, arguments)])
    assert len(taken) == 1


@EVERYWHERE
@pytest.mark.parametrize(
    "asked",
    [
        {"tool": "nosuchtool", "arguments": {}},
        {"tool": "", "arguments": {}},
        {"tool": "erase", "arguments": {"name": "x"}},
        {"tool": "finalize_batch", "arguments": {"batch_name": "x"}},
        {"tool": "set_params", "arguments": {"name": "x", "patch": True}},
        {"tool": "look", "arguments": ["x"]},
        {"tool": "look", "arguments": "x"},
        {"tool": ["look"], "arguments": {}},
        {"tool": "look", "arguments": {"name": "x"}, "_meta": {"progressToken": 1}},
        {"tool": "look", "arguments": {"name": "x"}, "_meta": {"progressToken": None}},
        {"tool": "look", "arguments": {"name": "x"}, "_meta": {"io.modelcontextprotocol/related-task": {}}},
        {"tool": "look", "arguments": {"name": "x"}, "inputResponses": {}},
        {"tool": "look", "arguments": {"name": "x"}, "requestState": "x"},
        {"tool": "look", "arguments": {"name": "x"}, "task": {}},
        {"tool": "look", "arguments": {"name": "x"}, "surprise": 1},
    ],
    ids=str,
)
async def test_whatever_is_not_plain_goes_the_way_of_the_sdk(door: str, version: str, asked: dict[str, Any]) -> None:
    found = []
    for server in (built(), without(built())):
        taken = recorded(server) if server.shortcut else []
        async with at_door(server, door, version) as client:
            found.append(same(await client.ask(**asked)))
        assert not taken

    assert found[0] == found[1]


@EVERYWHERE
async def test_what_needs_no_consent_is_plain_whatever_its_risk(door: str, version: str) -> None:
    api = FakeApi()
    server = built("sandbox", api)
    taken = recorded(server)

    found = await answers(server, door, version, [("erase", {"name": "x"}), ("pay", {"name": "y"})])

    assert api.done == ["erase x", "pay y"]
    assert len(taken) == 2
    assert not [answer for answer in found if answer["result"]["isError"]]


@EVERYWHERE
async def test_the_limit_of_calls_holds_on_both_ways_together(door: str, version: str) -> None:
    server = built(max_calls_per_minute=2)
    async with at_door(server, door, version) as client:
        first = await client.ask("look", {"name": "x"})
        second = await client.ask("look", {"name": "x"}, _meta={"progressToken": 1})
        third = await client.ask("look", {"name": "x"})

    assert not first["result"]["isError"]
    assert "result" in second
    assert third["result"]["_meta"]["scale-mcp/error"]["code"] == "too_many_calls"


@EVERYWHERE
async def test_a_call_that_takes_too_long_is_given_up_on_both_ways(door: str, version: str) -> None:
    calls: list[Asked] = [("wait", {})]

    short = await answers(built(call_timeout=0.05), door, version, calls)

    assert short == await answers(without(built(call_timeout=0.05)), door, version, calls)
    assert short[0]["result"]["_meta"]["scale-mcp/error"]["code"] == "timeout"


async def test_in_discovery_no_tool_is_plain() -> None:
    server = built(discovery=True)
    taken = recorded(server)

    found = await answers(server, "stdio", MODERN, [("find_tools", {"query": "look"}), ("look", {"name": "x"})])

    assert not found[0]["result"]["isError"]
    assert found[1]["error"]["message"] == "Unknown tool: look"
    assert not taken


def test_a_tool_of_the_servers_own_is_not_plain_even_under_the_name_of_a_card() -> None:
    desk = OwnersDesk(Connection(FakeApi(), "live"), settings(), CallLimit(0))  # type: ignore[arg-type]
    tools = ToolSurface(Selection(CARDS), desk, settings())
    before = tools.plain_card("look")

    tools.add(LocalTool(t.Tool(name="look", input_schema={"type": "object"}), _nothing))

    assert before is CARDS["look"]
    assert tools.plain_card("look") is None


async def _nothing(ctx: Context, params: t.CallToolRequestParams) -> t.CallToolResult:
    return t.CallToolResult(content=[])


def test_no_tool_asks_for_headers_with_its_arguments() -> None:
    """The short way does not compare any."""
    assert not [card.name for card in cards().values() if x_mcp_header_map(input_schema(card))]

"""Three tools instead of all: plain words find the tool, and running it there is the same call."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mcp import Client
from mcp.types import TextContent

from scale_mcp.server.definitions import definition
from scale_mcp.server.results import ERROR_META
from scale_mcp.server.search import ToolSearch
from scale_mcp.tools.registry import cards
from tests.server.requests import MORE, REQUESTS, STILL_MORE, UNSEEN
from tests.small_cards import CARDS, FakeApi, built

BOTH_ERAS = pytest.mark.parametrize("era", ["legacy", "2026-07-28"])


def text_of(result: Any) -> str:
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


@pytest.mark.parametrize(
    "requests", [REQUESTS, MORE, STILL_MORE, UNSEEN], ids=["first", "more", "still more", "unseen"]
)
def test_nineteen_of_twenty_requests_find_their_tool_among_the_first_three(
    requests: tuple[tuple[str, str], ...],
) -> None:
    search = ToolSearch(cards().values())
    missed = [
        (request, wanted, [hit.card.name for hit in search.find(request, 3)])
        for request, wanted in requests
        if wanted not in [hit.card.name for hit in search.find(request, 3)]
    ]

    assert len(missed) <= 0.05 * len(requests), missed


def test_the_requests_cover_every_tool() -> None:
    assert {wanted for _, wanted in REQUESTS} == set(cards())


@pytest.mark.parametrize("name", list(cards()))
def test_a_tools_own_name_finds_it_first(name: str) -> None:
    assert ToolSearch(cards().values()).find(name, 1)[0].card.name == name


@pytest.mark.parametrize("query", ["", "   ", "qwxz", "🙂", "the and of", "?" * 5000, "\u202e"])
def test_words_that_mean_nothing_find_nothing_and_break_nothing(query: str) -> None:
    assert ToolSearch(cards().values()).find(query) == []


def test_a_misspelt_word_is_still_understood() -> None:
    found = [hit.card.name for hit in ToolSearch(cards().values()).find("transcripe an invoise", 3)]

    assert "create_document_transcription_task" in found


@pytest.mark.anyio
@BOTH_ERAS
async def test_three_tools_are_listed_and_cost_little(era: str) -> None:
    async with Client(built(discovery=True), mode=era) as client:
        listed = (await client.list_tools()).tools

    assert [tool.name for tool in listed] == ["find_tools", "describe_tool", "run_tool"]
    for tool in listed:
        assert tool.title
        assert tool.annotations
        assert len(tool.annotations.model_dump(exclude_none=True)) == 4
    seen = json.dumps(
        [{"name": tool.name, "description": tool.description, "input_schema": tool.input_schema} for tool in listed]
    )
    assert len(seen) / 3 < 900  # tokens, by a count of characters that errs on the expensive side


@pytest.mark.anyio
@BOTH_ERAS
async def test_a_tool_is_found_described_and_run(era: str) -> None:
    api = FakeApi()
    async with Client(built(api=api, discovery=True), mode=era) as client:
        found = await client.call_tool("find_tools", {"query": "erase something for good"})
        described = await client.call_tool("describe_tool", {"name": "look"})
        ran = await client.call_tool("run_tool", {"name": "look", "arguments": {"name": "tree"}})

    assert text_of(found).splitlines()[0] == "erase (destroy): Erase one thing for good."
    shown = json.loads(text_of(described))
    real = definition(CARDS["look"])
    assert shown["inputSchema"] == real.input_schema
    assert (shown["description"], shown["title"]) == (real.description, real.title)
    assert ran.structured_content == {"said": "tree"}
    assert api.done == ["look tree"]


@pytest.mark.anyio
@BOTH_ERAS
async def test_wrong_arguments_of_the_inner_tool_get_the_same_answer_as_in_a_direct_call(era: str) -> None:
    async with Client(built(discovery=True), mode=era) as client, Client(built(), mode=era) as direct:
        inner = await client.call_tool("run_tool", {"name": "look", "arguments": {"names": "x"}})
        outer = await direct.call_tool("look", {"names": "x"})

    assert inner.content == outer.content
    assert inner.is_error
    assert outer.is_error


@pytest.mark.anyio
@BOTH_ERAS
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("find_tools", {}),
        ("find_tools", {"query": 3}),
        ("find_tools", {"query": "x", "limit": 3}),
        ("describe_tool", {"tool": "look"}),
        ("run_tool", {"name": "look"}),
        ("run_tool", {"name": "look", "arguments": '{"name": "x"}'}),
        ("run_tool", {"name": "look", "args": {}}),
    ],
)
async def test_wrong_arguments_of_the_three_are_refused_with_what_they_take(
    tool: str, arguments: dict[str, Any], era: str
) -> None:
    async with Client(built(discovery=True), mode=era) as client:
        result = await client.session.call_tool(tool, arguments)

    assert result.is_error
    assert f"{tool} takes:" in text_of(result)


@pytest.mark.anyio
@BOTH_ERAS
@pytest.mark.parametrize("filters", [{"read_only": True}, {"exclude_tools": ["erase"]}, {"toolsets": ["tasks"]}])
async def test_what_is_hidden_can_be_neither_found_nor_described_nor_run(filters: dict[str, Any], era: str) -> None:
    api = FakeApi()
    async with Client(built(api=api, discovery=True, **filters), mode=era) as client:
        found = await client.call_tool("find_tools", {"query": "erase a thing for good"})
        answers = {
            name: [
                (await client.call_tool("describe_tool", {"name": name})).model_dump_json().replace(name, "NAME"),
                (await client.call_tool("run_tool", {"name": name, "arguments": {"name": "x"}}))
                .model_dump_json()
                .replace(name, "NAME"),
            ]
            for name in ("erase", "nosuchthing")
        }

    assert "erase (" not in text_of(found)
    assert answers["erase"] == answers["nosuchthing"]
    assert api.done == []


@pytest.mark.anyio
async def test_run_tool_hints_at_the_worst_it_can_do() -> None:
    async with Client(built(discovery=True)) as client:
        hints = (await client.list_tools()).tools[2].annotations
    async with Client(built(discovery=True, read_only=True)) as client:
        harmless = (await client.list_tools()).tools[2].annotations

    assert hints
    assert harmless
    assert (hints.read_only_hint, hints.destructive_hint) == (False, True)
    assert (harmless.read_only_hint, harmless.destructive_hint) == (True, False)


@pytest.mark.anyio
async def test_nothing_found_says_how_to_go_on() -> None:
    async with Client(built(discovery=True)) as client:
        result = await client.call_tool("find_tools", {"query": "qwxz"})

    assert "other words" in text_of(result)


@pytest.mark.anyio
async def test_an_unknown_tool_is_an_error_for_programs_too() -> None:
    async with Client(built(discovery=True)) as client:
        result = await client.call_tool("run_tool", {"name": "nosuchthing", "arguments": {}})

    assert (result.meta or {})[ERROR_META]["code"] == "unknown_tool"

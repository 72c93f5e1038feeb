"""Three tools instead of all: plain words find the tool, and running it there is the same call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.types import TextContent

from scale_mcp.server.definitions import definition
from scale_mcp.server.phrasings import features, phrasings
from scale_mcp.server.results import ERROR_META
from scale_mcp.server.search import ToolSearch
from scale_mcp.tools.registry import cards, hosted_cards
from tests.server.requests import MORE, REQUESTS, STILL_MORE, UNSEEN
from tests.small_cards import CARDS, FakeApi, built

BENCH = Path(__file__).resolve().parents[2] / "bench"
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


@pytest.mark.parametrize("name", list(hosted_cards()))
def test_the_bank_of_phrasings_has_a_dozen_requests_for_each_tool(name: str) -> None:
    assert len(set(phrasings()[name])) >= 12


def test_the_bank_of_phrasings_names_existing_tools_alone_and_no_request_twice() -> None:
    bank = phrasings()
    requests = [" ".join(features(request)) for asked in bank.values() for request in asked]

    assert set(bank) == set(hosted_cards())
    assert sorted(requests) == sorted(set(requests))


def test_the_bank_of_phrasings_holds_no_request_that_the_search_is_measured_with() -> None:
    files = sorted(BENCH.glob("requests*.tsv"))
    measured = [line.split("\t")[0] for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    known = {" ".join(features(request)) for asked in phrasings().values() for request in asked}

    assert len(measured) > 400
    assert [request for request in measured if " ".join(features(request)) in known] == []


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("list_events", "did anything happen on saturday"),
        ("list_events", "show me the latest activity, audits included"),
        ("wait_for_events", "wait till the labelers are through with it"),
        ("wait_for_events", "let me know once task 77ce is finished"),
    ],
)
def test_the_tools_of_hosted_servers_are_found_there_and_nowhere_else(name: str, request_: str) -> None:
    hosted = [hit.card.name for hit in ToolSearch(hosted_cards().values()).find(request_, 3)]
    elsewhere = [hit.card.name for hit in ToolSearch(cards().values()).find(request_, 99)]

    assert name in hosted
    assert name not in elsewhere


@pytest.mark.parametrize("toolset", sorted({card.toolset for card in hosted_cards().values()}))
def test_the_phrasings_of_hidden_tools_find_only_what_is_selected(toolset: str) -> None:
    selected = {name: card for name, card in hosted_cards().items() if card.toolset != toolset}
    search = ToolSearch(selected.values())

    for hidden in set(hosted_cards()) - set(selected):
        for request in (hidden, *phrasings()[hidden]):
            assert {hit.card.name for hit in search.find(request, 99)} <= set(selected)


def test_the_phrasings_of_a_hidden_tool_change_nothing_in_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    selected = [card for name, card in cards().items() if name != "cancel_task"]
    requests = [request for request, _ in REQUESTS]
    search = ToolSearch(selected)
    before = [search.find(request) for request in requests]
    bank = phrasings() | {"cancel_task": ["upload a picture", "who is on the team"]}
    monkeypatch.setattr("scale_mcp.server.search.phrasings", lambda: bank)

    search = ToolSearch(selected)

    assert [search.find(request) for request in requests] == before


def test_a_search_answers_the_same_however_often_and_after_whatever_it_is_asked() -> None:
    search = ToolSearch(cards().values())
    requests = [request for request, _ in MORE]
    forth = {request: search.find(request) for request in requests}
    back = {request: search.find(request) for request in reversed(requests)}

    another = ToolSearch(cards().values())

    assert forth == back == {request: another.find(request) for request in requests}


def test_a_search_finds_the_same_in_every_process() -> None:
    script = """
from scale_mcp.server.search import ToolSearch
from scale_mcp.tools.registry import cards
print([(hit.card.name, hit.score) for hit in ToolSearch(cards().values()).find("take bob off the project", 9)])
"""
    told = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(told) == 1
    assert "remove_studio_assignments" in told.pop()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("invite ann@example.com", "invite j.smith+x@mail.example.org"),
        ("send ./a/b.png", "send ~/c.png"),
        ("import https://a.example/b.tif", "import s3://bucket/c.tif"),
        ("show 5f21c0de", "show 64ab"),
        ('put {"a": 1} there', 'put {"camera": "left", "n": 2} there'),
        ('a project "night drive"', "a project night_drive"),
    ],
)
def test_of_a_value_in_a_request_its_kind_counts(one: str, other: str) -> None:
    assert features(one) == features(other)


def test_a_file_is_known_by_its_ending_too() -> None:
    assert "mp4" in features("look at ./clips/a.mp4")
    assert features("label a.mp4") != features("label a.png")


@pytest.mark.anyio
async def test_a_server_reads_the_phrasings_when_a_tool_is_first_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def reading() -> dict[str, list[str]]:
        read.append("the bank")
        return phrasings()

    monkeypatch.setattr("scale_mcp.server.search.phrasings", reading)
    async with Client(built(discovery=True)) as client:
        await client.list_tools()
        before = len(read)
        for _ in range(2):
            await client.call_tool("find_tools", {"query": "erase something"})

    assert (before, read) == (0, ["the bank"])


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

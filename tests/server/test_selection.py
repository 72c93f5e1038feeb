"""One filter answers the list and the call: what is not selected does not exist."""

from __future__ import annotations

from typing import Any

import pytest
from mcp import Client, MCPError

from scale_mcp.server.selection import select
from scale_mcp.settings import SettingsError
from tests.small_cards import CARDS, FakeApi, built, settings

ALL = list(CARDS)


@pytest.mark.parametrize(
    ("filters", "offered"),
    [
        ({}, ALL),
        ({"toolsets": ["all"]}, ALL),
        ({"toolsets": ["tasks"]}, ["look", "change"]),
        ({"toolsets": ["projects", "tasks"]}, ["look", "change", "erase", "set_params"]),
        ({"tools": ["pay", "look"]}, ["look", "pay"]),
        ({"toolsets": ["tasks"], "tools": ["pay"]}, ["look", "change", "pay"]),
        ({"toolsets": ["tasks"], "exclude_tools": ["change"]}, ["look"]),
        ({"tools": ["pay", "look"], "exclude_tools": ["pay"]}, ["look"]),
        ({"toolsets": ["tasks", "projects"], "read_only": True}, ["look"]),
        ({"tools": ["erase", "look"], "read_only": True}, ["look"]),
        ({"read_only": True}, ["look", "fail", "wait", "say"]),
    ],
)
def test_filters_apply_in_their_order(filters: dict[str, Any], offered: list[str]) -> None:
    assert list(select(CARDS, settings(**filters)).cards) == offered


@pytest.mark.parametrize(
    ("filters", "cure"),
    [
        ({"toolsets": ["task"]}, "Did you mean tasks?"),
        ({"tools": ["loook"]}, "Did you mean look?"),
        ({"exclude_tools": ["earse"]}, "Did you mean erase?"),
        ({"toolsets": ["tasks"], "exclude_tools": ["look", "change"]}, "leaves no tool"),
        ({"tools": ["erase"], "read_only": True}, "leaves no tool"),
    ],
)
def test_a_filter_that_cannot_be_meant_refuses_to_start(filters: dict[str, Any], cure: str) -> None:
    with pytest.raises(SettingsError, match=cure.replace("?", r"\?")):
        select(CARDS, settings(**filters))


@pytest.mark.anyio
@pytest.mark.parametrize("era", ["legacy", "2026-07-28"])
@pytest.mark.parametrize(
    ("filters", "hidden"),
    [
        ({"read_only": True}, "erase"),
        ({"toolsets": ["tasks"]}, "pay"),
        ({"exclude_tools": ["change"]}, "change"),
        ({"discovery": True}, "look"),
    ],
    ids=["read-only", "toolset", "deny list", "discovery"],
)
async def test_a_hidden_tool_is_absent_and_answers_like_an_invented_one(
    filters: dict[str, Any], hidden: str, era: str
) -> None:
    api = FakeApi()
    invented = "nosuchthing"
    async with Client(built(api=api, **filters), mode=era) as client:
        listed = [tool.name for tool in (await client.list_tools()).tools]
        answers = []
        for name in (hidden, invented):
            with pytest.raises(MCPError) as refused:
                await client.session.call_tool(name, {"name": "x"})
            answers.append(refused.value.error.model_dump_json().replace(name, "NAME"))

    assert hidden not in listed
    assert answers[0] == answers[1] == '{"code":-32602,"message":"Unknown tool: NAME","data":null}'
    assert api.done == []


@pytest.mark.anyio
async def test_the_list_is_the_same_for_everybody_and_after_every_call() -> None:
    server = built()
    lists = []
    for era in ("legacy", "2026-07-28"):
        async with Client(server, mode=era) as client:
            lists.append([tool.model_dump() for tool in (await client.list_tools()).tools])
            await client.call_tool("change", {"name": "x"})
            lists.append([tool.model_dump() for tool in (await client.list_tools()).tools])

    assert all(each == lists[0] for each in lists)

"""Plain calls on stdio: what cancels them, what ends them, and when they do not take the short way."""

from __future__ import annotations

import math
import os
import signal
from typing import Any

import pytest

from scale_mcp.server.shortcut import ShortcutServer
from scale_mcp.server.transports import stdio
from tests.both_ways import (
    ENVELOPE,
    MODERN,
    Answer,
    cancelled,
    initialize,
    over_pipes,
    recorded,
    request,
    same,
    without,
)
from tests.small_cards import FakeApi, built

pytestmark = pytest.mark.anyio

BOTH_ERAS = pytest.mark.parametrize("version", ["2025-11-25", MODERN])
BOTH_WAYS = pytest.mark.parametrize("short", [True, False], ids=["short way", "SDK's way"])


def server_for(api: FakeApi, *, short: bool) -> ShortcutServer:
    server = built(api=api)
    return server if short else without(server)


@BOTH_WAYS
@BOTH_ERAS
@pytest.mark.parametrize(("asked", "named"), [(7, 7), ("7", 7), (7, "7"), ("seven", "seven")])
async def test_a_cancelled_call_ends_and_is_not_answered(
    version: str, short: bool, asked: Any, named: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdio, "LAST_ANSWERS", math.inf)  # nor is an answer waited for when the client closes
    api = FakeApi()
    async with over_pipes(server_for(api, short=short), version) as client:
        await client.say(client.call("wait", {}, asked))
        await api.started.wait()
        await client.say(cancelled(named))
        after = await client.ask("look", {"name": "after"})
        rest = await client.rest()

    assert api.cancelled == 1
    assert after["result"]["structuredContent"] == {"said": "after"}
    assert rest == []


@BOTH_WAYS
@BOTH_ERAS
async def test_a_note_that_cancels_something_else_cancels_nothing(version: str, short: bool) -> None:
    api = FakeApi()
    async with over_pipes(server_for(api, short=short), version) as client:
        await client.say(client.call("wait", {}, 7))
        await api.started.wait()
        for params in ({"requestId": 8}, {"requestId": True}, {"requestId": None}, {}, {"requestId": [7]}):
            await client.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})
        await client.say({"jsonrpc": "2.0", "method": "notifications/cancelled"})
        await client.ask("look", {"name": "after"})
        still_waiting = not api.cancelled
        await client.say(cancelled(7))

    assert still_waiting
    assert api.cancelled == 1


@BOTH_WAYS
@BOTH_ERAS
async def test_a_client_that_closes_at_once_still_gets_its_answers(version: str, short: bool) -> None:
    async with over_pipes(server_for(FakeApi(), short=short), version) as client:
        for number in range(20):
            await client.say(client.call("look", {"name": str(number)}, number))
        found = await client.rest()

    assert {answer["id"]: answer["result"]["structuredContent"]["said"] for answer in found} == {
        number: str(number) for number in range(20)
    }


@BOTH_WAYS
@BOTH_ERAS
async def test_what_runs_long_after_the_client_has_closed_is_given_up_with_an_answer(
    version: str, short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdio, "LAST_ANSWERS", 0)
    api = FakeApi()
    async with over_pipes(server_for(api, short=short), version) as client:
        await client.say(client.call("wait", {}, "slow"))
        await api.started.wait()
        found = await client.rest()

    error = {"code": -32000, "message": "Connection closed"}
    assert found == [{"jsonrpc": "2.0", "id": "slow", "error": error}]
    assert api.cancelled == 1


async def test_a_server_that_is_told_to_end_leaves_no_call_running() -> None:
    api = FakeApi()
    async with over_pipes(server_for(api, short=True), MODERN) as client:
        await client.say(client.call("wait", {}))
        await api.started.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        assert await client.rest() == []

    assert api.cancelled == 1


@BOTH_ERAS
async def test_many_calls_at_once_are_each_answered_once(version: str) -> None:
    server = built()
    taken = recorded(server)
    async with over_pipes(server, version) as client:
        for number in range(300):
            await client.say(client.call("look", {"name": str(number)}, number))
        found = [await client.hear() for _ in range(300)]

    assert sorted(answer["id"] for answer in found) == list(range(300))
    assert len(taken) == 300


async def first_answers(server: ShortcutServer, *messages: Any) -> list[Answer]:
    """What a client that nobody has accepted yet gets for its first messages, one after the other."""
    async with over_pipes(server, "", accepted=False) as client:
        found = []
        for message in messages:
            await client.say(message)
            found.append(same(await client.hear()))
        return found


def looking(identity: int, **meta: Any) -> dict[str, Any]:
    return request(identity, "tools/call", name="look", arguments={"name": "x"}, **({"_meta": meta} if meta else {}))


OLD = "2025-11-25"


@pytest.mark.parametrize(
    "messages",
    [
        [looking(1)],
        [request(1, "ping"), looking(2)],
        [looking(1), initialize(OLD), looking(2)],
        [initialize(OLD), looking(1), looking(2, **ENVELOPE)],
        [{**initialize(OLD), "params": {"protocolVersion": OLD}}, looking(1)],
        [looking(1, **ENVELOPE), looking(2), initialize(OLD), looking(3, **ENVELOPE)],
        [looking(1, **{**ENVELOPE, "io.modelcontextprotocol/protocolVersion": "2027-01-01"}), looking(2, **ENVELOPE)],
        [looking(1, **{"io.modelcontextprotocol/protocolVersion": MODERN}), looking(2, **ENVELOPE)],
        [looking(1, **{**ENVELOPE, "io.modelcontextprotocol/clientCapabilities": 1}), looking(2, **ENVELOPE)],
        [initialize("1999-01-01"), looking(1)],
        [initialize(OLD), initialize("2024-11-05", "again"), looking(1)],
    ],
)
async def test_the_first_messages_of_a_client_are_answered_alike(messages: list[Any]) -> None:
    assert await first_answers(built(), *messages) == await first_answers(without(built()), *messages)


@pytest.mark.parametrize(
    "envelope",
    [
        {},
        {"io.modelcontextprotocol/clientCapabilities": {}},
        {**ENVELOPE, "io.modelcontextprotocol/protocolVersion": "2025-11-25"},
        {**ENVELOPE, "io.modelcontextprotocol/protocolVersion": 20260728},
        {**ENVELOPE, "io.modelcontextprotocol/clientCapabilities": None},
        {**ENVELOPE, "io.modelcontextprotocol/clientCapabilities": {"elicitation": 1}},
        {**ENVELOPE, "io.modelcontextprotocol/clientInfo": {"name": 1}},
        {**ENVELOPE, "io.modelcontextprotocol/clientInfo": None},
        {**ENVELOPE, "io.modelcontextprotocol/logLevel": "debug"},
        {**ENVELOPE, "com.example/anything": [1, {"a": None}]},
    ],
    ids=str,
)
async def test_an_envelope_is_judged_as_the_sdk_judges_it(envelope: dict[str, Any]) -> None:
    message = request(5, "tools/call", name="look", arguments={"name": "x"}, _meta=envelope)
    found = []
    for server in (built(), without(built())):
        async with over_pipes(server, MODERN) as client:
            await client.say(message)
            found.append(same(await client.hear()))

    assert found[0] == found[1]


@BOTH_ERAS
async def test_an_id_that_is_in_use_is_left_to_the_sdk(version: str) -> None:
    api = FakeApi()
    server = built(api=api)
    taken = recorded(server)
    async with over_pipes(server, version) as client:
        await client.say(client.call("wait", {}, 7))
        await api.started.wait()
        again = await client.ask("look", {"name": "x"}, identity="7")
        await client.say(cancelled(7))

    assert again["id"] == "7"
    assert again["result"]["structuredContent"] == {"said": "x"}
    assert [call.params.name for call in taken] == ["wait", "look"]  # looked at both, but started only one
    assert api.cancelled == 1

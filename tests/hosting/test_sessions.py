"""Sessions and streams belong to who opened them, and end with the token.

The first tests state what the SDK does by itself, as found out by trying; the others what is added to it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import httpx2
import mcp.types as t
import pytest
from mcp import MCPError

from scale_mcp.hosting.sign_in import CannotTell
from scale_mcp.hosting.store import Database
from scale_mcp.server.hosted.sessions import IDLE, Sessions
from scale_mcp.server.hosted.streams import PATIENCE, TooMany
from tests.hosting.sign_in_house import ACCEPT, Hands, House, bearer, opened_house, signed_in

pytestmark = pytest.mark.anyio

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
READY = {"jsonrpc": "2.0", "method": "notifications/initialized"}
LIST = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
WHOAMI = {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}}


@pytest.fixture
def database_url(tmp_path: Any) -> str:
    return f"sqlite:///{tmp_path / 'hosted.db'}"


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
async def house(database: Database, clock: Hands) -> AsyncIterator[House]:
    """Streams are looked at when a test says so."""
    async with opened_house(database, clock, look_every=3600.0) as opened:
        for name in ("reader", "writer"):
            await opened.persona(name)
        yield opened


@asynccontextmanager
async def plain(house: House, token: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=house.base, headers={**bearer(token), **ACCEPT}, timeout=20) as http:
        yield http


async def begin(http: httpx2.AsyncClient) -> dict[str, str]:
    """Open a session; gives the header that names it."""
    opened = await http.post("/mcp", json=INITIALIZE)
    assert opened.status_code == 200, opened.text
    head = {"mcp-session-id": opened.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
    assert (await http.post("/mcp", json=READY, headers=head)).status_code == 202
    return head


def facts(answer: httpx2.Response) -> tuple[Any, ...]:
    """All of an answer but its date."""
    return answer.status_code, answer.text, sorted((n, v) for n, v in answer.headers.items() if n != "date")


@pytest.mark.parametrize("method", ["POST list", "POST call", "POST answer", "GET", "DELETE"])
@pytest.mark.parametrize("other", ["another persona", "another user"])
async def test_a_session_of_somebody_else_is_answered_like_none(house: House, method: str, other: str) -> None:
    _, owner = await house.token("reader", user="ada")
    _, stranger = await house.token(*(("writer", "ada") if other == "another persona" else ("reader", "bob")))
    verb, _, what = method.partition(" ")
    answer_to_a_question = {"jsonrpc": "2.0", "id": 1, "result": {"action": "accept", "content": {"confirm": True}}}
    body = {"list": LIST, "call": WHOAMI, "answer": answer_to_a_question}.get(what)
    async with plain(house, owner) as mine, plain(house, stranger) as theirs:
        head = await begin(mine)
        assert (await mine.post("/mcp", json=WHOAMI, headers=head)).status_code == 200
        seen = len(house.seen)
        foreign = await theirs.request(verb, "/mcp", json=body, headers=head)
        unknown = await theirs.request(verb, "/mcp", json=body, headers={**head, "mcp-session-id": "0" * 32})
        assert len(house.seen) == seen
        still_there = await mine.post("/mcp", json=WHOAMI, headers=head)

    assert foreign.status_code == 404
    assert facts(foreign) == facts(unknown)
    assert "reader ada" in still_there.text


@pytest.mark.parametrize("other", ["another persona", "another user"])
async def test_an_sse_session_of_somebody_else_is_answered_like_none(house: House, other: str) -> None:
    _, owner = await house.token("reader", user="ada")
    _, stranger = await house.token(*(("writer", "ada") if other == "another persona" else ("reader", "bob")))
    async with plain(house, owner) as mine, plain(house, stranger) as theirs, mine.stream("GET", "/sse") as stream:
        lines = stream.aiter_lines()
        address = await anext(line.removeprefix("data: ") async for line in lines if line.startswith("data: "))
        foreign = await theirs.post(address, json=INITIALIZE)
        unknown = await theirs.post(f"/messages/?session_id={'0' * 32}", json=INITIALIZE)
        own = await mine.post(address, json=INITIALIZE)

    assert foreign.status_code == 404
    assert facts(foreign) == facts(unknown)
    assert own.status_code == 202


async def test_a_session_goes_on_with_a_new_token_of_the_same_user(house: House) -> None:
    """Tokens are replaced while work goes on; each request is its own token's, not the session's."""
    old, first = await house.token("reader", user="ada")
    new, second = await house.token("reader", user="ada")
    async with plain(house, first) as before, plain(house, second) as after:
        head = await begin(before)
        await before.post("/mcp", json=LIST, headers=head)
        await house.revoke(old)
        answers = [await after.post("/mcp", json=message, headers=head) for message in (LIST, WHOAMI, WHOAMI)]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    callers = [seen.visit.signed_in.caller for seen in house.seen if seen.visit]
    assert {caller.token_id for caller in callers[-3:]} == {new.id}


async def test_over_sse_each_message_is_its_own_tokens(house: House) -> None:
    first_record, first = await house.token("reader", user="ada")
    second_record, second = await house.token("reader", user="ada")
    async with plain(house, first) as before, plain(house, second) as after, before.stream("GET", "/sse") as stream:
        lines = stream.aiter_lines()
        address = await anext(line.removeprefix("data: ") async for line in lines if line.startswith("data: "))
        for http, message in ((before, INITIALIZE), (after, WHOAMI)):
            assert (await http.post(address, json=message)).status_code == 202
            await anext(line async for line in lines if line.startswith("data: "))

    tokens = [seen.visit.signed_in.caller.token_id for seen in house.seen if seen.visit]
    assert (tokens[0], tokens[-1]) == (first_record.id, second_record.id)


@pytest.mark.parametrize("door", ["mcp", "sse"])
async def test_what_a_persona_was_asked_cannot_be_answered_by_another(house: House, door: str) -> None:
    """From 2026-07-28 on the question travels as a sealed state; it is bound to who it was given to."""
    _, owner = await house.token("reader", user="ada")
    _, stranger = await house.token("writer", user="ada")

    async def nobody(context: Any, params: Any) -> t.ElicitResult:
        raise AssertionError("not asked")

    agreed = {"consent": t.ElicitResult(action="accept", content={"confirm": True})}
    with anyio.fail_after(20):
        async with (
            signed_in(house.base, door, "2026-07-28", owner, elicitation_callback=nobody) as mine,
            signed_in(house.base, door, "2026-07-28", stranger, elicitation_callback=nobody) as theirs,
        ):
            asked = await mine.session.call_tool("erase", {"name": "x"}, allow_input_required=True)
            assert isinstance(asked, t.InputRequiredResult)
            answer = {"input_responses": agreed, "request_state": asked.request_state, "allow_input_required": True}
            with pytest.raises(MCPError) as refused:
                await theirs.session.call_tool("erase", {"name": "x"}, **answer)
            assert house.api.done == []
            await mine.session.call_tool("erase", {"name": "x"}, **answer)

    assert refused.value.error.code == t.INVALID_PARAMS
    assert house.api.done == ["erase x"]


async def open_stream(stack: AsyncExitStack, house: House, token: str, kind: str) -> Any:
    """An open stream of a kind; gives a coroutine function that returns when the server has ended it in order."""
    http = await stack.enter_async_context(plain(house, token))
    if kind == "session":
        response = await stack.enter_async_context(http.stream("GET", "/mcp", headers=await begin(http)))
    elif kind == "sse":
        response = await stack.enter_async_context(http.stream("GET", "/sse"))
    else:
        head = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "subscriptions/listen"}
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        listen = {"jsonrpc": "2.0", "id": 9, "method": "subscriptions/listen"}
        listen["params"] = {"notifications": {"toolsListChanged": True}, "_meta": meta}
        response = await stack.enter_async_context(http.stream("POST", "/mcp", json=listen, headers=head))
    assert response.status_code == 200
    chunks = response.aiter_bytes()
    stack.push_async_callback(chunks.aclose)  # holds it: left alone, it would close the stream
    if kind != "session":  # which says nothing by itself
        await anext(chunks)

    async def ended() -> None:
        async for _ in chunks:
            pass

    return ended


EVERY_STREAM = pytest.mark.parametrize("kind", ["session", "sse", "listen"])


@EVERY_STREAM
@pytest.mark.parametrize("how", ["revoked", "expired", "disabled", "removed"])
async def test_an_open_stream_ends_with_its_token_and_others_stay(
    house: House, clock: Hands, kind: str, how: str
) -> None:
    record, token = await house.token("reader", user="ada", expires_in=timedelta(hours=1))
    _, other = await house.token("writer", user="ada")
    with anyio.fail_after(20):
        async with AsyncExitStack() as stack:
            ended = await open_stream(stack, house, token, kind)
            await open_stream(stack, house, other, kind)
            await house.streams.look()
            assert len(house.streams) == 2
            if how == "revoked":
                await house.revoke(record)
            elif how == "expired":
                clock.now += timedelta(hours=1)
            elif how == "disabled":
                await house.personas.edit("reader", {"disabled": True}, actor="test")
            else:
                await house.personas.remove("reader", actor="test")
            await house.streams.look()
            await ended()
            assert len(house.streams) == 1


@pytest.mark.parametrize("era", ["legacy", "2026-07-28"])
async def test_nobody_listens_unseen_under_another_method_name(house: House, era: str) -> None:
    """What is a stream is told by the header of that name, which the SDK compares with the request."""
    _, token = await house.token("reader")
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    listen: dict[str, Any] = {"jsonrpc": "2.0", "id": 9, "method": "subscriptions/listen"}
    listen["params"] = {"notifications": {"toolsListChanged": True}, "_meta": meta}
    modern = {"MCP-Protocol-Version": "2026-07-28"}
    async with plain(house, token) as http:
        heads = [modern, {**modern, "Mcp-Method": "tools/list"}] if era != "legacy" else [await begin(http)]
        answers = [await http.post("/mcp", json=listen, headers=head) for head in heads]

    assert all("error" in answer.text for answer in answers)
    assert not [seen for seen in house.seen if seen.method == "subscriptions/listen" and seen.visit is None]
    assert len(house.streams) == 0


@pytest.mark.parametrize("path", ["/sse", "/mcp"])
async def test_the_head_of_a_stream_is_not_to_be_had(house: House, path: str) -> None:
    """It would be a stream that nobody reads and nobody ends."""
    _, token = await house.token("reader")
    async with plain(house, token) as http:
        answer = await http.head(path)

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST, DELETE")
    assert len(house.streams) == 0


async def test_streams_end_by_themselves_within_seconds(database: Database, clock: Hands) -> None:
    """The server looks again and again; only the pause between two looks is shorter here."""
    async with opened_house(database, clock, look_every=0.01) as house:
        await house.persona("reader")
        record, token = await house.token("reader")
        with anyio.fail_after(20):
            async with AsyncExitStack() as stack:
                ended = await open_stream(stack, house, token, "sse")
                await house.revoke(record)
                await ended()


async def test_a_client_over_sse_is_told_that_its_session_has_ended(house: House) -> None:
    record, token = await house.token("reader")
    with anyio.fail_after(20):
        async with signed_in(house.base, "sse", "legacy", token) as client:
            await client.call_tool("whoami", {})
            before = len(house.seen)
            await house.revoke(record)
            await house.streams.look()
            with pytest.raises((MCPError, httpx2.HTTPError, anyio.ClosedResourceError)):
                await client.call_tool("whoami", {})

    assert len(house.seen) == before


async def test_a_call_under_way_is_finished_when_its_token_is_revoked(house: House) -> None:
    """What was begun with a good token may have been done at Scale already; its answer is the one way to know."""
    record, token = await house.token("reader")
    wait = {**WHOAMI, "params": {"name": "wait", "arguments": {}}}
    with anyio.fail_after(20):
        async with plain(house, token) as http, anyio.create_task_group() as tasks:
            head = await begin(http)
            tasks.start_soon(lambda: http.post("/mcp", json=wait, headers=head))
            await house.api.started.wait()
            await house.revoke(record)
            await house.streams.look()
            assert house.api.cancelled == 0
            tasks.cancel_scope.cancel()


async def test_a_stream_learns_what_its_persona_may_now(house: House) -> None:
    _, token = await house.token("reader")
    async with AsyncExitStack() as stack:
        await open_stream(stack, house, token, "listen")
        (listening,) = [seen for seen in house.seen if seen.method == "subscriptions/listen"]
        await house.personas.edit("reader", {"projects": ("streets",)}, actor="test")
        await house.streams.look()

        assert listening.visit is not None
        assert listening.visit.signed_in.caller.persona.projects == ("streets",)


async def test_streams_end_when_nobody_can_be_looked_up_for_long(
    house: House, clock: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, token = await house.token("reader")

    async def out() -> int:
        raise CannotTell("the store does not answer")

    with anyio.fail_after(20):
        async with AsyncExitStack() as stack:
            ended = await open_stream(stack, house, token, "sse")
            monkeypatch.setattr(house.sign_in, "revision", out)
            clock.now += PATIENCE / 2
            await house.streams.look()
            assert len(house.streams) == 1
            clock.now += PATIENCE / 2
            await house.streams.look()
            await ended()


async def test_looking_at_streams_outlasts_whatever_goes_wrong_and_ends_them_then(
    house: House, clock: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, token = await house.token("reader")

    async def crash() -> int:
        raise RuntimeError("surprise")

    with anyio.fail_after(20):
        async with AsyncExitStack() as stack:
            ended = await open_stream(stack, house, token, "sse")
            monkeypatch.setattr(house.sign_in, "revision", crash)
            await house.streams.look()
            clock.now += PATIENCE
            await house.streams.look()
            await ended()


async def test_one_caller_cannot_keep_others_out_by_opening_sessions(database: Database, clock: Hands) -> None:
    async with opened_house(database, clock, most_sessions=3) as house:
        for name in ("reader", "writer"):
            await house.persona(name)
        _, token = await house.token("reader")
        _, other = await house.token("writer")
        async with plain(house, token) as greedy, plain(house, other) as modest:
            heads = [await begin(greedy) for _ in range(3)]
            refused = await greedy.post("/mcp", json=INITIALIZE)
            assert (refused.status_code, refused.json()["error"]) == (429, "too_many_open")
            await begin(modest)
            await greedy.delete("/mcp", headers=heads[0])
            heads.append(await begin(greedy))
            assert (await greedy.post("/mcp", json=INITIALIZE)).status_code == 429
            clock.now += IDLE
            await begin(greedy)


async def test_one_caller_cannot_keep_others_out_by_opening_streams(database: Database, clock: Hands) -> None:
    async with opened_house(database, clock, most_streams=2) as house:
        for name in ("reader", "writer"):
            await house.persona(name)
        _, token = await house.token("reader")
        _, other = await house.token("writer")
        async with AsyncExitStack() as stack:
            for _ in range(2):
                await open_stream(stack, house, token, "sse")
            async with plain(house, token) as http:
                refused = await http.get("/sse")
            await open_stream(stack, house, other, "sse")

    assert (refused.status_code, refused.json()["error"]) == (429, "too_many_open")
    assert len(house.streams) == 0


async def test_a_session_counts_while_a_request_of_it_runs(clock: Hands) -> None:
    sessions = Sessions(clock, most=1)
    somebody = ("per_1", "scale-mcp", "ada")
    sessions.opened("one", somebody)
    with sessions.using("one"):
        clock.now += 2 * IDLE
        with pytest.raises(TooMany), sessions.opening(somebody):
            pass
    clock.now += IDLE
    with sessions.opening(somebody):
        pass

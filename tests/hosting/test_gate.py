"""Who gets in with which token: real clients of both eras at the real doors, personas in a real store."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx2
import mcp.types as t
import pytest
from mcp import MCPError

from scale_mcp.hosting.store import Database
from tests.hosting.sign_in_house import ACCEPT, Hands, House, bearer, opened_house, signed_in

pytestmark = pytest.mark.anyio

AT_EVERY_DOOR = pytest.mark.parametrize(
    ("door", "era"), [(door, era) for door in ("mcp", "sse") for era in ("legacy", "2026-07-28")]
)
GUARDED = [("POST", "/mcp"), ("GET", "/mcp"), ("DELETE", "/mcp"), ("GET", "/sse"), ("POST", "/messages/")]
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
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
LIST = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'hosted.db'}"


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
async def house(database: Database, clock: Hands) -> AsyncIterator[House]:
    async with opened_house(database, clock) as opened:
        await opened.persona("reader")
        yield opened


def said(answer: t.CallToolResult) -> dict[str, Any]:
    assert answer.structured_content is not None
    return answer.structured_content


@AT_EVERY_DOOR
async def test_a_good_token_lets_its_persona_call(house: House, door: str, era: str) -> None:
    _, token = await house.token("reader", user="ada")

    with anyio.fail_after(20):
        async with signed_in(house.base, door, era, token) as client:
            answer = await client.call_tool("whoami", {})

    assert said(answer) == {"said": "reader ada"}
    assert all((seen.persona, seen.user) == ("reader", "ada") for seen in house.seen)


@AT_EVERY_DOOR
async def test_behind_the_gate_nobody_sees_the_token(house: House, door: str, era: str) -> None:
    _, token = await house.token("reader", user="ada")

    with anyio.fail_after(20):
        async with signed_in(house.base, door, era, token) as client:
            await client.call_tool("whoami", {})

    assert {seen.bearer for seen in house.seen} == {""}
    assert not [seen for seen in house.seen if "authorization" in seen.headers]
    assert token not in repr(house.seen)


@AT_EVERY_DOOR
@pytest.mark.parametrize("kind", ["missing", "garbage", "expired", "revoked", "disabled", "another server's"])
async def test_any_other_token_lets_nobody_in(
    house: House, clock: Hands, caplog: pytest.LogCaptureFixture, kind: str, door: str, era: str
) -> None:
    record, token = await house.token("reader", expires_in=timedelta(hours=1))
    given: str | None = token
    if kind == "missing":
        given = None
    elif kind == "garbage":
        given = "0123456789"
    elif kind == "another server's":
        given = token[:-4] + "AAAA"
    elif kind == "expired":
        clock.now += timedelta(hours=1)
    elif kind == "revoked":
        await house.revoke(record)
    else:
        await house.personas.edit("reader", {"disabled": True}, actor="test")

    with anyio.fail_after(20), pytest.raises(BaseException) as refused:
        async with signed_in(house.base, door, era, given) as client:
            await client.call_tool("change", {"name": "x"})

    assert any(isinstance(leaf, MCPError | httpx2.HTTPStatusError) for leaf in leaves(refused.value))
    assert "sign_in_refused" in caplog.text
    assert house.seen == []
    assert house.api.done == []
    assert token not in caplog.text


def leaves(problem: BaseException) -> list[BaseException]:
    if isinstance(problem, BaseExceptionGroup):
        return [leaf for inner in problem.exceptions for leaf in leaves(inner)]
    return [problem]


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_a_refusal_says_how_to_sign_in_and_the_same_for_every_bad_token(
    house: House, clock: Hands, method: str, path: str
) -> None:
    _, old = await house.token("reader", expires_in=timedelta(hours=1))
    revoked, gone = await house.token("reader")
    await house.revoke(revoked)
    clock.now += timedelta(hours=2)
    async with httpx2.AsyncClient(base_url=house.base) as http:
        missing = await http.request(method, path)
        bad = [await http.request(method, path, headers=bearer(token)) for token in (old, gone, "x", "smcp_x", "a.b.c")]

    assert missing.status_code == 401
    assert missing.headers["www-authenticate"] == 'Bearer realm="scale-mcp"'
    assert {answer.status_code for answer in bad} == {401}
    told = [(answer.headers["www-authenticate"], {**answer.json(), "request_id": ""}) for answer in bad]
    assert all(each == told[0] for each in told)  # but for the number of the request
    assert 'error="invalid_token"' in bad[0].headers["www-authenticate"]


async def test_a_revoked_token_is_refused_on_the_next_call(house: House) -> None:
    record, token = await house.token("reader")
    async with httpx2.AsyncClient(base_url=house.base, headers={**bearer(token), **ACCEPT}) as http:
        before = await http.post("/mcp", json=INITIALIZE)
        await house.revoke(record)
        after = await http.post("/mcp", json=LIST, headers={"mcp-session-id": before.headers["mcp-session-id"]})

    assert (before.status_code, after.status_code) == (200, 401)


@pytest.mark.parametrize("path", ["/mcp\n", "/mcp/", "//mcp", "/MCP", "/sse\n", "/messages/x", "/authorize", "/x", "/"])
async def test_no_spelling_of_a_path_leads_past_the_gate(house: House, path: str) -> None:
    address = path.replace("\n", "%0A")
    async with httpx2.AsyncClient(base_url=house.base) as http:
        answers = [await http.request(method, house.base + address, json=INITIALIZE) for method in ("GET", "POST")]

    assert {answer.status_code for answer in answers} == {401}


@pytest.mark.parametrize("path", ["/authorize", "/register", "/token", "/.well-known/oauth-authorization-server"])
async def test_it_is_no_authorization_server(house: House, path: str) -> None:
    _, token = await house.token("reader")
    async with httpx2.AsyncClient(base_url=house.base, headers=bearer(token)) as http:
        assert (await http.get(path)).status_code == 404
        assert (await http.post(path)).status_code == 404


async def test_health_is_told_to_everybody_and_metadata_is_none_without_an_authorization_server(house: House) -> None:
    async with httpx2.AsyncClient(base_url=house.base) as http:
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/.well-known/oauth-protected-resource/mcp")).status_code == 404


async def test_the_short_way_of_plain_calls_is_behind_the_gate(house: House) -> None:
    """It stands around the SDK's application, and answers before that sees the request."""
    _, token = await house.token("reader", user="ada")
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    call["params"] = {"name": "whoami", "arguments": {}, "_meta": ENVELOPE}
    head = {**ACCEPT, "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "whoami"}
    async with httpx2.AsyncClient(base_url=house.base, headers=head) as http:
        without = await http.post("/mcp", json=call)
        with_token = await http.post("/mcp", json=call, headers=bearer(token))

    assert without.status_code == 401
    assert with_token.json()["result"]["structuredContent"] == {"said": "reader ada"}
    assert [seen.method for seen in house.seen] == ["tools/call"]  # and no middleware of the SDK saw it


async def test_two_authorization_headers_are_refused_even_when_both_are_good(house: House) -> None:
    _, token = await house.token("reader")
    headers = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}"), *ACCEPT.items()]
    async with httpx2.AsyncClient(base_url=house.base) as http:
        twice = await http.post("/mcp", json=INITIALIZE, headers=headers)
        joined = await http.post(
            "/mcp", json=INITIALIZE, headers={"Authorization": f"Bearer {token}, Bearer {token}", **ACCEPT}
        )

    assert (twice.status_code, joined.status_code) == (400, 401)


@pytest.mark.parametrize("query", ["access_token={}", "token=x", "ACCESS_TOKEN={}", "x={}", "x=live_0123456789abcd"])
async def test_a_token_in_the_address_is_refused_beside_a_good_one_and_not_logged(
    house: House, caplog: pytest.LogCaptureFixture, query: str
) -> None:
    _, token = await house.token("reader")
    async with httpx2.AsyncClient(base_url=house.base, headers={**bearer(token), **ACCEPT}) as http:
        answer = await http.post(f"/mcp?{query.format(token)}", json=INITIALIZE)

    assert answer.status_code == 400
    assert "Authorization header" in answer.json()["error_description"]
    ours = "".join(record.getMessage() for record in caplog.records if not record.name.startswith("http"))
    assert "sign_in_refused" in ours
    assert token not in ours + answer.text
    assert "live_0123456789" not in ours + answer.text


@pytest.mark.parametrize(
    "value",
    [
        "Bearer live_0123456789abcdef",
        "Bearer test_0123456789abcdef",
        "Basic bGl2ZV8wMTIzNDU2Nzg5OmFiYw==",
        "Basic YWRhOnB3",
        "Bearer",
        "Bearer a b",
        "Bearer é",
        "DPoP a.b.c",
        "smcp_x",
    ],
)
async def test_anything_but_one_bearer_token_is_refused_and_not_logged(
    house: House, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    async with httpx2.AsyncClient(base_url=house.base, headers=ACCEPT) as http:
        answer = await http.post("/mcp", json=INITIALIZE, headers={"Authorization": value.encode("latin-1")})

    assert answer.status_code == 401
    assert "0123456789" not in caplog.text
    assert "bGl2ZV8w" not in caplog.text


async def test_the_scheme_may_be_written_in_any_case(house: House) -> None:
    _, token = await house.token("reader")
    async with httpx2.AsyncClient(base_url=house.base, headers=ACCEPT) as http:
        answer = await http.post("/mcp", json=INITIALIZE, headers={"Authorization": f"bEARER  {token}"})

    assert answer.status_code == 200


async def test_a_store_that_does_not_answer_lets_nobody_in_and_asks_to_try_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, token = await house.token("reader")

    async def out(token: str) -> None:
        raise ConnectionRefusedError("store")

    monkeypatch.setattr("scale_mcp.hosting.directory.Directory.find", lambda _, token: out(token))
    async with httpx2.AsyncClient(base_url=house.base, headers={**bearer(token), **ACCEPT}) as http:
        answer = await http.post("/mcp", json=INITIALIZE)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert house.seen == []


@pytest.mark.parametrize(
    ("hops", "forwarded", "peer"),
    [
        (0, ["203.0.113.9"], "127.0.0.1"),
        (1, [], "127.0.0.1"),
        (1, ["203.0.113.9"], "203.0.113.9"),
        (1, ["198.51.100.1, 203.0.113.9:4711"], "203.0.113.9"),
        (1, ["198.51.100.1", "[2001:db8::1]:443"], "2001:db8::1"),
        (2, ["6.6.6.6, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        (2, ["203.0.113.9"], "127.0.0.1"),
        (1, ["unknown"], "127.0.0.1"),
        (1, ['"<script>"'], "127.0.0.1"),
    ],
)
async def test_a_forwarded_address_is_believed_from_trusted_proxies_only(
    database: Database, hops: int, forwarded: list[str], peer: str
) -> None:
    async with opened_house(database, trusted_hops=hops) as house:
        await house.persona("reader")
        _, token = await house.token("reader")
        headers = [*bearer(token).items(), *ACCEPT.items(), *(("X-Forwarded-For", value) for value in forwarded)]
        async with httpx2.AsyncClient(base_url=house.base) as http:
            await http.post("/mcp", json=INITIALIZE, headers=headers)

    assert [seen.visit.peer for seen in house.seen if seen.visit] == [peer]


async def test_a_refusal_is_logged_with_its_reason_and_without_the_token(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    record, token = await house.token("reader")
    await house.revoke(record)
    async with httpx2.AsyncClient(base_url=house.base) as http:
        await http.post("/mcp", headers=bearer(token))

    ours = [record.getMessage() for record in caplog.records if "sign_in_refused" in record.getMessage()]
    assert len(ours) == 1
    assert "revoked" in ours[0]
    assert token not in caplog.text
    assert json.dumps(token)[1:-1] not in ours[0]

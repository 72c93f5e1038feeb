"""Signing in with the tokens of a real authorization server, which knows nothing of this project."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp.client.auth import OAuthFlowError
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.auth.utils import build_protected_resource_metadata_discovery_urls, extract_scope_from_www_auth
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

from scale_mcp.hosting.issuer import LIFETIME, PAUSE
from scale_mcp.hosting.oauth import LEEWAY
from scale_mcp.hosting.store import Database
from tests.hosting.authorization_server import (
    SECONDS,
    AuthorizationServer,
    authorization_server,
    installed,
    signing_key,
)
from tests.hosting.sign_in_house import ACCEPT, Hands, House, bearer, opened_house, signed_in

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("authorization server")]  # which one worker starts

CLIENTS = {"notebook": "reader", "desk": ["everyone", "reader"], "robot": "writer", "stranger": "nobody", "plain": None}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'hosted.db'}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizationServer]:
    """One for all tests that leave it as it is."""
    with authorization_server(tmp_path_factory.mktemp("server"), CLIENTS) as running:
        yield running


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[AuthorizationServer]:
    """One that a test may stop, and start with other keys."""
    with authorization_server(tmp_path, CLIENTS) as running:
        yield running


@pytest.fixture
async def own_house(database: Database, clock: Hands, own_server: AuthorizationServer) -> AsyncIterator[House]:
    async with opened(database, clock, own_server) as house:
        yield house


@pytest.fixture
def clock() -> Hands:
    """Begins at the real time, which the authorization server lives in."""
    hands = Hands()
    hands.now = datetime.now(UTC)
    return hands


@asynccontextmanager
async def opened(
    database: Database, clock: Hands, server: AuthorizationServer, **overrides: Any
) -> AsyncIterator[House]:
    wanted = {"oauth_issuer": server.issuer, "oauth_persona_claim": "persona", **overrides}
    async with opened_house(database, clock, **wanted) as house:
        for name in ("reader", "writer"):
            await house.persona(name)
        yield house


@pytest.fixture
async def house(database: Database, clock: Hands, server: AuthorizationServer) -> AsyncIterator[House]:
    async with opened(database, clock, server) as house:
        yield house


async def status(house: House, token: str, path: str = "/mcp") -> int:
    async with httpx2.AsyncClient(base_url=house.base, headers={**bearer(token), **ACCEPT}) as http:
        return (await http.post(path, json=INITIALIZE)).status_code


class Memory:
    """Where the SDK's client keeps its token."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        raise AssertionError("it is registered already")


@pytest.mark.parametrize("door", ["mcp", "sse"])
@pytest.mark.parametrize("era", ["legacy", "2026-07-28"])
async def test_a_client_that_knows_only_the_address_finds_its_way_in(
    database: Database, clock: Hands, server: AuthorizationServer, door: str, era: str
) -> None:
    """Refused, it reads the metadata, gets a token for this server from the one that is named there, and comes back."""
    memory = Memory()
    with anyio.fail_after(30):
        async with opened(database, clock, server, oauth_scopes="scale") as house:
            address = f"{house.base}/{door}"
            auth = ClientCredentialsOAuthProvider(address, memory, "notebook", "notebook", issuer=server.issuer)
            async with signed_in(house.base, door, era, auth=auth) as client:
                answer = await client.call_tool("whoami", {})

    assert answer.structured_content == {"said": "reader notebook"}
    assert memory.tokens is not None
    body = memory.tokens.access_token.split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(body + "=="))["aud"] == address


@pytest.mark.parametrize(("door", "other"), [("/mcp", "/sse"), ("/sse", "/mcp")])
async def test_the_metadata_is_where_clients_look_and_names_the_door_they_came_to(
    house: House, server: AuthorizationServer, door: str, other: str
) -> None:
    async with httpx2.AsyncClient(base_url=house.base) as http:
        refused = await http.request("GET" if door == "/sse" else "POST", door)
        told = f'resource_metadata="{house.base}/.well-known/oauth-protected-resource{door}"'
        first, *_ = build_protected_resource_metadata_discovery_urls(None, f"{house.base}{door}")
        document = (await http.get(first)).json()
        at_the_root = (await http.get("/.well-known/oauth-protected-resource")).json()

    assert refused.status_code == 401
    assert told in refused.headers["www-authenticate"]
    assert "error=" not in refused.headers["www-authenticate"]
    assert document == {
        "resource": f"{house.base}{door}",
        "authorization_servers": [server.issuer],
        "bearer_methods_supported": ["header"],
        "resource_name": "Scale AI (scale-mcp)",
    }
    assert at_the_root["resource"] == f"{house.base}/mcp"
    assert await status(house, await server.token("notebook", f"{house.base}{other}")) == 200


@pytest.mark.parametrize("client", ["notebook", "desk", "robot"])
async def test_the_claim_says_which_persona_and_the_subject_who(
    house: House, server: AuthorizationServer, client: str
) -> None:
    token = await server.token(client, f"{house.base}/mcp")
    with anyio.fail_after(20):
        async with signed_in(house.base, "mcp", "2026-07-28", token) as connected:
            answer = await connected.call_tool("whoami", {})

    expected = "writer robot" if client == "robot" else f"reader {client}"
    assert answer.structured_content == {"said": expected}
    assert {seen.visit.signed_in.caller.client for seen in house.seen if seen.visit} == {client}


@pytest.mark.parametrize("client", ["stranger", "plain"])
async def test_a_token_that_names_no_persona_of_ours_lets_nobody_in(
    house: House, server: AuthorizationServer, client: str
) -> None:
    assert await status(house, await server.token(client, f"{house.base}/mcp")) == 401


async def test_a_disabled_persona_is_refused_on_the_next_call(house: House, server: AuthorizationServer) -> None:
    token = await server.token("notebook", f"{house.base}/mcp")
    assert await status(house, token) == 200
    await house.personas.edit("reader", {"disabled": True}, actor="test")

    assert await status(house, token) == 401


@pytest.mark.parametrize("resource", ["https://other.example.com/mcp", "{base}", "{base}/mcp/", "{base}/other"])
async def test_a_token_for_another_audience_lets_nobody_in(
    house: House, server: AuthorizationServer, resource: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = await server.token("notebook", resource.format(base=house.base))

    assert await status(house, token) == 401
    assert "(aud)" in caplog.text
    assert token not in caplog.text


async def test_an_audience_of_the_operators_choice_is_the_only_one(
    database: Database, clock: Hands, server: AuthorizationServer
) -> None:
    async with opened(database, clock, server, oauth_audience="api://scale") as house:
        assert await status(house, await server.token("notebook", "api://scale")) == 200
        assert await status(house, await server.token("notebook", f"{house.base}/mcp")) == 401


async def test_a_token_of_another_issuer_lets_nobody_in(
    house: House, server: AuthorizationServer, tmp_path: Path
) -> None:
    """Even one with the same clients and the same key."""
    (tmp_path / "other").mkdir()
    with authorization_server(tmp_path / "other", CLIENTS, *server.keys) as other:
        token = await other.token("notebook", f"{house.base}/mcp")

    assert await status(house, token) == 401
    assert await status(house, await server.token("notebook", f"{house.base}/mcp")) == 200


async def test_an_expired_token_lets_nobody_in(house: House, server: AuthorizationServer, clock: Hands) -> None:
    token = await server.token("notebook", f"{house.base}/mcp")
    assert await status(house, token) == 200
    clock.now += timedelta(seconds=SECONDS + 60) + LEEWAY

    assert await status(house, token) == 401


async def test_an_open_stream_ends_when_its_token_expires(
    house: House, server: AuthorizationServer, clock: Hands
) -> None:
    token = await server.token("notebook", f"{house.base}/sse")
    with anyio.fail_after(20):
        async with (
            httpx2.AsyncClient(base_url=house.base, headers=bearer(token), timeout=20) as http,
            http.stream("GET", "/sse") as stream,
        ):
            clock.now += timedelta(seconds=SECONDS + 60)
            await house.streams.look()
            async for _ in stream.aiter_bytes():
                pass


async def test_a_signature_of_a_kind_that_is_not_accepted_lets_nobody_in(
    database: Database, clock: Hands, tmp_path: Path
) -> None:
    with authorization_server(tmp_path, CLIENTS, algorithm="ES256") as server:
        async with opened(database, clock, server, oauth_algorithms="RS256") as strict:
            assert await status(strict, await server.token("notebook", f"{strict.base}/mcp")) == 401
            async with httpx2.AsyncClient(base_url=strict.base) as http:
                assert (await http.get("/healthz")).status_code == 200


async def test_elliptic_signatures_work_as_well(database: Database, clock: Hands, tmp_path: Path) -> None:
    with authorization_server(tmp_path, CLIENTS, algorithm="ES256") as server:
        async with opened(database, clock, server) as house:
            assert await status(house, await server.token("notebook", f"{house.base}/mcp")) == 200


@pytest.mark.parametrize("how", ["none", "no signature", "changed", "cut"])
async def test_a_good_token_that_was_tampered_with_lets_nobody_in(
    house: House, server: AuthorizationServer, how: str
) -> None:
    token = await server.token("notebook", f"{house.base}/mcp")
    head, body, signature = token.split(".")
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt","kid":"first"}').decode().rstrip("=")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    more = base64.urlsafe_b64encode(json.dumps({**claims, "persona": "writer"}).encode()).decode().rstrip("=")
    tampered = {
        "none": f"{unsigned}.{body}.",
        "no signature": f"{head}.{body}.",
        "changed": f"{head}.{more}.{signature}",
        "cut": token[:-8],
    }[how]

    assert await status(house, token) == 200
    assert await status(house, tampered) == 401


async def test_a_token_without_a_demanded_scope_is_told_which_to_ask_for(
    database: Database, clock: Hands, server: AuthorizationServer
) -> None:
    async with opened(database, clock, server, oauth_scopes="scale") as house:
        without = await server.token("notebook", f"{house.base}/mcp", scope="")
        async with httpx2.AsyncClient(base_url=house.base, headers=ACCEPT) as http:
            nobody = await http.post("/mcp", json=INITIALIZE)
            refused = await http.post("/mcp", json=INITIALIZE, headers=bearer(without))
            document = (await http.get("/.well-known/oauth-protected-resource/mcp")).json()
        assert await status(house, await server.token("notebook", f"{house.base}/mcp")) == 200

    assert (nobody.status_code, refused.status_code) == (401, 403)
    assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]
    assert [extract_scope_from_www_auth(answer) for answer in (nobody, refused)] == ["scale", "scale"]
    assert document["scopes_supported"] == ["scale"]


async def test_keys_are_rotated_while_work_goes_on(
    own_house: House, own_server: AuthorizationServer, clock: Hands
) -> None:
    old = await own_server.token("notebook", f"{own_house.base}/mcp")
    assert await status(own_house, old) == 200
    first = own_server.keys[0]
    own_server.restart(signing_key("second"), first)  # both published, the new one signs
    new = await own_server.token("notebook", f"{own_house.base}/mcp")
    assert json.loads(base64.urlsafe_b64decode(new.split(".")[0] + "=="))["kid"] == "second"
    assert await status(own_house, new) == 401  # not known yet, and asked a moment ago
    clock.now += PAUSE
    assert await status(own_house, new) == 200
    assert await status(own_house, old) == 200
    own_server.restart(own_server.keys[0])  # the old one is gone
    clock.now += LIFETIME
    assert await status(own_house, new) == 200

    assert await status(own_house, old) == 401


async def test_a_stream_ends_when_the_key_of_its_token_is_withdrawn(
    own_house: House, own_server: AuthorizationServer, clock: Hands
) -> None:
    token = await own_server.token("notebook", f"{own_house.base}/sse")
    with anyio.fail_after(20):
        async with (
            httpx2.AsyncClient(base_url=own_house.base, headers=bearer(token), timeout=20) as http,
            http.stream("GET", "/sse") as stream,
        ):
            own_server.restart(signing_key("second"))
            clock.now += LIFETIME
            await own_house.streams.look()
            async for _ in stream.aiter_bytes():
                pass


async def test_work_goes_on_while_the_authorization_server_is_away(
    own_house: House, own_server: AuthorizationServer, clock: Hands
) -> None:
    token = await own_server.token("notebook", f"{own_house.base}/mcp")
    assert await status(own_house, token) == 200
    own_server.stop()
    clock.now += LIFETIME

    assert await status(own_house, token) == 200


async def test_before_its_keys_are_known_an_absent_authorization_server_means_try_again(
    own_house: House, own_server: AuthorizationServer
) -> None:
    token = await own_server.token("notebook", f"{own_house.base}/mcp")
    own_server.stop()

    assert await status(own_house, token) == 503


async def test_two_users_of_one_persona_do_not_share_sessions(house: House, server: AuthorizationServer) -> None:
    tokens = [await server.token(client, f"{house.base}/mcp") for client in ("notebook", "desk")]
    async with httpx2.AsyncClient(base_url=house.base, headers=ACCEPT) as http:
        opened = await http.post("/mcp", json=INITIALIZE, headers=bearer(tokens[0]))
        session = {"mcp-session-id": opened.headers["mcp-session-id"]}
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        answers = [await http.post("/mcp", json=ping, headers={**session, **bearer(token)}) for token in tokens]

    assert [answer.status_code for answer in answers] == [200, 404]


async def test_where_npm_is_missing_the_tests_fail_and_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tests.hosting.authorization_server.find_spec", lambda name: None)

    with pytest.raises(pytest.fail.Exception, match="apt-get install nodejs npm"):
        installed()


def test_a_machine_without_node_uses_what_the_development_tools_bring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))

    assert (installed() / "node_modules" / "oidc-provider").is_dir()


async def test_persona_tokens_work_beside_it(house: House) -> None:
    _, token = await house.token("reader", user="ada")

    assert await status(house, token) == 200


async def test_a_client_without_credentials_is_not_let_in(house: House, server: AuthorizationServer) -> None:
    auth = ClientCredentialsOAuthProvider(f"{house.base}/mcp", Memory(), "notebook", "wrong", issuer=server.issuer)
    with anyio.fail_after(30), pytest.RaisesGroup(OAuthFlowError, flatten_subgroups=True, allow_unwrapped=True):
        async with signed_in(house.base, "mcp", "legacy", auth=auth):
            pass

    assert house.seen == []

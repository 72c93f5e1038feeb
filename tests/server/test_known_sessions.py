"""Which sessions count as served by the SDK a moment ago."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from mcp import MCPError
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.requests import Request

from scale_mcp.server.transports.sessions import TRUSTED, KnownSessions, Principal

pytestmark = pytest.mark.anyio


def served(**changes: Any) -> Any:
    """A request as the server's middleware sees it."""
    path, session, user = changes.pop("path", "/mcp"), changes.pop("session", b"abc"), changes.pop("user", None)
    scope = {"type": "http", "path": path, "headers": [(b"mcp-session-id", session)] if session else [], "user": user}
    usual = {
        "method": "tools/list",
        "request_id": 1,
        "protocol_version": "2025-06-18",
        "request": Request(scope),
    }
    return SimpleNamespace(**{**usual, **changes})


async def well(ctx: Any) -> Any:
    return {}


async def badly(ctx: Any) -> Any:
    raise MCPError(code=-32602, message="no")


def person(name: str) -> AuthenticatedUser:
    token = AccessToken(token="t", client_id="app", scopes=[], subject=name, claims={"iss": "https://issuer.example"})
    return AuthenticatedUser(token)


async def test_a_session_is_known_in_its_version_once_a_request_went_well() -> None:
    sessions = KnownSessions()

    assert sessions.version("abc", None) is None
    assert await sessions(served(), well) == {}
    assert sessions.version("abc", None) == "2025-06-18"
    sessions.forget("abc", None)
    assert sessions.version("abc", None) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "initialize"},
        {"method": "ping"},
        {"request_id": None},
        {"protocol_version": "2026-07-28"},
        {"path": "/messages/"},
        {"session": b""},
        {"request": None},
    ],
    ids=str,
)
async def test_what_says_nothing_about_a_session_makes_none_known(changes: dict[str, Any]) -> None:
    sessions = KnownSessions()

    await sessions(served(**changes), well)

    assert sessions.version("abc", None) is None
    assert sessions.version("", None) is None


async def test_a_refused_request_makes_no_session_known() -> None:
    sessions = KnownSessions()

    with pytest.raises(MCPError):
        await sessions(served(), badly)

    assert sessions.version("abc", None) is None


async def test_a_session_is_known_for_the_caller_it_was_served_to() -> None:
    sessions = KnownSessions()
    ann: Principal = ("app", "https://issuer.example", "ann")

    await sessions(served(user=person("ann")), well)

    assert sessions.version("abc", ann) == "2025-06-18"
    for other in (None, ("app", "https://issuer.example", "bob"), ("app", None, "ann")):
        assert sessions.version("abc", other) is None


async def test_what_was_served_long_ago_is_neither_known_nor_kept() -> None:
    now = [0.0]
    sessions = KnownSessions(lambda: now[0])
    for number in range(100):
        await sessions(served(session=b"%d" % number), well)

    now[0] = TRUSTED + 1
    assert sessions.version("7", None) is None
    await sessions(served(), well)

    assert len(sessions) == 1

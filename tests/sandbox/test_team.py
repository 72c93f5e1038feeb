from __future__ import annotations

from typing import Any

import httpx2
import pytest

from scale_mcp.sandbox import Sandbox

pytestmark = pytest.mark.anyio


def by_email(team: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {person["email"]: person for person in team}


async def team_of(client: httpx2.AsyncClient) -> dict[str, dict[str, Any]]:
    return by_email((await client.get("/teams")).json())


async def test_a_new_account_has_one_admin_and_active_people_of_every_role(live: httpx2.AsyncClient) -> None:
    roles = [person["role"] for person in (await team_of(live)).values()]

    assert roles.count("admin") == 1
    assert {"manager", "member", "labeler", "disabled"} <= set(roles)


async def test_the_simulated_workers_are_the_labelers(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    labelers = [person for person in (await team_of(live)).values() if person["role"] == "labeler"]

    assert len(labelers) == sandbox.options.workers
    assert all(person["isStudioLabeler"] for person in labelers)


async def test_an_invited_person_appears_at_once_with_an_expiry(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    answer = await live.post("/teams/invite", json={"emails": ["eve@example.com"], "team_role": "member"})

    eve = by_email(answer.json())["eve@example.com"]
    assert answer.status_code == 200
    assert eve["role"] == "invited"
    assert eve["expiry"] == sandbox.clock.iso(sandbox.clock.now() + 14 * 86_400)
    assert "firstName" not in eve


async def test_inviting_somebody_again_renews_the_invitation(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    body = {"emails": ["eve@example.com"], "team_role": "member"}
    first = by_email((await live.post("/teams/invite", json=body)).json())["eve@example.com"]
    sandbox.clock.advance(3600)
    again = (await live.post("/teams/invite", json={"emails": ["EVE@example.com"], "team_role": "labeler"})).json()

    assert len([person for person in again if person["email"].lower() == "eve@example.com"]) == 1
    assert by_email(again)["eve@example.com"]["expiry"] > first["expiry"]


async def test_inviting_an_active_person_changes_nothing(live: httpx2.AsyncClient) -> None:
    before = await team_of(live)
    after = await live.post("/teams/invite", json={"emails": ["member@sandbox.example"], "team_role": "manager"})

    assert by_email(after.json()) == before


@pytest.mark.parametrize(
    "body",
    [
        {"emails": ["eve@example.com"], "team_role": "admin"},
        {"emails": ["eve@example.com"], "role": "member"},
        {"emails": ["eve"], "team_role": "member"},
        {"emails": ["eve@example"], "team_role": "member"},
        {"emails": [7], "team_role": "member"},
        {"emails": [], "team_role": "member"},
        {"emails": "eve@example.com", "team_role": "member"},
        {"team_role": "member"},
        ["eve@example.com"],
    ],
)
@pytest.mark.parametrize("path", ["/teams/invite", "/teams/set_role"])
async def test_a_wrong_role_or_address_is_refused(live: httpx2.AsyncClient, path: str, body: Any) -> None:
    before = await team_of(live)
    answer = await live.post(path, json=body)

    assert answer.status_code == 400
    assert answer.json()["status_code"] == 400
    assert await team_of(live) == before


async def test_a_role_can_be_changed(live: httpx2.AsyncClient) -> None:
    body = {"emails": ["member@sandbox.example"], "team_role": "manager"}
    team = by_email((await live.post("/teams/set_role", json=body)).json())

    assert team["member@sandbox.example"]["role"] == "manager"


async def test_setting_a_role_makes_a_disabled_person_active(live: httpx2.AsyncClient) -> None:
    body = {"emails": ["former@sandbox.example"], "team_role": "labeler"}
    team = by_email((await live.post("/teams/set_role", json=body)).json())

    assert team["former@sandbox.example"]["role"] == "labeler"


async def test_the_role_of_an_admin_stays_and_nobody_else_changes_either(live: httpx2.AsyncClient) -> None:
    before = await team_of(live)
    body = {"emails": ["member@sandbox.example", "admin@sandbox.example"], "team_role": "labeler"}
    answer = await live.post("/teams/set_role", json=body)

    assert answer.status_code == 400
    assert await team_of(live) == before


async def test_the_role_of_a_stranger_cannot_be_set(live: httpx2.AsyncClient) -> None:
    answer = await live.post("/teams/set_role", json={"emails": ["nobody@example.com"], "team_role": "member"})

    assert answer.status_code == 404

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import pytest
import uvicorn

from scale_mcp.sandbox import Sandbox, SandboxOptions
from scale_mcp.sandbox.accounts import account_for

from .conftest import Connect

pytestmark = pytest.mark.anyio

INVITATION = {"emails": ["eve@example.com"], "team_role": "member"}


@asynccontextmanager
async def served(sandbox: Sandbox) -> AsyncIterator[str]:
    """The sandbox on an ephemeral port of this machine; gives its address."""
    server = uvicorn.Server(uvicorn.Config(sandbox.app, host="127.0.0.1", port=0, log_level="warning", lifespan="off"))
    socket = server.config.bind_socket()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [socket])
        try:
            yield f"http://127.0.0.1:{socket.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            await anyio.wait_all_tasks_blocked()


@pytest.fixture(params=["in process", "over a socket"])
async def caller(
    request: pytest.FixtureRequest, sandbox: Sandbox, connect: Connect
) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the sandbox, both ways: faults must look the same."""
    if request.param == "in process":
        yield connect("live_side")
        return
    async with served(sandbox) as url, httpx2.AsyncClient(base_url=url, auth=("live_side", "")) as client:
        yield client


async def is_invited(client: httpx2.AsyncClient) -> bool:
    return "eve@example.com" in (await client.get("/teams")).text


async def test_too_many_requests_come_with_a_wait_and_nothing_is_done(
    sandbox: Sandbox, caller: httpx2.AsyncClient
) -> None:
    sandbox.faults.put([{"kind": "rate_limit", "retry_after": 7, "method": "POST"}])
    answer = await caller.post("/teams/invite", json=INVITATION)

    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "7"
    assert answer.json()["status_code"] == 429
    assert not await is_invited(caller)


async def test_a_limit_of_keys_counts_each_key_apart_and_lets_more_through_as_time_passes(
    sandbox: Sandbox, connect: Connect
) -> None:
    sandbox.faults.put([{"kind": "key_limit", "per_second": 2}])
    first, second = connect("live_side"), connect("live_side+2")

    assert [(await first.get("/teams")).status_code for _ in range(4)] == [200, 200, 429, 429]
    assert [(await second.get("/teams")).status_code for _ in range(3)] == [200, 200, 429]
    await sandbox.advance(0.5)
    assert [(await first.get("/teams")).status_code for _ in range(2)] == [200, 429]
    await sandbox.advance(60)
    assert [(await first.get("/teams")).status_code for _ in range(3)] == [200, 200, 429]


async def test_who_waits_as_long_as_a_limit_of_keys_says_gets_through(
    sandbox: Sandbox, live: httpx2.AsyncClient
) -> None:
    sandbox.faults.put([{"kind": "key_limit", "per_second": 0.1}])
    refused = [await live.get("/teams") for _ in range(2)][1]
    await sandbox.advance(float(refused.headers["retry-after"]))

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
    assert (await live.get("/teams")).status_code == 200


async def test_a_limit_may_be_set_on_one_key_of_an_account_alone(sandbox: Sandbox, connect: Connect) -> None:
    sandbox.faults.put([{"kind": "key_limit", "per_second": 1, "key": "live_side"}])
    limited, free = connect("live_side"), connect("live_side+2")

    assert [(await limited.get("/teams")).status_code for _ in range(2)] == [200, 429]
    assert [(await free.get("/teams")).status_code for _ in range(5)] == [200] * 5


async def test_a_key_can_be_refused_as_if_it_were_revoked(sandbox: Sandbox, connect: Connect) -> None:
    sandbox.faults.put([{"kind": "unauthorized", "key": "live_side+old"}])
    old, new = connect("live_side+old"), connect("live_side+new")
    refused = await old.post("/teams/invite", json=INVITATION)

    assert refused.status_code == 401
    assert refused.json() == {"status_code": 401, "error": "Invalid API key."}
    assert not await is_invited(new)


async def test_keys_of_one_account_share_its_world_and_are_told_apart_in_the_log(
    sandbox: Sandbox, connect: Connect
) -> None:
    await connect("live_side+2").post("/teams/invite", json=INVITATION)

    assert await is_invited(connect("live_side"))
    assert not await is_invited(connect("live_other"))
    written, read, _ = (entry["key"] for entry in sandbox.log.entries())
    assert written != read


@pytest.mark.parametrize(("key", "further"), [("live_a", "live_a+b"), ("test_a", "test_a+b"), ("a|test", "a+b|test")])
def test_a_further_key_is_of_the_same_account_and_mode(key: str, further: str) -> None:
    first, second = account_for(key), account_for(further)

    assert first is not None
    assert first == second
    assert second is not None
    assert first.key_id != second.key_id


@pytest.mark.parametrize(("kind", "done"), [("error_before", False), ("error_after", True)])
async def test_a_server_error_comes_before_or_after_the_work(
    sandbox: Sandbox, caller: httpx2.AsyncClient, kind: str, done: bool
) -> None:
    sandbox.faults.put([{"kind": kind, "status": 503, "route": "invite_team"}])
    answer = await caller.post("/teams/invite", json=INVITATION)

    assert answer.status_code == 503
    assert answer.json()["status_code"] == 503
    assert await is_invited(caller) is done


@pytest.mark.parametrize(("kind", "done"), [("drop_before", False), ("drop_after", True)])
async def test_a_connection_is_dropped_before_or_after_the_work(
    sandbox: Sandbox, caller: httpx2.AsyncClient, kind: str, done: bool
) -> None:
    sandbox.faults.put([{"kind": kind, "path": "/teams/inv*"}])
    with pytest.raises(httpx2.TransportError):
        await caller.post("/teams/invite", json=INVITATION)

    assert await is_invited(caller) is done


async def test_a_truncated_body_is_an_error_of_the_transport(sandbox: Sandbox, caller: httpx2.AsyncClient) -> None:
    sandbox.faults.put([{"kind": "truncated", "times": 1}])
    with pytest.raises(httpx2.TransportError):
        await caller.get("/teams")

    assert (await caller.get("/teams")).status_code == 200


async def test_malformed_json_arrives_whole_and_unreadable(sandbox: Sandbox, caller: httpx2.AsyncClient) -> None:
    sandbox.faults.put([{"kind": "malformed"}])
    answer = await caller.get("/teams")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    with pytest.raises(ValueError):
        answer.json()


async def test_a_slow_answer_runs_into_a_callers_patience(sandbox: Sandbox) -> None:
    sandbox.faults.put([{"kind": "slow", "delay_ms": 300}])
    async with served(sandbox) as url, httpx2.AsyncClient(base_url=url, auth=("live_side", "")) as client:
        with pytest.raises(httpx2.ReadTimeout):
            await client.get("/teams", timeout=0.05)


async def test_a_slow_answer_is_the_right_one(sandbox: Sandbox, caller: httpx2.AsyncClient) -> None:
    sandbox.faults.put([{"kind": "slow", "delay_ms": 1}])

    assert (await caller.get("/teams")).status_code == 200


async def test_a_virtually_slow_answer_only_moves_the_clock(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    before = sandbox.clock.now()
    sandbox.faults.put([{"kind": "slow", "delay_ms": 3_600_000, "virtual": True}, {"kind": "rate_limit"}])
    answer = await live.get("/teams")

    assert sandbox.clock.now() == pytest.approx(before + 3600)
    assert answer.status_code == 429


async def test_a_fault_happens_so_many_times_and_no_more(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    sandbox.faults.put([{"kind": "error_before", "times": 2}])

    assert [(await live.get("/teams")).status_code for _ in range(4)] == [500, 500, 200, 200]


async def statuses(client: httpx2.AsyncClient, requests: int) -> list[int]:
    return [(await client.get("/studio/assignments")).status_code for _ in range(requests)]


async def test_the_dice_of_a_rate_are_seeded(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    rule = {"kind": "rate_limit", "rate": 0.3}
    sandbox.faults.put([rule], seed=5)
    first = await statuses(live, 200)
    sandbox.faults.put([rule], seed=5)
    second = await statuses(live, 200)
    sandbox.faults.put([rule], seed=6)
    third = await statuses(live, 200)

    assert first == second != third
    assert 30 <= first.count(429) <= 90


async def test_the_dice_of_one_rule_do_not_depend_on_the_others(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    rule = {"kind": "rate_limit", "rate": 0.5, "route": "list_studio_assignments", "id": "mine"}
    sandbox.faults.put([rule])
    alone = await statuses(live, 50)
    sandbox.faults.put([{"kind": "error_before", "rate": 0.5, "route": "list_teams"}, rule])
    beside: list[int] = []
    for _ in range(50):
        await live.get("/teams")
        beside += await statuses(live, 1)

    assert alone == beside


async def test_a_fault_strikes_only_what_it_names(sandbox: Sandbox, live: httpx2.AsyncClient, connect: Connect) -> None:
    other = connect("test_other")
    mine = (await other.get("/teams")) and sandbox.log.entries(limit=1)[0]["key"]
    for only in ({"route": "list_files"}, {"path": "/files*"}, {"method": "PUT"}, {"key": mine}):
        sandbox.faults.put([{"kind": "error_before", **only}])
        assert (await live.get("/teams")).status_code == 200
    assert (await other.get("/teams")).status_code == 500


async def test_the_first_rule_that_strikes_decides(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    sandbox.faults.put([{"kind": "rate_limit", "times": 1}, {"kind": "error_before", "times": 1}])

    assert [(await live.get("/teams")).status_code for _ in range(3)] == [429, 500, 200]


async def test_lost_callbacks_are_chosen_by_their_address(sandbox: Sandbox) -> None:
    sandbox.faults.put([{"kind": "lost_callback", "path": "http://127.0.0.1:*/tasks", "times": 1}])

    assert not sandbox.faults.loses_callback("a", "http://localhost/tasks")
    assert sandbox.faults.loses_callback("a", "http://127.0.0.1:99/tasks")
    assert not sandbox.faults.loses_callback("a", "http://127.0.0.1:99/tasks")


async def test_a_refusal_under_a_fault_after_the_work_is_hidden_too(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    sandbox.faults.put([{"kind": "error_after"}])

    assert (await live.post("/teams/invite", json={})).status_code == 500


async def test_the_log_says_which_fault_it_was(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    sandbox.faults.put([{"kind": "slow", "delay_ms": 0}, {"kind": "drop_after"}])
    with pytest.raises(httpx2.RemoteProtocolError):
        await live.get("/teams")

    entry = sandbox.log.entries()[-1]
    assert entry["fault"] == "slow+drop_after"
    assert entry["status"] is None


async def test_a_dropped_connection_leaves_no_complaint_in_the_servers_log(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.faults.put([{"kind": "drop_before"}, {"kind": "truncated"}])
    async with served(sandbox) as url, httpx2.AsyncClient(base_url=url, auth=("live_side", "")) as client:
        for _ in range(2):
            with pytest.raises(httpx2.TransportError):
                await client.get("/teams")

    assert not [record for record in caplog.records if record.name.startswith("uvicorn.error")]


@pytest.mark.parametrize(
    "rule",
    [
        "rate_limit",
        {},
        {"kind": "explosion"},
        {"kind": "slow", "delay": 1},
        {"kind": "slow", "delay_ms": "1"},
        {"kind": "slow", "delay_ms": True},
        {"kind": "slow", "delay_ms": -1},
        {"kind": "slow", "delay_ms": 1e9},
        {"kind": "slow", "virtual": 1},
        {"kind": "error_before", "status": 404},
        {"kind": "error_before", "rate": 2},
        {"kind": "error_before", "times": -1},
        {"kind": "error_before", "times": 1.5},
        {"kind": "error_before", "route": 1},
        {"kind": "key_limit", "per_second": 0},
        {"kind": "key_limit", "left": {}, "per_second": "1"},
    ],
)
async def test_a_wrong_fault_is_refused_and_changes_nothing(admin: httpx2.AsyncClient, rule: Any) -> None:
    await admin.put("/faults", json=[{"kind": "rate_limit", "id": "kept"}])
    for answer in (
        await admin.put("/faults", json=[{"kind": "slow"}, rule]),
        await admin.post("/faults", json=rule),
    ):
        assert answer.status_code == 400

    assert [rule["id"] for rule in (await admin.get("/faults")).json()["faults"]] == ["kept"]


async def test_faults_are_shown_added_and_taken_away(admin: httpx2.AsyncClient, live: httpx2.AsyncClient) -> None:
    added = await admin.post("/faults", json={"kind": "error_before", "times": 1})
    await live.get("/teams")
    await live.get("/teams")
    shown = (await admin.get("/faults")).json()
    again = await admin.put("/faults", json=shown)
    gone = await admin.delete("/faults", params={"id": added.json()["id"]})
    unknown = await admin.delete("/faults", params={"id": "fault-9"})

    assert (shown["faults"][0]["seen"], shown["faults"][0]["struck"]) == (2, 1)
    assert again.status_code == 200
    assert again.json()["faults"][0]["struck"] == 0
    assert gone.json()["faults"] == []
    assert unknown.status_code == 404
    assert set(shown["kinds"]) >= {"rate_limit", "drop_after", "lost_callback"}


async def test_faults_survive_no_restart() -> None:
    async with Sandbox(SandboxOptions(clock="manual")) as box:
        box.faults.put([{"kind": "rate_limit"}])
    async with Sandbox(SandboxOptions(clock="manual")) as box:
        assert box.faults.rules == []

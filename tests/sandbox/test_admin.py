from __future__ import annotations

import base64
from typing import Any

import anyio
import httpx2
import pytest

from scale_mcp.sandbox import SANDBOX_URL, Sandbox, SandboxOptions, data
from scale_mcp.sandbox.accounts import account_for
from scale_mcp.sandbox.request_log import RequestLog
from scale_mcp.sandbox.routes.admin import ROUTES

from .conftest import Connect

pytestmark = pytest.mark.anyio

BOXES = {"box": {"objects_to_annotate": ["car"]}}
TASK = {"attachment": "https://example.com/a.png", "geometries": BOXES}


async def create_task(client: httpx2.AsyncClient, **more: Any) -> Any:
    answer = await client.post("/task/imageannotation", json={**TASK, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_index_lists_every_page(admin: httpx2.AsyncClient) -> None:
    index = (await admin.get("/")).json()

    assert [(page["method"], page["path"]) for page in index["pages"]] == [(r.method, r.template) for r in ROUTES]
    assert all(page["what"] for page in index["pages"])


async def test_no_key_is_asked_for(admin: httpx2.AsyncClient) -> None:
    for route in ROUTES:
        if route.method == "GET" and "{" not in route.template and route.template.startswith("/_sandbox"):
            answer = await admin.get(route.template.removeprefix("/_sandbox"))
            assert answer.status_code == 200, route.template


# ------------------------------------------------------------------------------------------------------------- clock


async def test_advancing_the_clock_runs_what_falls_due(
    sandbox: Sandbox, admin: httpx2.AsyncClient, live: httpx2.AsyncClient
) -> None:
    task = await create_task(live)
    before = sandbox.clock.now()
    shown = (await admin.get("/clock")).json()
    advanced = (await admin.post("/clock/advance", json={"seconds": 86_400})).json()

    assert shown["kind"] == "manual"
    assert shown["events"] == 1
    assert shown["next_event"] > shown["now"]
    assert advanced["now"] == sandbox.clock.iso(before + 86_400)
    assert advanced["next_event"] is None
    assert (await live.get(f"/task/{task['task_id']}")).json()["status"] == "completed"


async def test_the_clock_can_be_set_to_a_moment_ahead(sandbox: Sandbox, admin: httpx2.AsyncClient) -> None:
    to = sandbox.clock.iso(sandbox.clock.now() + 3600)
    answer = await admin.post("/clock", json={"to": to})
    back = await admin.post("/clock", json={"to": "2001-01-01"})

    assert answer.json()["now"] == to
    assert back.status_code == 400


@pytest.mark.parametrize("seconds", [-1, "60", None, True, 1e12, float("nan")])
async def test_the_clock_does_not_go_backwards_or_mad(admin: httpx2.AsyncClient, seconds: Any) -> None:
    body = b'{"seconds": NaN}' if seconds != seconds else None
    if body is not None:
        answer = await admin.post("/clock/advance", content=body)
    else:
        answer = await admin.post("/clock/advance", json={"seconds": seconds})

    assert answer.status_code == 400


@pytest.mark.parametrize("to", [None, 7, "tomorrow"])
async def test_a_moment_that_is_none_is_refused(admin: httpx2.AsyncClient, to: Any) -> None:
    assert (await admin.post("/clock", json={"to": to})).status_code == 400


# --------------------------------------------------------------------------------------------------------------- log


async def test_the_log_shows_requests_as_they_came(
    sandbox: Sandbox, admin: httpx2.AsyncClient, live: httpx2.AsyncClient
) -> None:
    await live.get("/projects/a%20b%2Fc", params={"tags": ["x", "y"], "q": "z"})
    await live.post("/teams/invite", json={"emails": ["é@example.com"]})
    page = (await admin.get("/requests")).json()

    assert page["total"] == 2
    assert page["by_operation"] == {"get_project": 1, "invite_team": 1}
    account = account_for("live_side")
    assert account is not None
    first, second = page["requests"]
    assert first["milliseconds"] >= 0
    assert first | {"milliseconds": 0, "user_agent": ""} == {
        "number": 1,
        "at": sandbox.clock.iso(),
        "method": "GET",
        "path": "/v1/projects/a%20b%2Fc",
        "query": {"tags": ["x", "y"], "q": ["z"]},
        "operation": "get_project",
        "content_type": None,
        "user_agent": "",
        "body": None,
        "body_bytes": 0,
        "status": 404,
        "milliseconds": 0,
        "key": account.id,
        "fault": None,
    }
    assert second["body"] == {"emails": ["é@example.com"]}
    assert second["content_type"] == "application/json"
    assert second["status"] == 400


async def test_a_key_never_shows_in_the_log(admin: httpx2.AsyncClient, connect: Connect) -> None:
    for key in ("live_secret123", "wrong_secret123"):
        await connect(key).get("/teams")
    text = (await admin.get("/requests")).text

    assert "secret123" not in text
    for key in ("live_secret123", "wrong_secret123"):
        assert base64.b64encode(f"{key}:".encode()).decode().rstrip("=") not in text
    assert [entry["status"] for entry in (await admin.get("/requests")).json()["requests"]] == [200, 401]


async def test_the_log_is_filtered_and_emptied(admin: httpx2.AsyncClient, live: httpx2.AsyncClient) -> None:
    for path in ("/teams", "/task/a", "/task/b", "/nowhere"):
        await live.get(path)
    await live.put("/teams")

    async def numbers(**query: Any) -> list[int]:
        return [entry["number"] for entry in (await admin.get("/requests", params=query)).json()["requests"]]

    assert await numbers() == [1, 2, 3, 4, 5]
    assert await numbers(limit=2) == [4, 5]
    assert await numbers(after=3) == [4, 5]
    assert await numbers(path="/task/") == [2, 3]
    assert await numbers(operation="get_task") == [2, 3]
    assert await numbers(status=404) == [2, 3, 4]
    assert await numbers(method="PUT") == [5]
    assert (await admin.get("/requests", params={"limit": "x"})).status_code == 400
    assert (await admin.delete("/requests")).json() == {"total": 0, "by_operation": {}, "requests": []}
    assert await numbers() == []


async def test_the_log_is_bounded_but_counts_everything(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    sandbox.app.log = sandbox.log = RequestLog(sandbox, kept=3)
    for _ in range(5):
        await live.get("/teams")

    assert sandbox.log.total == 5
    assert [entry["number"] for entry in sandbox.log.entries()] == [3, 4, 5]


async def test_long_and_binary_bodies_are_not_kept_whole(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    await live.post("/teams/invite", json={"x": "y" * 100_000})
    await live.post("/teams/invite", content=b"{broken \xff")
    await live.post("/files/upload", files={"file": ("a.png", b"\x00" * 50_000)})

    long, broken, upload = (entry["body"] for entry in sandbox.log.entries())
    assert len(long) < 9_000
    assert long.endswith("… (100008 bytes)")
    assert broken == "{broken �"
    assert upload.endswith("bytes of multipart/form-data)")


# ---------------------------------------------------------------------------------------------------- seed and reset


async def test_tasks_are_seeded_for_a_key(admin: httpx2.AsyncClient, connect: Connect) -> None:
    answer = await admin.post("/seed", json={"key": "test_seeded", "tasks": 7})
    made = answer.json()
    tasks = (await connect("test_seeded").get("/tasks", params={"project": made["project"]})).json()

    assert made["tasks"] == tasks["total"] == 7
    assert tasks["docs"][0]["task_id"] == made["last_task_id"]
    assert tasks["docs"][-1]["task_id"] == made["first_task_id"]
    assert {task["status"] for task in tasks["docs"]} == {"completed"}


@pytest.mark.parametrize(
    "task_type",
    [
        *("imageannotation", "segmentannotation", "namedentityrecognition", "documenttranscription"),
        *("textcollection", "lidarannotation", "videoannotation", "videoplaybackannotation"),
    ],
)
async def test_seeded_tasks_of_every_type_have_a_truth(
    sandbox: Sandbox, admin: httpx2.AsyncClient, connect: Connect, task_type: str
) -> None:
    answer = await admin.post("/seed", json={"key": "live_seeded", "tasks": 2, "type": task_type})
    assert answer.status_code == 200, answer.text
    await sandbox.advance(30 * 86_400)

    for task in (await connect("live_seeded").get("/tasks")).json()["docs"]:
        assert task["status"] == "completed"
        assert task["simulation"]["truth"] == "fixture", task["simulation"]


async def test_many_tasks_are_seeded_at_once(admin: httpx2.AsyncClient, connect: Connect) -> None:
    body = {"key": "live_seeded", "tasks": 2_000, "bulk": True, "project": "p", "batch": "b", "unique_ids": "u"}
    await admin.post("/seed", json=body)
    client = connect("live_seeded")

    assert (await client.get("/tasks", params={"unique_id": "u1999"})).json()["total"] == 1
    assert (await client.get("/batches/b/status")).json()["completed"] == 2_000


async def test_seeded_teammates_are_active(admin: httpx2.AsyncClient, live: httpx2.AsyncClient) -> None:
    await live.post("/teams/invite", json={"emails": ["ann@example.com"], "team_role": "member"})
    team = ["ann@example.com", {"email": "bob@example.com", "role": "manager"}]
    await admin.post("/seed", json={"key": "live_side", "team": team})

    roles = {person["email"]: person["role"] for person in (await live.get("/teams")).json()}
    assert roles["ann@example.com"] == "labeler"
    assert roles["bob@example.com"] == "manager"


async def test_the_data_set_is_uploaded(admin: httpx2.AsyncClient, live: httpx2.AsyncClient) -> None:
    made = (await admin.post("/seed", json={"key": "live_side", "dataset": True})).json()
    files = (await live.get("/files", params={"project": "seeded"})).json()["docs"]

    assert {item["name"] for item in made["files"]} == {item.name for item in data.catalog()}
    assert sorted(file["attachment_url"] for file in files) == sorted(
        url for item in made["files"] for url in item["attachment_urls"]
    )


async def test_a_caller_with_a_key_seeds_its_own_account(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    answer = await live.post("http://sandbox.localhost/_sandbox/seed", json={"tasks": 1})

    assert answer.status_code == 200
    assert (await live.get("/tasks")).json()["total"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {"tasks": 1},
        {"key": "nonsense", "tasks": 1},
        {"key": "live_a", "tasks": -1},
        {"key": "live_a", "tasks": "7"},
        {"key": "live_a", "tasks": 10_000_001},
        {"key": "live_a", "tasks": 1, "type": 7},
        {"key": "live_a", "tasks": 1, "params": []},
        {"key": "live_a", "team": ["nobody"]},
        {"key": "live_a", "team": [{"email": "a@example.com", "role": "admin"}]},
        {"key": "live_a", "task": 1},
    ],
)
async def test_a_wrong_seed_is_refused(admin: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    assert (await admin.post("/seed", json=body)).status_code == 400


async def everything(client: httpx2.AsyncClient) -> None:
    """Use every area once, so that there is something to forget everywhere."""
    await client.post("/projects", json={"name": "p", "type": "imageannotation", "params": {"instruction": "x"}})
    await client.post("/projects/p/setOntology", json={"ontology": ["a"]})
    await client.post("/projects", json={"name": "r", "type": "imageannotation", "rapid": True})
    await client.post("/batches", json={"project": "p", "name": "b", "callback": "a@example.com"})
    callback = "http://callbacks.example/x"
    await create_task(client, batch="b", unique_id="u", tags=["t"], callback_url=callback)
    await client.post("/files/upload", files={"file": ("a", b"b")}, data={"project_name": "p", "metadata": '{"a": 1}'})
    await client.post(
        "/training_tasks/imageannotation",
        json={**TASK, "project": "r", "expected_response": {"annotations": []}},
    )
    await client.post("/teams/invite", json={"emails": ["eve@example.com"], "team_role": "member"})
    await client.post("/studio/assignments/add", json={"emails": ["member@sandbox.example"], "projects": ["p"]})


async def rows(sandbox: Sandbox) -> dict[str, int]:
    tables = sandbox.store.query("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return {row["name"]: sandbox.store.value(f"SELECT count(*) FROM {row['name']}") for row in tables}


async def test_a_reset_forgets_everything_but_the_time(
    sandbox: Sandbox, admin: httpx2.AsyncClient, live: httpx2.AsyncClient
) -> None:
    await everything(live)
    await sandbox.advance(86_400)
    await admin.put("/faults", json=[{"kind": "slow", "delay_ms": 0}])
    now = sandbox.clock.now()
    await admin.post("/reset")

    left = {table: count for table, count in (await rows(sandbox)).items() if count}
    assert left == {"clock_state": 1}
    assert sandbox.clock.now() == now
    assert sandbox.log.total == 0
    assert sandbox.faults.rules == []
    await everything(live)
    assert (await live.get("/tasks")).json()["total"] == 1


async def test_one_account_is_forgotten_and_no_other(
    sandbox: Sandbox, admin: httpx2.AsyncClient, connect: Connect
) -> None:
    kept, lost = connect("live_kept"), connect("live_lost")
    await everything(kept)
    alone = await rows(sandbox)
    await everything(lost)
    await admin.post("/reset", json={"key": "live_lost"})

    assert await rows(sandbox) == alone
    await everything(lost)
    await sandbox.advance(30 * 86_400)
    for client in (kept, lost):
        assert [task["status"] for task in (await client.get("/tasks")).json()["docs"]] == ["completed"]
        assert (await client.get("/files", params={"project": "p"})).json()["total"] == 1


async def test_a_reset_of_nobody_is_refused(admin: httpx2.AsyncClient, live: httpx2.AsyncClient) -> None:
    await create_task(live)

    assert (await admin.post("/reset", json={"key": "nonsense"})).status_code == 400
    assert (await live.get("/tasks")).json()["total"] == 1


# --------------------------------------------------------------------------------------- callbacks, outbox, workforce


async def test_callback_attempts_are_shown_with_what_became_of_them(
    sandbox: Sandbox, admin: httpx2.AsyncClient, connect: Connect
) -> None:
    sandbox.faults.put([{"kind": "lost_callback", "path": "http://127.0.0.1:9/*", "times": 1}])
    live = connect("live_side")
    lost = await create_task(live, callback_url="http://127.0.0.1:9/x")
    foreign = await create_task(live, callback_url="http://callbacks.example/x")
    await sandbox.advance(3600)
    shown = (await admin.get("/callbacks", params={"key": "live_side"})).json()["attempts"]

    of_lost = [attempt for attempt in shown if attempt["task_id"] == lost["task_id"]]
    of_foreign = [attempt for attempt in shown if attempt["task_id"] == foreign["task_id"]]
    assert len(of_lost) > 1, "a lost attempt is repeated"
    assert "fault" in of_lost[0]["error"]
    assert "fault" not in of_lost[1]["error"]
    assert [(a["skipped"], a["delivered"], a["event"]) for a in of_foreign] == [(True, False, "completed")]
    assert (await admin.get("/callbacks", params={"key": "live_other"})).json() == {"attempts": []}


async def test_callbacks_to_an_address_are_kept_in_the_outbox(
    sandbox: Sandbox, admin: httpx2.AsyncClient, live: httpx2.AsyncClient
) -> None:
    task = await create_task(live, callback_url="me@example.com")
    await sandbox.advance(86_400)
    mails = (await admin.get("/outbox")).json()["mails"]

    assert [(mail["to"], mail["body"]["task_id"]) for mail in mails] == [("me@example.com", task["task_id"])]


async def test_the_workforce_says_what_it_is_at_and_what_noise_it_made(
    sandbox: Sandbox, admin: httpx2.AsyncClient
) -> None:
    await admin.post("/seed", json={"key": "live_side", "tasks": 3})
    await sandbox.advance(61)
    busy = (await admin.get("/workforce")).json()
    await sandbox.advance(86_400)
    idle = (await admin.get("/workforce")).json()

    assert len(busy["workers"]) == sandbox.options.workers
    assert len([worker for worker in busy["workers"] if worker["at_work"]]) == 3
    assert not [worker for worker in idle["workers"] if worker["at_work"]]
    assert all(worker["noise"] for worker in idle["workers"])
    assert [answer["simulation"]["truth"] for answer in idle["answers"]] == ["fixture"] * 3


# ------------------------------------------------------------------------------------------------- files, data, guard


async def test_an_uploaded_file_is_served_and_cannot_run_as_a_page(
    admin: httpx2.AsyncClient, live: httpx2.AsyncClient
) -> None:
    content = b"<script>alert(1)</script>"
    file = (await live.post("/files/upload", files={"file": ("a.html", content)})).json()
    served = await admin.get(f"/files/{file['id']}/content")

    assert served.content == content
    assert served.headers["content-type"] == "text/html"
    assert served.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in served.headers["content-security-policy"]
    assert (await admin.get("/files/unknown/content")).status_code == 404


async def test_the_data_set_is_listed_and_served(admin: httpx2.AsyncClient, live: httpx2.AsyncClient) -> None:
    items = (await admin.get("/data")).json()["data"]
    assert len(items) == len(data.catalog())
    for item in items:
        for url in item["urls"]:
            served = await live.get(url)
            assert served.status_code == 200
            assert served.content
            imported = (await live.post("/files/import", json={"file_url": url})).json()
            assert imported["size"] == len(served.content)
    assert (await admin.get("/data/..%2F__init__.py")).status_code == 404


@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.example"}, {"host": "evil.example:8787"}, {"origin": "https://evil.example"}, {"origin": "null"}],
)
async def test_a_web_page_cannot_reach_the_admin_pages(
    sandbox: Sandbox, admin: httpx2.AsyncClient, headers: dict[str, str]
) -> None:
    before = sandbox.clock.now()
    for answer in (
        await admin.post("/clock/advance", json={"seconds": 9}, headers=headers),
        await admin.post("/reset", headers=headers),
        await admin.get("/requests", headers=headers),
    ):
        assert answer.status_code == 403
    assert sandbox.clock.now() == before


@pytest.mark.parametrize("host", ["localhost:8787", "127.0.0.1:8787", "[::1]:8787", "box.example"])
async def test_this_machine_and_the_public_address_may(host: str) -> None:
    options = SandboxOptions(clock="manual", public_url="http://box.example/v1")
    async with Sandbox(options) as box:
        base_url = SANDBOX_URL.removesuffix("/v1")
        async with httpx2.AsyncClient(transport=box.transport(), base_url=base_url) as client:
            headers = {"host": host, "origin": f"http://{host}"}
            answer = await client.post("/_sandbox/clock/advance", json={"seconds": 9}, headers=headers)

    assert answer.status_code == 200


async def test_the_clock_changes_its_kind_and_pace_while_running(admin: httpx2.AsyncClient) -> None:
    before = (await admin.get("/clock")).json()
    assert before["kind"] == "manual"
    fast = (await admin.post("/clock", json={"speed": 1_000_000})).json()
    assert (fast["kind"], fast["speed"]) == ("fast", 1_000_000)
    assert (await admin.get("/clock")).json()["now"] > before["now"]
    moved = (await admin.post("/clock", json={"kind": "manual", "to": "2090-01-31T00:00:00Z"})).status_code
    assert moved == 400, "more than 20 years at a time"
    assert (await admin.get("/clock")).json()["kind"] == "fast", "nothing is changed by half"
    still = (await admin.post("/clock", json={"kind": "manual"})).json()
    assert still["now"] == (await admin.get("/clock")).json()["now"] > fast["now"]


@pytest.mark.parametrize("body", [{}, {"kind": "slow"}, {"speed": 0}, {"speed": "60"}, {"speed": True}, {"speed": 1e7}])
async def test_a_clock_of_another_kind_is_refused(admin: httpx2.AsyncClient, body: dict[str, object]) -> None:
    assert (await admin.post("/clock", json=body)).status_code == 400


async def test_a_fast_clock_switched_on_keeps_time_by_itself(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    done = anyio.Event()
    sandbox.agenda.on("noted", lambda _: done.set())
    sandbox.agenda.schedule(sandbox.clock.now() + 3600, "noted")
    await sandbox.start()
    await sandbox.set_clock("fast", 1_000_000)
    with anyio.fail_after(5):
        await done.wait()
    await sandbox.stop()


async def test_a_key_is_named_by_itself_or_by_its_fingerprint(
    admin: httpx2.AsyncClient, live: httpx2.AsyncClient, connect: Connect
) -> None:
    await live.get("/projects")
    await connect("live_other").get("/projects")
    (by_key,) = (await admin.get("/requests", params={"key": "live_side"})).json()["requests"]
    (by_print,) = (await admin.get("/requests", params={"key": by_key["key"]})).json()["requests"]
    assert by_key == by_print
    await admin.post("/faults", json={"kind": "rate_limit", "key": "live_side"})
    assert (await live.get("/projects")).status_code == 429
    assert (await connect("live_other").get("/projects")).status_code == 200

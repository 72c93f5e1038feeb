from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from scale_mcp.sandbox import Sandbox, decisions
from scale_mcp.sandbox.accounts import account_for

pytestmark = pytest.mark.anyio

MEMBER, MANAGER = "member@sandbox.example", "manager@sandbox.example"
YARD, SLASH = "yard", "a b/ü?#"


@pytest.fixture
async def studio(sandbox: Sandbox, live: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """A caller with two Studio projects, and one that is none."""
    account = account_for("live_side")
    assert account is not None
    for name in (YARD, SLASH):
        sandbox.projects.create(account, name, "imageannotation", {}, "studio")
    sandbox.projects.create(account, "plain", "imageannotation", {})
    return live


async def post(client: httpx2.AsyncClient, path: str, body: Any = None, *, status: int = 200) -> Any:
    answer = await client.post(path, json=body) if body is not None else await client.post(path)
    assert answer.status_code == status, answer.text
    return answer.json()


async def assign(client: httpx2.AsyncClient, emails: list[str], projects: list[str]) -> Any:
    return await post(client, "/studio/assignments/add", {"emails": emails, "projects": projects})


async def pending_batches(sandbox: Sandbox, *names: str, calibration: tuple[str, ...] = ()) -> None:
    """Studio batches that were finalized."""
    account = account_for("live_side")
    assert account is not None
    project = sandbox.projects.get(account, YARD)
    for name in names:
        batch = sandbox.batches.create(account, project, name, calibration=name in calibration)
        sandbox.batches.set_status(batch, "in_progress")


async def names_of(client: httpx2.AsyncClient) -> list[str]:
    return [batch["name"] for batch in (await client.get("/studio/batches")).json()]


async def test_everybody_active_is_listed_with_their_projects(studio: httpx2.AsyncClient) -> None:
    assigned = await assign(studio, [MEMBER, MANAGER], [YARD, SLASH])
    listed = (await studio.get("/studio/assignments")).json()

    assert assigned == listed
    assert listed[MEMBER] == listed[MANAGER] == [YARD, SLASH]
    assert listed["admin@sandbox.example"] == []
    assert "former@sandbox.example" not in listed


async def test_assigning_again_is_harmless_and_removing_what_is_not_there_too(studio: httpx2.AsyncClient) -> None:
    await assign(studio, [MEMBER], [YARD])
    again = await assign(studio, [MEMBER.upper()], [YARD, SLASH])
    body = {"emails": [MEMBER, MANAGER], "projects": [YARD]}
    removed = await post(studio, "/studio/assignments/remove", body)

    assert again[MEMBER] == [YARD, SLASH]
    assert removed[MEMBER] == [SLASH]
    assert removed[MANAGER] == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"projects": [YARD]}, 400),
        ({"emails": [], "projects": [YARD]}, 400),
        ({"emails": [MEMBER]}, 400),
        ({"emails": [MEMBER], "projects": []}, 400),
        ({"emails": [MEMBER], "projects": [1]}, 400),
        ({"emails": [MEMBER], "projects": YARD}, 400),
        ({"emails": [MEMBER], "projects": [YARD, "nowhere"]}, 404),
        ({"emails": [MEMBER, "nobody@example.com"], "projects": [YARD]}, 404),
    ],
)
@pytest.mark.parametrize("path", ["add", "remove"])
async def test_a_wrong_assignment_is_refused_whole(
    studio: httpx2.AsyncClient, path: str, body: dict[str, Any], status: int
) -> None:
    await post(studio, f"/studio/assignments/{path}", body, status=status)

    assert (await studio.get("/studio/assignments")).json()[MEMBER] == []


@pytest.mark.parametrize("email", ["former@sandbox.example", "eve@example.com"])
async def test_only_active_people_can_be_assigned(studio: httpx2.AsyncClient, email: str) -> None:
    await post(studio, "/teams/invite", {"emails": ["eve@example.com"], "team_role": "labeler"})

    await post(studio, "/studio/assignments/add", {"emails": [email], "projects": [YARD]}, status=400)
    assert email not in (await studio.get("/studio/assignments")).json()


async def test_a_group_is_made_changed_and_listed(studio: httpx2.AsyncClient) -> None:
    path = f"/studio/projects/{quote(SLASH, safe='')}/groups"
    await assign(studio, [MEMBER, MANAGER], [SLASH])
    made = await post(studio, path, {"name": "night/shift", "emails": [MEMBER]})
    group_path = f"{path}/{quote('night/shift', safe='')}"
    grown = (await studio.put(group_path, json={"add_emails": [MANAGER], "remove_emails": []})).json()
    shrunk = (await studio.put(group_path, json={"add_emails": [], "remove_emails": [MEMBER]})).json()

    assert made["name"] == "night/shift"
    assert (made["numWorkers"], made["isSingleton"]) == (1, True)
    assert (grown["numWorkers"], grown["isSingleton"]) == (2, False)
    assert [worker["email"] for worker in shrunk["workers"]] == [MANAGER]
    assert len(shrunk["workers"][0]["id"]) == 24
    assert (await studio.get(path)).json() == [shrunk]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"emails": [MEMBER]}, 400),
        ({"name": "g"}, 400),
        ({"name": "g", "emails": [MANAGER]}, 400),
        ({"name": "taken", "emails": [MEMBER]}, 409),
    ],
)
async def test_a_wrong_group_is_refused(studio: httpx2.AsyncClient, body: dict[str, Any], status: int) -> None:
    await assign(studio, [MEMBER], [YARD])
    await post(studio, f"/studio/projects/{YARD}/groups", {"name": "taken", "emails": [MEMBER]})

    await post(studio, f"/studio/projects/{YARD}/groups", body, status=status)


async def test_groups_of_an_unknown_project_and_an_unknown_group_are_not_found(studio: httpx2.AsyncClient) -> None:
    assert (await studio.get("/studio/projects/nowhere/groups")).status_code == 404
    assert (await studio.put(f"/studio/projects/{YARD}/groups/none", json={})).status_code == 404


async def test_who_is_taken_off_a_project_leaves_its_groups(studio: httpx2.AsyncClient) -> None:
    await assign(studio, [MEMBER, MANAGER], [YARD])
    await post(studio, f"/studio/projects/{YARD}/groups", {"name": "g", "emails": [MEMBER, MANAGER]})
    await post(studio, "/studio/assignments/remove", {"emails": [MEMBER], "projects": [YARD]})

    group = (await studio.get(f"/studio/projects/{YARD}/groups")).json()[0]
    assert [worker["email"] for worker in group["workers"]] == [MANAGER]


async def test_pending_batches_are_listed_calibration_first_then_the_oldest(
    sandbox: Sandbox, studio: httpx2.AsyncClient
) -> None:
    await pending_batches(sandbox, "b1", "b2", "b3", calibration=("b2",))
    account = account_for("live_side")
    assert account is not None
    sandbox.batches.create(account, sandbox.projects.get(account, YARD), "staged")
    sandbox.batches.create(account, sandbox.projects.get(account, "plain"), "enterprise")

    batches = (await studio.get("/studio/batches")).json()
    project = sandbox.projects.get(account, YARD)
    assert [batch["name"] for batch in batches] == ["b2", "b1", "b3"]
    assert batches[0] == {
        "id": batches[0]["id"],
        "name": "b2",
        "projectId": project.id,
        "projectName": YARD,
        "batchType": "Calibration",
        "total": 0,
        "completed": 0,
        "groups": [],
    }


async def test_priorities_order_the_list_until_they_are_reset(sandbox: Sandbox, studio: httpx2.AsyncClient) -> None:
    await pending_batches(sandbox, "b1", "b2", "b3", calibration=("b2",))
    listed = (await studio.get("/studio/batches")).json()
    copied = [next(batch for batch in listed if batch["name"] == name) for name in ("b3", "b1", "b2")]
    ordered = await post(studio, "/studio/batches/set_priorities", {"batches": copied})

    assert [(batch["name"], batch["studioPriority"]) for batch in ordered] == [("b3", 1), ("b1", 2), ("b2", 3)]
    await pending_batches(sandbox, "b4", "b5", calibration=("b5",))
    assert await names_of(studio) == ["b3", "b1", "b2", "b5", "b4"]
    reset = await post(studio, "/studio/batches/reset_priorities")
    assert [batch["name"] for batch in reset] == ["b2", "b5", "b1", "b3", "b4"]
    assert not any("studioPriority" in batch for batch in reset)


@pytest.mark.parametrize(
    "batches",
    [
        [{"name": "b1"}],
        [{"name": "b1"}, {"name": "b2"}, {"name": "b9"}],
        [{"name": "b1"}, {"name": "b2"}, {"name": "b2"}],
        ["b1", "b2"],
        "b1",
    ],
)
async def test_priorities_must_name_every_pending_batch_once(
    sandbox: Sandbox, studio: httpx2.AsyncClient, batches: Any
) -> None:
    await pending_batches(sandbox, "b1", "b2")

    await post(studio, "/studio/batches/set_priorities", {"batches": batches}, status=400)
    assert await names_of(studio) == ["b1", "b2"]


async def test_the_workforce_takes_the_batches_in_their_order(sandbox: Sandbox, studio: httpx2.AsyncClient) -> None:
    task = {"attachment": "https://example.com/a.png", "geometries": {"box": {"objects_to_annotate": ["car"]}}}
    for name in ("b1", "b2", "b3"):
        await post(studio, "/batches", {"project": YARD, "name": name})
        for _ in range(sandbox.options.workers):
            await post(studio, "/task/imageannotation", {**task, "batch": name})
        await post(studio, f"/batches/{name}/finalize")
    names = [{"name": name} for name in ("b3", "b1", "b2")]
    await post(studio, "/studio/batches/set_priorities", {"batches": names})
    await sandbox.advance(decisions.PICKUP_DELAY.value + 1)

    tasks = (await studio.get("/tasks")).json()["docs"]
    assert {task["batch"] for task in tasks if task["work_started"]} == {"b3"}


async def test_groups_of_a_batch_are_set_not_added(sandbox: Sandbox, studio: httpx2.AsyncClient) -> None:
    await pending_batches(sandbox, "b/1")
    await assign(studio, [MEMBER, MANAGER], [YARD])
    await post(studio, f"/studio/projects/{YARD}/groups", {"name": "night", "emails": [MANAGER]})
    first = await studio.put("/studio/batches/b%2F1", json={"groups": ["night", MEMBER]})
    second = await studio.put("/studio/batches/b%2F1", json={"groups": [MEMBER]})

    assert first.json()["groups"] == ["night", MEMBER]
    assert second.json()["groups"] == [MEMBER]
    assert (await studio.get("/studio/batches")).json()[0]["groups"] == [MEMBER]


async def test_priorities_and_groups_do_not_disturb_each_other(sandbox: Sandbox, studio: httpx2.AsyncClient) -> None:
    await pending_batches(sandbox, "b1", "b2")
    await assign(studio, [MEMBER], [YARD])
    await studio.put("/studio/batches/b1", json={"groups": [MEMBER]})
    await post(studio, "/studio/batches/set_priorities", {"batches": [{"name": "b2"}, {"name": "b1"}]})
    await studio.put("/studio/batches/b2", json={"groups": [MEMBER]})

    batches = (await studio.get("/studio/batches")).json()
    assert [(b["name"], b["studioPriority"], b["groups"]) for b in batches] == [
        ("b2", 1, [MEMBER]),
        ("b1", 2, [MEMBER]),
    ]


@pytest.mark.parametrize(
    ("batch", "groups", "status"),
    [
        ("nowhere", [], 404),
        ("enterprise", [], 400),
        ("b1", ["no such group"], 404),
        ("b1", ["nobody@example.com"], 400),
        ("b1", "night", 400),
    ],
)
async def test_wrong_groups_of_a_batch_are_refused(
    sandbox: Sandbox, studio: httpx2.AsyncClient, batch: str, groups: Any, status: int
) -> None:
    await pending_batches(sandbox, "b1")
    account = account_for("live_side")
    assert account is not None
    sandbox.batches.create(account, sandbox.projects.get(account, "plain"), "enterprise")

    answer = await studio.put(f"/studio/batches/{batch}", json={"groups": groups})
    assert answer.status_code == status

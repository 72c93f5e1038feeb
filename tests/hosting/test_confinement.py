"""A persona with a list of projects, against the sandbox: what is not its own is as if it did not exist."""

from __future__ import annotations

from typing import Any

import pytest

from scale_mcp.api import Conflict
from scale_mcp.hosting.confinement import Confinement, NameAProject
from scale_mcp.hosting.reach import REACH
from scale_mcp.hosting.seals import BadCursor
from scale_mcp.models.tasks import TaskFilter
from scale_mcp.tools import completion, resources
from scale_mcp.tools.arguments import check
from scale_mcp.tools.card import ToolFailure
from scale_mcp.tools.registry import cards, hosted_cards
from scale_mcp.tools.visible import NotThere
from tests.hosting.confined import BOXES, FOREIGN, KEY, MINE, PICTURE, THIRD, Desk, World, persona, structure, world
from tests.tool_arguments import ARGUMENTS

pytestmark = pytest.mark.anyio

TASK = "THE FOREIGN TASK"
BATCH = f"{FOREIGN}-1"
UUID = "2c9be8ae-7f3e-4a4d-9b1f-0f6f0c7d6f4e"

# For each tool, every way to name something of another project.
FORBIDDEN: dict[str, list[dict[str, Any]]] = {
    "create_project": [{"name": FOREIGN, "type": "imageannotation"}],
    "get_project": [{"name": FOREIGN}, {"name": FOREIGN, "part": "nothing.there"}],
    "set_project_params": [{"name": FOREIGN, "instruction": "x"}, {"name": FOREIGN, "patch": True, "instruction": "x"}],
    "set_project_ontology": [{"name": FOREIGN, "ontology": ["car"]}],
    "upload_file": [{"file_base64": "aGVsbG8=", "file_name": "a.txt", "project_name": FOREIGN}],
    "import_file": [{"file_url": PICTURE, "project_name": FOREIGN}],
    "list_assets": [{"project": FOREIGN}, {"project": FOREIGN, "cursor": "abc"}],
    "create_batch": [{"project": FOREIGN, "name": "new"}],
    "get_batch": [{"batch_name": BATCH}],
    "get_batch_status": [{"batch_name": BATCH}],
    "list_batches": [{"project": FOREIGN}],
    "finalize_batch": [{"batch_name": BATCH}],
    "prioritize_batch": [{"batch_name": BATCH, "priority": 20}],
    "get_task": [{"task_id": TASK}, {"task_id": TASK, "part": "no.such"}, {"task_id": TASK, "offset": 1}],
    "list_tasks": [{"project": FOREIGN}, {"batch": BATCH}, {"project": MINE, "batch": BATCH}],
    "add_task_tags": [{"task_id": TASK, "tags": ["a"]}],
    "set_task_tags": [{"task_id": TASK, "tags": ["a"]}],
    "delete_task_tags": [{"task_id": TASK, "tags": ["a"]}],
    "update_task_unique_id": [{"task_id": TASK, "unique_id": "mine"}],
    "delete_task_unique_id": [{"task_id": TASK}],
    "set_task_metadata": [{"task_id": TASK, "metadata": {"a": 1}}],
    "resend_task_callback": [{"task_id": TASK}],
    "cancel_task": [{"task_id": TASK}],
    "get_task_response": [{"task_id": TASK, "uuid": UUID}],
    "get_fixless_audits": [{"task_id": TASK}, {"task_id": TASK, "id": "an-audit"}],
}
for _name, _arguments in ARGUMENTS.items():
    if _name.startswith("create_") and _name.endswith("_task"):
        FORBIDDEN[_name] = [
            {**_arguments, "project": FOREIGN},
            {**_arguments, "project": MINE, "batch": BATCH},
            {**_arguments, "project": MINE, "extra_params": {"lidar_task": TASK}},
        ]
FORBIDDEN["create_lidar_segmentation_task"] = [
    {"project": FOREIGN, "attachments": [PICTURE], "labels": ["road"]},
    {"batch": BATCH, "attachments": [PICTURE], "labels": ["road"]},
    {"project": MINE, "lidar_task": TASK, "labels": ["road"]},
]
UNCONFINED = {"list_projects", "list_events", "wait_for_events"}  # they name nothing; what they list is filtered

WHOLE_ACCOUNT = {name for name, card in cards().items() if card.toolset in ("team", "studio")} | {
    "get_training_attempts"
}
attempts = [(name, arguments) for name, ways in FORBIDDEN.items() for arguments in ways]


def filled_in(arguments: dict[str, Any], task: str) -> dict[str, Any]:
    return {
        name: task if value == TASK else {"lidar_task": task} if name == "extra_params" else value
        for name, value in arguments.items()
    }


def test_every_tool_says_how_its_project_is_known() -> None:
    assert set(REACH) == set(hosted_cards())
    assert set(FORBIDDEN) == set(hosted_cards()) - WHOLE_ACCOUNT - UNCONFINED


def test_every_argument_that_the_reach_names_is_one_of_the_tools() -> None:
    for name, reach in REACH.items():
        model = hosted_cards()[name].input_model
        named = [reach.project, reach.batch, reach.demands, reach.file, reach.cursor, reach.rows_of, *reach.unless]
        named += [reach.task] if reach.task != "lidar_task" else []
        assert {argument for argument in named if argument} <= set(model.model_fields), name


def test_every_argument_that_names_a_project_batch_or_task_is_in_the_reach() -> None:
    """A tool that gets such an argument later must say so here."""
    telling = {"project", "project_name", "projects", "batch", "batch_name", "batch_names", "task_id", "lidar_task"}
    for name, card in hosted_cards().items():
        reach = REACH[name]
        if reach.whole_account or name in ("list_events", "wait_for_events"):
            continue
        assert telling & set(card.input_model.model_fields) <= {reach.project, reach.batch, reach.task}, name


async def test_tools_about_the_whole_account_are_there_only_without_a_list_of_projects() -> None:
    confined, free = Confinement(persona(MINE), KEY), Confinement(persona(), KEY)
    assert {name for name, card in hosted_cards().items() if not confined.offers(card)} == WHOLE_ACCOUNT
    assert all(free.offers(card) for card in hosted_cards().values())


@pytest.mark.parametrize(("name", "arguments"), attempts, ids=[f"{n}-{i}" for i, (n, _) in enumerate(attempts)])
async def test_what_belongs_to_others_is_refused_exactly_like_what_does_not_exist(
    name: str, arguments: dict[str, Any]
) -> None:
    async with world(MINE, FOREIGN) as there, world(MINE) as not_there:
        given = filled_in(arguments, there.tasks[FOREIGN])
        forbidden = await Desk(there, persona(MINE)).refusal(name, **given)
        missing = await Desk(not_there, persona(MINE)).refusal(name, **given)
    assert forbidden == missing
    kind, code, words, sent = forbidden
    assert (kind, code) == (NotThere, "not_found")
    assert "here" in words
    assert [request for request in sent if not request.startswith("GET ")] == [], "nothing may be changed"
    assert len(sent) <= 1


async def test_asking_again_costs_as_many_requests_for_what_is_anothers_as_for_what_is_not_there() -> None:
    async with world(MINE, FOREIGN) as there, world(MINE) as not_there:
        at, elsewhere = Desk(there, persona(MINE)), Desk(not_there, persona(MINE))
        for _ in range(3):
            given = {"batch_name": BATCH}
            assert await at.refusal("get_batch_status", **given) == await elsewhere.refusal("get_batch_status", **given)


async def test_ones_own_goes_through_and_is_looked_up_once() -> None:
    async with world(MINE, FOREIGN) as at:
        desk, task = Desk(at, persona(MINE)), at.tasks[MINE]
        await desk.call("add_task_tags", task_id=task, tags=["night"])
        await desk.call("set_task_metadata", task_id=task, metadata={"a": 1})
        await desk.call("get_task", task_id=task, part="params")
        assert [request for request in at.wire.sent if request == f"GET /v1/task/{task}"] == [
            f"GET /v1/task/{task}",
            f"GET /v1/task/{task}",
        ], "one look before the first, and the read itself"
        at.wire.sent.clear()
        assert structure(await desk.call("get_task", task_id=task))["project"] == MINE
        assert structure(await desk.call("get_batch", batch_name=f"{MINE}-1"))["project"] == MINE
        assert len(at.wire.sent) == 2, "what tells its project needs no look before"
        await desk.call("finalize_batch", batch_name=f"{MINE}-1")
        await desk.call("get_fixless_audits", task_id=task)
        await desk.call("cancel_task", task_id=task)


async def test_where_a_task_lives_is_believed_when_it_is_the_personas_own() -> None:
    class Known:
        project: str | None = MINE

    class Homes:
        async def find(self, task_id: str) -> Known:
            return Known()

    async with world(MINE) as at:
        await Desk(at, persona(MINE), Homes()).call("add_task_tags", task_id=at.tasks[MINE], tags=["night"])
        assert [request.split(" ")[0] for request in at.wire.sent] == ["PUT"]


async def test_lists_hold_and_count_only_ones_own() -> None:
    async with world(MINE, FOREIGN, THIRD, tasks=3) as at:
        desk = Desk(at, persona(MINE, THIRD))
        projects = structure(await desk.call("list_projects"))
        assert sorted(doc["name"] for doc in projects["docs"]) == [THIRD, MINE]
        assert projects["total"] == 2
        first = structure(await desk.call("list_projects", limit=1))
        assert (first["total"], first["next_offset"], first["note"]) == (2, 1, "1 more: call again with offset 1.")
        for name in ("list_tasks", "list_batches"):
            found = structure(await desk.call(name, project=MINE))
            assert found["total"] == len(found["docs"]) == (3 if name == "list_tasks" else 1)
            assert FOREIGN not in str(found)
        assert structure(await desk.call("list_tasks", batch=f"{THIRD}-1"))["total"] == 3


async def test_the_only_project_is_filled_in_where_a_call_would_go_over_the_whole_account() -> None:
    async with world(MINE, FOREIGN) as at:
        desk = Desk(at, persona(MINE))
        tasks, batches = structure(await desk.call("list_tasks")), structure(await desk.call("list_batches"))
        assert {tasks["total"], batches["total"]} == {1}
        by_id = structure(await desk.call("list_tasks", unique_id=[f"{FOREIGN}-0"]))
        assert by_id["docs"] == []
        file = structure(await desk.call("upload_file", file_base64="aGVsbG8=", file_name="a.txt"))
        assert file["project_names"] == [MINE]
        made = await desk.call("create_image_annotation_task", attachment=PICTURE, geometries=BOXES)
        assert structure(made)["project"] == MINE


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("list_tasks", {}),
        ("list_tasks", {"unique_id": [f"{FOREIGN}-0"]}),
        ("list_batches", {}),
        ("upload_file", {"file_base64": "aGVsbG8=", "file_name": "a.txt"}),
        ("import_file", {"file_url": PICTURE}),
        ("create_image_annotation_task", {"attachment": PICTURE, "geometries": BOXES}),
    ],
)
async def test_of_several_projects_one_has_to_be_named(name: str, arguments: dict[str, Any]) -> None:
    async with world(MINE, FOREIGN, THIRD) as at:
        kind, code, words, sent = await Desk(at, persona(MINE, THIRD)).refusal(name, **arguments)
    assert (kind, code, sent) == (NameAProject, "invalid_arguments", [])
    assert f'name one of your projects, "{MINE}", "{THIRD}"' in words
    assert FOREIGN not in words


async def test_audits_need_the_task_they_are_about() -> None:
    async with world(MINE) as at:
        kind, _, words, sent = await Desk(at, persona(MINE)).refusal("get_fixless_audits", id="an-audit")
    assert (kind, sent) == (NameAProject, [])
    assert "Give task_id" in words


async def test_a_name_or_id_that_another_project_has_is_taken_and_nothing_more_is_said() -> None:
    async with world(MINE, FOREIGN) as at:
        desk = Desk(at, persona(MINE))
        foreign = at.tasks[FOREIGN]
        refusals = [
            await desk.refusal("create_batch", project=MINE, name=BATCH),
            await desk.refusal("update_task_unique_id", task_id=at.tasks[MINE], unique_id=f"{FOREIGN}-0"),
            await desk.refusal(
                "create_image_annotation_task", attachment=PICTURE, geometries=BOXES, unique_id=f"{FOREIGN}-0"
            ),
        ]
    for kind, _, words, _ in refusals:
        assert kind is Conflict
        assert "taken" in words
        assert foreign not in words
        assert FOREIGN not in words


async def test_a_result_file_that_is_not_there_reads_like_a_task_that_is_not() -> None:
    async with world(MINE, FOREIGN) as at:
        desk = Desk(at, persona(MINE))
        own = await desk.refusal("get_task_response", task_id=at.tasks[MINE], uuid=UUID)
        foreign = await desk.refusal("get_task_response", task_id=at.tasks[FOREIGN], uuid=UUID)
    assert own[2].replace(at.tasks[MINE], "?") == foreign[2].replace(at.tasks[FOREIGN], "?")
    assert own[:2] == foreign[:2]


async def test_a_project_of_the_list_that_is_not_made_yet_can_be_made_and_is_not_there_before() -> None:
    async with world(MINE) as at:
        desk = Desk(at, persona(MINE, THIRD))
        kind, _, words, _ = await desk.refusal("get_project", name=THIRD)
        assert (kind, words) == (
            NotThere,
            f'There is no project "{THIRD}" here. Check its name. Your projects: "{MINE}", "{THIRD}".',
        )
        await desk.call("create_project", name=THIRD, type="imageannotation")
        assert structure(await desk.call("get_project", name=THIRD))["name"] == THIRD


async def test_without_a_list_of_projects_everything_is_as_scale_says_it() -> None:
    async with world(MINE, FOREIGN) as at:
        desk = Desk(at, persona())
        assert structure(await desk.call("list_projects"))["total"] == 2
        assert structure(await desk.call("list_tasks"))["total"] == 2
        assert structure(await desk.call("get_task", task_id=at.tasks[FOREIGN]))["project"] == FOREIGN
        _, _, words, _ = await desk.refusal("get_project", name="nowhere")
        assert "404" in words


async def test_a_page_is_continued_only_by_the_persona_it_was_given_to() -> None:
    async with world(MINE, FOREIGN, THIRD, tasks=4) as at:
        ada, bob = Desk(at, persona(MINE, THIRD)), Desk(at, persona(MINE, THIRD, name="bob"))
        page = await ada.call("list_tasks", project=MINE, limit=2)
        cursor = structure(page)["next_token"]
        assert f"next_token {cursor}" in structure(page)["note"]
        assert f"next_token {cursor}" in page.text()
        rest = structure(await ada.call("list_tasks", project=MINE, limit=2, next_token=cursor))
        seen = {doc["task_id"] for doc in structure(page)["docs"] + rest["docs"]}
        assert len(seen) == 4
        made_up = await bob.refusal("list_tasks", project=MINE, limit=2, next_token="made-up")
        assert made_up[:2] == (BadCursor, "invalid_cursor")
        assert made_up[3] == []
        assert await bob.refusal("list_tasks", project=MINE, limit=2, next_token=cursor) == made_up
        assert await ada.refusal("list_tasks", project=THIRD, limit=2, next_token=cursor) == made_up
        raw = (await at.api.tasks.page(TaskFilter(project=MINE), limit=2)).next_token
        assert raw
        assert await ada.refusal("list_tasks", project=MINE, limit=2, next_token=raw) == made_up


async def test_cursors_of_personas_without_a_list_of_projects_are_sealed_too() -> None:
    async with world(MINE, FOREIGN, tasks=3) as at:
        ada, bob = Desk(at, persona()), Desk(at, persona(name="bob"))
        cursor = structure(await ada.call("list_tasks", limit=2))["next_token"]
        assert len(structure(await ada.call("list_tasks", limit=2, next_token=cursor))["docs"]) == 2
        assert (await bob.refusal("list_tasks", limit=2, next_token=cursor))[0] is BadCursor
        assert len(structure(await bob.call("list_tasks", limit=2, next_token=""))["docs"]) == 2, "empty begins anew"


async def test_rows_of_other_projects_are_dropped_from_a_list_wherever_they_come_from() -> None:
    card = hosted_cards()["list_tasks"]
    confinement = Confinement(persona(MINE), KEY)
    listed = card.output_model.model_validate(
        {
            "docs": [{"task_id": "1", "project": MINE}, {"task_id": "2", "project": FOREIGN}, {"task_id": "3"}],
            "total": 9,
        }
    )
    kept = structure(confinement.confine(card, check(card, {"project": MINE}), listed))
    assert ([doc["task_id"] for doc in kept["docs"]], kept["total"]) == (["1", "3"], 8)
    shared = card.output_model.model_validate({"docs": [{"task_id": "1"}], "common": {"project": FOREIGN}})
    assert structure(confinement.confine(card, check(card, {"project": MINE}), shared))["docs"] == []


async def read(at: World, uri: str, visible: tuple[str, ...] | None) -> str:
    (template,) = [each for each in resources.TEMPLATES if each.addresses.fullmatch(uri)]
    return await resources.read(at.api, template, uri, visible)


@pytest.mark.parametrize("address", [f"project/{FOREIGN}", f"batch/{BATCH}", "task/{task}"])
async def test_a_resource_of_another_project_reads_exactly_like_one_that_does_not_exist(address: str) -> None:
    told, sent = [], []
    async with world(MINE, FOREIGN) as there, world(MINE) as not_there:
        uri = f"scale://{address.format(task=there.tasks[FOREIGN])}"
        for at in (there, not_there):
            with pytest.raises(NotThere) as problem:
                await read(at, uri, (MINE,))
            told.append((str(problem.value), problem.value.code))
            sent.append(list(at.wire.sent))
        assert FOREIGN in await read(there, uri, None)
    assert told[0] == told[1]
    assert sent[0] == sent[1]


async def test_ones_own_resources_are_read() -> None:
    async with world(MINE, FOREIGN) as at:
        for address in (f"project/{MINE}", f"batch/{MINE}-1", f"task/{at.tasks[MINE]}"):
            assert MINE in await read(at, f"scale://{address}", (MINE,))


async def test_completion_helps_only_to_ones_own_names() -> None:
    async with world(MINE, FOREIGN, THIRD) as at:

        async def names(kind: completion.Kind, project: str | None = None) -> list[str]:
            return (await completion.complete(at.api, kind, "", project, (MINE, THIRD, "not-made-yet"))).values

        assert await names("project") == [THIRD, MINE]
        assert await names("batch") == [f"{THIRD}-1", f"{MINE}-1"]
        assert await names("batch", MINE) == [f"{MINE}-1"]
        at.wire.sent.clear()
        assert await names("batch", FOREIGN) == await names("batch", "nowhere") == []
        assert at.wire.sent == []


async def test_a_tool_nobody_has_described_is_not_for_a_persona_with_a_list_of_projects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card = hosted_cards()["get_task"]
    monkeypatch.delitem(REACH, "get_task")  # type: ignore[arg-type]  # a plain dict behind its type
    assert not Confinement(persona(MINE), KEY).offers(card)
    assert Confinement(persona(), KEY).offers(card)


def test_refusals_are_tool_failures() -> None:
    assert all(issubclass(kind, ToolFailure) for kind in (NotThere, NameAProject, BadCursor))

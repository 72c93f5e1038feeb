"""Projects: versions of params and ontologies, flavours, templates."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from scale_mcp.sandbox import Sandbox
from tests.sandbox.calls import BOXES, KINDS, ok, project, refused

pytestmark = pytest.mark.anyio


async def test_a_project_begins_with_version_zero(live: httpx2.AsyncClient) -> None:
    made = await project(live, params={"instruction": "Label cars.", "geometries": BOXES, "nothing": None})
    (first,) = made["param_history"]
    assert first == {
        "instruction": "Label cars.",
        "geometries": BOXES,
        "version": 0,
        "created_at": made["created_at"],
    }
    assert (made["type"], made["name"], made["ontologyHistory"]) == ("imageannotation", "cars", [])
    assert await ok(live.get("/projects/cars")) == made
    bare = await project(live, "bare", params=None, rapid=False, studio=False, datasetId=None)
    assert [each["version"] for each in bare["param_history"]] == [0]


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"name": "cars"}, 409),
        ({"name": None}, 400),
        ({"type": None}, 400),
        ({"type": "imageannotaton"}, 400),
        ({"params": ["x"]}, 400),
        ({"params": {"geometries": {"blob": {}}}}, 400),
        ({"rapid": True, "studio": True}, 400),
        ({"rapid": "yes"}, 400),
        ({"pipeline": "standard_task"}, 400),
        ({"studio": True, "pipeline": "other"}, 400),
        ({"studio": True, "consensus_attempts": 3}, 400),
    ],
)
async def test_a_wrong_project_is_refused(live: httpx2.AsyncClient, wrong: dict[str, Any], status: int) -> None:
    await project(live)
    await refused(live.post("/projects", json={"name": "x", "type": "imageannotation", **wrong}), status)
    assert len(await ok(live.get("/projects"))) == 1


async def test_flavours_and_pipelines_are_shown(live: httpx2.AsyncClient) -> None:
    made = await project(live, studio=True, pipeline="consensus_task", consensus_attempts=3, datasetId="ds_1")
    shown = {name: made[name] for name in ("projectType", "pipelineName", "numConsensus", "datasetId")}
    assert shown == {
        "projectType": "studio",
        "pipelineName": "consensus_task",
        "numConsensus": 3,
        "datasetId": "ds_1",
    }
    assert (await project(live, "plain"))["projectType"] == "standard"


async def test_params_are_replaced_or_patched_in_a_new_version(live: httpx2.AsyncClient) -> None:
    await project(live, params={"instruction": "One.", "geometries": BOXES})
    patched = await ok(live.post("/projects/cars/setParams", json={"patch": True, "instruction": "Two."}))
    assert patched["param_history"][-1].items() >= {"instruction": "Two.", "geometries": BOXES, "version": 1}.items()
    assert "patch" not in patched["param_history"][-1]
    replaced = await ok(live.post("/projects/cars/setParams", json={"instruction": "Three."}))
    last = replaced["param_history"][-1]
    assert (last["instruction"], last["version"], "geometries" in last) == ("Three.", 2, False)
    assert [each["version"] for each in replaced["param_history"]] == [0, 1, 2]
    copied = await ok(live.post("/projects/cars/setParams", json=last))
    assert copied["param_history"][-1]["version"] == 3
    await refused(live.post("/projects/cars/setParams", json={"type": "segmentannotation"}), 400)
    await refused(live.post("/projects/cars/setParams", json={"patch": "yes"}), 400)
    await refused(live.post("/projects/cars/setParams", json={"geometries": []}), 400)
    await refused(live.post("/projects/none/setParams", json={}), 404)


async def test_an_ontology_has_versions_and_no_choice_twice(live: httpx2.AsyncClient) -> None:
    await project(live)
    path = "/projects/cars/setOntology"
    ontology = ["pallet", {"choice": "vehicle", "subchoices": ["forklift", {"choice": "truck", "display": "Lorry"}]}]
    await ok(live.post(path, json={"ontology": ["old"]}))
    shown = await ok(live.post(path, json={"name": "v2", "ontology": ontology}))
    first, second = shown["ontologyHistory"]
    assert (first["version"], first["ontology"], "name" in first) == (0, ["old"], False)
    assert (second["version"], second["ontology"], second["name"]) == (1, ontology, "v2")
    assert len(shown["param_history"]) == 1
    for wrong in (
        ["a", "a"],
        ["a", {"choice": "b", "subchoices": ["a"]}],
        [],
        "a",
        [{"display": "x"}],
        [5],
        [{"choice": "a", "subchoices": "b"}],
    ):
        await refused(live.post(path, json={"ontology": wrong}), 400)
    await refused(live.post(path, json={"name": "v3"}), 400)
    await refused(live.post(path, json={"name": 3, "ontology": ["a"]}), 400)
    await refused(live.post("/projects/none/setOntology", json={"ontology": ["a"]}), 404)


async def test_projects_are_listed_as_a_bare_array_oldest_first(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    for name in ("b", "a", "c"):
        await project(live, name)
    assert [each["name"] for each in await ok(live.get("/projects"))] == ["b", "a", "c"]
    sandbox.store.execute("UPDATE projects SET archived = 1 WHERE name = 'a'")
    archived = await ok(live.get("/projects", params={"archived": "True"}))
    assert [(each["name"], each["archived"]) for each in archived] == [("a", True)]
    current = await ok(live.get("/projects", params={"archived": "false"}))
    assert [each["name"] for each in current] == ["b", "c"]


async def test_only_text_collection_projects_have_templates(live: httpx2.AsyncClient) -> None:
    await project(live)
    await refused(live.get("/projects/cars/taskTemplates"), 400)
    fields = [
        *KINDS["textcollection"]["fields"],
        {"type": "category", "field_id": "lang", "title": "L", "choices": [{"label": "English", "value": "en"}]},
    ]
    await project(live, "texts", type="textcollection", params={"fields": fields})
    template = await ok(live.get("/projects/texts/taskTemplates"))
    assert template.keys() >= {"id", "version", "created_at", "updated_at", "template_variables"}
    assert template["template_variables"] == {"fields": fields}
    answers = template["response_schema"]["properties"]
    assert answers == {"mood": {"type": "string"}, "lang": {"type": "array", "items": {"enum": ["en"]}}}

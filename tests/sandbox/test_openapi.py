from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx2
import jsonschema
import pytest

from scale_mcp.sandbox import Sandbox, openapi
from scale_mcp.sandbox.task_types import TASK_TYPES

pytestmark = pytest.mark.anyio

METHODS = {"get", "put", "post", "delete"}


@pytest.fixture
async def document(sandbox: Sandbox) -> dict[str, Any]:
    async with httpx2.AsyncClient(transport=sandbox.transport(), base_url="http://127.0.0.1:8787") as client:
        answer = await client.get("/openapi.json")
        assert answer.status_code == 200
        result: dict[str, Any] = answer.json()
        return result


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from walk(each)
    elif isinstance(value, list):
        for each in value:
            yield from walk(each)


async def test_it_names_the_version_the_server_and_the_basic_key(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert document["info"]["title"]
    assert document["info"]["version"]
    assert document["servers"] == [{"url": "http://127.0.0.1:8787/v1"}]
    assert document["security"] == [{"key": []}]
    assert document["components"]["securitySchemes"]["key"] == {"type": "http", "scheme": "basic"}


async def test_every_route_of_the_api_is_described(sandbox: Sandbox, document: dict[str, Any]) -> None:
    described = {(method.upper(), path) for path, method, _ in operations(document)}
    api = [route for route in sandbox.app.routes if not route.template.startswith(("/_sandbox", "/openapi"))]
    assert len(api) > 40
    for route in api:
        assert route.name in openapi.SHAPES, f"{route.name} has no shape"
        if "{task_type}" not in route.template:
            assert (route.method, route.template) in described
    for name, kind in TASK_TYPES.items():
        assert ("POST", f"/task/{name}") in described
        for prefix in ("evaluation_tasks", "training_tasks"):
            assert (("POST", f"/{prefix}/{name}") in described) is kind.evaluated


async def test_no_shape_is_left_over(sandbox: Sandbox) -> None:
    assert set(openapi.SHAPES) <= {route.name for route in sandbox.app.routes}


async def test_admin_pages_are_not_part_of_the_api(document: dict[str, Any]) -> None:
    assert not [path for path in document["paths"] if "_sandbox" in path]


async def test_operation_ids_are_unique_identifiers(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]

    assert len(ids) == len(set(ids))
    assert all(name.isidentifier() for name in ids)


async def test_no_two_paths_differ_in_the_names_of_parameters_only(document: dict[str, Any]) -> None:
    bare = [re.sub(r"\{\w+\}", "{}", path) for path in document["paths"]]

    assert len(bare) == len(set(bare))


async def test_every_reference_resolves(document: dict[str, Any]) -> None:
    references = [each["$ref"] for each in walk(document) if "$ref" in each]
    assert references
    for reference in references:
        target: Any = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]
        assert isinstance(target, dict)


async def test_every_schema_is_valid_json_schema(document: dict[str, Any]) -> None:
    schemas = [each["schema"] for each in walk(document) if "schema" in each]
    for schema in [*schemas, *document["components"]["schemas"].values()]:
        jsonschema.Draft202012Validator.check_schema(schema)


async def test_operations_have_the_members_that_generators_need(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        assert method in METHODS
        assert operation["summary"]
        assert {"401", "default"} <= operation["responses"].keys()
        success = [status for status in operation["responses"] if status.startswith("2")]
        assert len(success) == 1
        for response in operation["responses"].values():
            assert "$ref" in response or {"description", "content"} <= response.keys()
        in_path = [each["name"] for each in operation["parameters"] if each["in"] == "path"]
        assert sorted(in_path) == sorted(re.findall(r"\{(\w+)\}", path))
        assert all(each["required"] for each in operation["parameters"] if each["in"] == "path")
        if method == "get":
            assert "requestBody" not in operation


async def test_only_the_creation_of_a_fixless_audit_answers_201(document: dict[str, Any]) -> None:
    created = [operation["operationId"] for _, _, operation in operations(document) if "201" in operation["responses"]]

    assert created == ["create_fixless_audit"]


async def test_what_the_sandbox_answers_fits_its_own_document(
    document: dict[str, Any], live: httpx2.AsyncClient
) -> None:
    """Every operation that can be called without preparations beyond these, against the schema of its answer."""
    project = {"name": "p", "type": "imageannotation", "rapid": False, "studio": True}
    geometries = {"box": {"objects_to_annotate": ["car"]}}
    task = {"attachment": "https://example.com/a.png", "geometries": geometries, "unique_id": "u", "tags": ["t"]}
    emails = {"emails": ["member@sandbox.example"]}
    calls: list[tuple[str, str, str, Any]] = [
        ("post", "/projects", "/projects", project),
        ("get", "/projects", "/projects", None),
        ("get", "/projects/{project}", "/projects/p", None),
        ("post", "/projects/{project}/setParams", "/projects/p/setParams", {"instruction": "x"}),
        ("post", "/projects/{project}/setOntology", "/projects/p/setOntology", {"ontology": ["a"]}),
        ("post", "/batches", "/batches", {"project": "p", "name": "b"}),
        ("post", "/task/imageannotation", "/task/imageannotation", {**task, "batch": "b"}),
        ("get", "/tasks", "/tasks", None),
        ("get", "/batches", "/batches", None),
        ("get", "/batches/{batch}", "/batches/b", None),
        ("get", "/batches/{batch}/status", "/batches/b/status", None),
        ("post", "/batches/{batch}/finalize", "/batches/b/finalize", None),
        ("get", "/studio/batches", "/studio/batches", None),
        ("post", "/studio/batches/reset_priorities", "/studio/batches/reset_priorities", None),
        ("post", "/files/import", "/files/import", {"file_url": "https://example.com/a.png", "project_name": "p"}),
        ("get", "/files", "/files?project=p", None),
        ("get", "/teams", "/teams", None),
        ("post", "/teams/invite", "/teams/invite", {"emails": ["a@example.com"], "team_role": "member"}),
        ("post", "/studio/assignments/add", "/studio/assignments/add", {**emails, "projects": ["p"]}),
        ("get", "/studio/assignments", "/studio/assignments", None),
        ("post", "/studio/projects/{project}/groups", "/studio/projects/p/groups", {**emails, "name": "g"}),
        ("get", "/studio/projects/{project}/groups", "/studio/projects/p/groups", None),
        ("put", "/studio/batches/{batch}", "/studio/batches/b", {"groups": ["g"]}),
        ("get", "/quality/labelers", "/quality/labelers?quality_task_ids=q", None),
    ]
    for method, path, called, body in calls:
        answer = await live.request(method.upper(), called, json=body)
        assert answer.status_code == 200, (called, answer.text)
        content = document["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]
        root = {"$ref": "#/x", "x": content, "components": document["components"]}
        jsonschema.Draft202012Validator(root).validate(answer.json())

    refusal = await live.get("/task/nope")
    jsonschema.validate(refusal.json(), document["components"]["schemas"]["Error"])


ODD_VALUES: tuple[Any, ...] = (
    None,
    7,
    -1.5,
    True,
    "",
    "x",
    "é\u0000",
    [],
    [[]],
    [7],
    ["x"],
    [None],
    {},
    {"a": {}},
    [{}],
)


@pytest.mark.parametrize("odd", ODD_VALUES, ids=repr)
async def test_no_operation_fails_over_odd_values(document: dict[str, Any], live: httpx2.AsyncClient, odd: Any) -> None:
    """Each member of each body in turn, then the whole body, is something else than it should be."""
    await live.post("/projects", json={"name": "x", "type": "imageannotation", "studio": True})
    await live.post("/batches", json={"name": "x", "project": "x"})
    for path, method, operation in operations(document):
        called = re.sub(r"\{\w+\}", "x", path)
        content = operation.get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema", {})
        example = {name: _plausible(each) for name, each in schema.get("properties", {}).items()}
        bodies = [{**example, name: odd} for name in example] + [odd]
        for body in bodies if schema else [None]:
            answer = await live.request(method.upper(), called, json=body)
            assert answer.status_code < 500, (method, called, body, answer.text)
        for parameter in operation["parameters"]:
            if parameter["in"] == "query" and isinstance(odd, str | int | float):
                answer = await live.request(method.upper(), called, params={parameter["name"]: odd})
                assert answer.status_code < 500, (method, called, parameter["name"], odd, answer.text)


def _plausible(schema: dict[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    kinds = {"array": ["a@example.com"], "object": {"a": 1}, "integer": 10, "number": 1.5, "boolean": True}
    return kinds.get(schema.get("type", ""), "x")

"""The OpenAPI 3.1 document of the sandbox, made from its routes.

Paths, methods and names come from the routes; what an operation takes and gives is looked up here by the route's name.
Two routes may share a path up to the name of its parameter (``POST /task/{task_type}``, ``GET /task/{task_id}``), which
OpenAPI forbids; the task types are therefore spelt out, one operation each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from scale_mcp.sandbox.http import Route
from scale_mcp.sandbox.openapi_schemas import COMMON, COMPONENTS, PARAMETERS, Schema, record, type_of
from scale_mcp.sandbox.task_types import TASK_TYPES

TAGS_OF_TASK = {"type": "array", "items": {"type": "string"}}
OPEN_OBJECT = type_of("object")
PLACEHOLDER = re.compile(r"\{(\w+)\}")
WITH_BODY = ("POST", "PUT", "DELETE", "PATCH")


@dataclass(frozen=True)
class Shape:
    """What one operation takes and gives. ``query`` in the shorthand of openapi_schemas."""

    gives: str
    query: tuple[str, ...] = ()
    body: Schema | None = None
    needs_body: bool = True
    status: int = 200
    errors: tuple[int, ...] = ()


def fields(*names: str) -> Schema:
    return record(*names)


PEOPLE = fields("emails* string[]", "team_role* labeler|member|manager")
PAIRS = fields("emails* string[]", "projects* string[]")
TIMES = ("start_time time", "end_time time", "completed_after time", "completed_before time")
QUALITY_BODY = ("expected_response* object", "initial_response object")

# By the name of the route.
SHAPES: dict[str, Shape] = {
    "create_task": Shape("Task", errors=(400, 402, 404, 409)),
    "get_task": Shape("Task", errors=(404,)),
    "cancel_task": Shape("Task", ("clear_unique_id boolean",), errors=(400, 404)),
    "add_task_tags": Shape("Task", body=TAGS_OF_TASK, errors=(400, 404)),
    "set_task_tags": Shape("Task", body=TAGS_OF_TASK, needs_body=False, errors=(400, 404)),
    "delete_task_tags": Shape("Task", body=TAGS_OF_TASK, errors=(400, 404)),
    "set_task_unique_id": Shape("Task", body=fields("unique_id* string"), errors=(400, 404, 409)),
    "delete_task_unique_id": Shape("Task", errors=(404,)),
    "set_task_metadata": Shape("Task", body=OPEN_OBJECT, needs_body=False, errors=(400, 404)),
    "audit_task": Shape("any", body=fields("accepted* boolean", "comments string"), errors=(400, 404)),
    "resend_callback": Shape("any", errors=(400, 404)),
    "resend_callback_hyphen": Shape("any", errors=(400, 404)),
    "get_task_response": Shape("binary", errors=(401, 404)),
    "list_tasks": Shape(
        "TaskPage",
        (
            *("project string", "batch string", "type string", "status pending|completed|canceled|error"),
            *("customer_review_status string", "unique_id string[]", "tags string[]"),
            *(*TIMES, "updated_after time", "updated_before time"),
            *("include_attachment_url boolean", "limited_response boolean"),
            *("limit integer", "next_token string", "offset integer"),
        ),
        errors=(400,),
    ),
    "create_batch": Shape(
        "Batch",
        body=fields(
            *("project* string", "name* string", "callback string", "metadata object"),
            *("calibration_batch boolean", "self_label_batch boolean"),
        ),
        errors=(400, 404, 409),
    ),
    "list_batches": Shape(
        "BatchPage",
        (
            *("project string", "status staging|in_progress|completed", "detailed boolean"),
            *(*TIMES, "audited_after time", "audited_before time", "exclude_archived boolean"),
            *("limit integer", "offset integer"),
        ),
        errors=(400,),
    ),
    "get_batch": Shape("Batch", errors=(404,)),
    "get_batch_status": Shape("BatchProgress", errors=(404,)),
    "finalize_batch": Shape("Batch", errors=(400, 404)),
    "prioritize_batch": Shape("any", body=fields("priority* integer"), errors=(400, 404)),
    "set_batch_metadata": Shape("Batch", body=OPEN_OBJECT, needs_body=False, errors=(400, 404)),
    "create_project": Shape(
        "Project",
        body=fields(
            *("type* string", "name* string", "params object", "rapid boolean", "studio boolean"),
            *("pipeline standard_task|consensus_task", "consensus_attempts integer", "datasetId string"),
        ),
        errors=(400, 409),
    ),
    "list_projects": Shape("Project[]", ("archived boolean",)),
    "get_project": Shape("Project", errors=(404,)),
    "set_project_params": Shape("Project", body=fields("patch boolean"), needs_body=False, errors=(400, 404)),
    "set_project_ontology": Shape("Project", body=fields("ontology* Label[]", "name string"), errors=(400, 404)),
    "get_project_template": Shape("ProjectTemplate", errors=(400, 404)),
    "upload_file": Shape(
        "File",
        body=fields(
            *("file* binary", "display_name string", "project_name string", "reference_id string", "metadata string"),
        ),
        errors=(400, 409, 413),
    ),
    "import_file": Shape(
        "File",
        body=fields(
            *("file_url* string", "display_name string", "project_name string", "reference_id string"),
            "metadata object",
        ),
        errors=(400, 409),
    ),
    "list_files": Shape(
        "FilePage",
        ("project* string", "metadata string", "limit integer", "cursor string", "next_token string"),
        errors=(400,),
    ),
    "list_teams": Shape("Teammate[]"),
    "invite_team": Shape("Teammate[]", body=PEOPLE, errors=(400,)),
    "set_teammate_role": Shape("Teammate[]", body=PEOPLE, errors=(400, 404)),
    "list_studio_assignments": Shape("Assignments"),
    "add_studio_assignments": Shape("Assignments", body=PAIRS, errors=(400, 404)),
    "remove_studio_assignments": Shape("Assignments", body=PAIRS, errors=(400, 404)),
    "list_project_groups": Shape("ProjectGroup[]", errors=(404,)),
    "create_project_group": Shape(
        "ProjectGroup", body=fields("emails* string[]", "name* string"), errors=(400, 404, 409)
    ),
    "update_project_group": Shape(
        "ProjectGroup", body=fields("add_emails string[]", "remove_emails string[]"), errors=(400, 404)
    ),
    "list_studio_batches": Shape("StudioBatch[]"),
    "set_studio_batch_priorities": Shape(
        "StudioBatch[]",
        body={**fields("batches* object[]"), "example": {"batches": [{"name": "first"}, {"name": "second"}]}},
        errors=(400,),
    ),
    "reset_studio_batch_priorities": Shape("StudioBatch[]"),
    "assign_studio_batch": Shape("StudioBatch", body=fields("groups* string[]"), errors=(400, 404)),
    "create_fixless_audit": Shape(
        "FixlessAudit",
        body=fields(
            *("task_id* string", "result* accepted|rejected|fixed|commented", "response_url* string"),
            *("audited_by string", "feedback_items FeedbackItem[]"),
        ),
        status=201,
        errors=(400, 404),
    ),
    "list_fixless_audits": Shape("FixlessAudit[]", ("task_id string", "id string"), errors=(400, 404)),
    "create_evaluation_task": Shape("QualityTask", errors=(400, 404, 409)),
    "create_training_task": Shape("QualityTask", errors=(400, 404, 409)),
    "list_training_attempts": Shape(
        "TrainingAttempts",
        ("quality_task_ids string[]", "labeler_emails string[]", "limit integer", "next_token string"),
        errors=(400,),
    ),
}
IDEMPOTENCY = (
    {
        "name": "Idempotency-Key",
        "in": "header",
        "schema": {"type": "string"},
        "description": "A second request with the same key gets 409.",
    },
)
EVALUATED = tuple(name for name, kind in TASK_TYPES.items() if kind.evaluated)
TYPED: dict[str, tuple[Iterable[str], tuple[str, ...]]] = {
    "create_task": (TASK_TYPES, ()),
    "create_evaluation_task": (EVALUATED, QUALITY_BODY),
    "create_training_task": (EVALUATED, QUALITY_BODY),
}


def document(routes: Iterable[Route], server: str) -> dict[str, Any]:
    """The whole document. ``server`` is the base URL of the API, ``…/v1``."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if route.template.startswith(("/_sandbox", "/openapi")):
            continue
        for path, operation in _operations(route):
            paths.setdefault(path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Scale's annotation API, as the scale-mcp sandbox serves it",
            "version": "1",
            "description": "Every refusal has the body {status_code, error}. Keys are the user name of HTTP Basic; the"
            " password is empty. Names in paths are percent-encoded whole, slashes included.",
        },
        "servers": [{"url": server}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "basic"}},
            "schemas": COMPONENTS,
            "responses": {
                "Error": {"description": "A refusal.", "content": {"application/json": {"schema": type_of("Error")}}}
            },
        },
    }


def _operations(route: Route) -> Iterator[tuple[str, dict[str, Any]]]:
    """A route's operations with their paths: one, or one per task type."""
    shape = SHAPES.get(route.name, Shape("any"))
    if route.name not in TYPED:
        yield route.template, _operation(route, route.template, shape, shape.body, route.name)
        return
    types, more = TYPED[route.name]
    for task_type in types:
        body = record(*PARAMETERS.get(task_type, ()), *more, *COMMON, about=_needed(task_type))
        name = route.name.replace("task", f"{task_type}_task")
        path = route.template.replace("{task_type}", task_type)
        yield path, _operation(route, path, shape, body, name)


def _needed(task_type: str) -> str:
    """What a task of this type cannot do without, in words: a schema cannot know what the project supplies."""
    needs = [need if isinstance(need, str) else " or ".join(need) for need in TASK_TYPES[task_type].required]
    return f"Needed, here or in the project's params: {', '.join(needs)}." if needs else ""


def _operation(route: Route, path: str, shape: Shape, body: Schema | None, name: str) -> dict[str, Any]:
    kind = "application/octet-stream" if shape.gives == "binary" else "application/json"
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": route.summary,
        "tags": [path.split("/")[1]],
        "parameters": [
            *_path_parameters(path),
            *_query_parameters(shape.query),
            *(IDEMPOTENCY if route.name == "create_task" else ()),
        ],
        "responses": {
            str(shape.status): {"description": "Success.", "content": {kind: {"schema": type_of(shape.gives)}}},
            **{str(status): {"$ref": "#/components/responses/Error"} for status in sorted({401, 429, *shape.errors})},
            "default": {"$ref": "#/components/responses/Error"},
        },
    }
    if body is not None and route.method in WITH_BODY:
        media = "multipart/form-data" if route.name == "upload_file" else "application/json"
        operation["requestBody"] = {"required": shape.needs_body, "content": {media: {"schema": body}}}
    return operation


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in PLACEHOLDER.findall(path)
    ]


def _query_parameters(query: tuple[str, ...]) -> list[dict[str, Any]]:
    described = fields(*query)
    return [
        {
            "name": name,
            "in": "query",
            "required": name in described.get("required", ()),
            "schema": schema,
            **({"style": "form", "explode": True} if schema.get("type") == "array" else {}),
        }
        for name, schema in described["properties"].items()
    ]

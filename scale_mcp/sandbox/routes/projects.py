"""The project operations."""

from __future__ import annotations

from typing import Any

from scale_mcp.sandbox import params
from scale_mcp.sandbox.http import ApiError, Reply, Request, Route, invalid, required
from scale_mcp.sandbox.projects import Flavour, Project
from scale_mcp.sandbox.task_types import CHAT_TYPES, TASK_TYPES

PIPELINES = ("standard_task", "consensus_task")


def create(request: Request) -> Reply:
    """``POST /projects``."""
    sandbox, body = request.sandbox, request.object()
    for name in ("type", "name"):
        if body.get(name) in (None, ""):
            raise required(name)
        if not isinstance(body[name], str):
            raise invalid(f'"{name}" must be a string')
    kind = TASK_TYPES.get(body["type"])
    if kind is None:
        raise invalid(f'"type" must be a task type, and "{body["type"]}" is none')
    flavour = _flavour(body)
    given = params.project_params(kind, body.get("params"))
    project = sandbox.projects.create(request.account, body["name"], kind.name, given, flavour, _extras(body, flavour))
    return Reply(sandbox.projects.serve(project))


def _flavour(body: dict[str, Any]) -> Flavour:
    rapid, studio = body.get("rapid", False), body.get("studio", False)
    for name, value in (("rapid", rapid), ("studio", studio)):
        if not isinstance(value, bool):
            raise invalid(f'"{name}" must be a boolean')
    if rapid and studio:
        raise invalid('a project is either "rapid" or "studio"')
    return "rapid" if rapid else "studio" if studio else "standard"


def _extras(body: dict[str, Any], flavour: Flavour) -> dict[str, Any]:
    """What only some projects have: a Studio pipeline, a Nucleus data set."""
    extras: dict[str, Any] = {}
    pipeline, attempts = body.get("pipeline"), body.get("consensus_attempts")
    if pipeline is not None:
        if pipeline not in PIPELINES:
            raise invalid(f'"pipeline" must be one of [{", ".join(PIPELINES)}]')
        if flavour != "studio":
            raise invalid('"pipeline" is for Studio projects only')
        extras["pipelineName"] = pipeline
    if attempts is not None:
        number = params.whole(attempts)
        if number is None or number < 1:
            raise invalid('"consensus_attempts" must be a positive integer')
        if pipeline != "consensus_task":
            raise invalid('"consensus_attempts" needs the pipeline "consensus_task"')
        extras["numConsensus"] = number
    if "datasetId" in body:
        if not isinstance(body["datasetId"], str):
            raise invalid('"datasetId" must be a string')
        extras["datasetId"] = body["datasetId"]
    return extras


def get(request: Request) -> Reply:
    """``GET /projects/{project}``."""
    return Reply(request.sandbox.projects.serve(named(request)))


def listed(request: Request) -> Reply:
    """``GET /projects``: a bare array."""
    archived = request.flag("archived") if request.one("archived") else None
    projects = request.sandbox.projects.of(request.account, archived)
    return Reply([request.sandbox.projects.serve(project) for project in projects])


def set_params(request: Request) -> Reply:
    """``POST /projects/{project}/setParams``: a new version, from the body alone or patched over the latest."""
    project, body = named(request), request.object()
    patch = body.get("patch", False)
    if not isinstance(patch, bool):
        raise invalid('"patch" must be a boolean')
    if body.get("type", project.type) != project.type:
        raise invalid("the type of a project cannot be changed")
    body.pop("type", None)
    request.sandbox.projects.set_params(project, params.project_params(TASK_TYPES[project.type], body), patch)
    return Reply(request.sandbox.projects.serve(project))


def set_ontology(request: Request) -> Reply:
    """``POST /projects/{project}/setOntology``: a new version of the ontology."""
    project, body = named(request), request.object()
    if "ontology" not in body:
        raise required("ontology")
    name = body.get("name")
    if name is not None and not isinstance(name, str):
        raise invalid('"name" must be a string')
    request.sandbox.projects.set_ontology(project, body["ontology"], name)
    return Reply(request.sandbox.projects.serve(project))


def template(request: Request) -> Reply:
    """``GET /projects/{project}/taskTemplates``: for text collection and chat only (decisions.PROJECT_TEMPLATE)."""
    sandbox, project = request.sandbox, named(request)
    if project.type not in ("textcollection", *CHAT_TYPES):
        raise ApiError(400, f"Projects of the type {project.type} have no task template.")
    version, latest = sandbox.projects.params(project) or (0, {})
    shown = sandbox.projects.serve(project)
    answers = {each["field_id"]: _answer_schema(each) for each in latest.get("fields", [])}
    return Reply(
        {
            "id": project.id,
            "version": version,
            "created_at": shown["created_at"],
            "updated_at": shown["param_history"][-1]["created_at"],
            "template_variables": latest,
            "response_schema": {"type": "object", "properties": answers},
            "auto_onboard_enabled": False,
        }
    )


def _answer_schema(field: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of one answer to a field."""
    if field["type"] == "category":
        values = [
            choice["value"] for choice in field.get("choices", []) if isinstance(choice, dict) and "value" in choice
        ]
        return {"type": "array", "items": {"enum": values}}
    if field["type"] == "field_set":
        children = [each for each in field.get("fields", []) if isinstance(each, dict) and each.get("field_id")]
        return {"type": "object", "properties": {each["field_id"]: _answer_schema(each) for each in children}}
    return {"type": "boolean" if field["type"] == "boolean" else "string"}


def named(request: Request) -> Project:
    """The project of the path, or 404."""
    return request.sandbox.projects.get(request.account, request.params["project"])


ROUTES = [
    Route("POST", "/projects", create, "create_project", "Create a project"),
    Route("GET", "/projects", listed, "list_projects", "List projects"),
    Route("GET", "/projects/{project}", get, "get_project", "Get a project"),
    Route("POST", "/projects/{project}/setParams", set_params, "set_project_params", "Add a version of the params"),
    Route(
        "POST", "/projects/{project}/setOntology", set_ontology, "set_project_ontology", "Add a version of the ontology"
    ),
    Route("GET", "/projects/{project}/taskTemplates", template, "get_project_template", "Get the task template"),
]

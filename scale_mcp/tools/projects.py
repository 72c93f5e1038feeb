"""Projects: a task type with default parameters, versioned, and an ontology."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from scale_mcp.models.checks import Checked, Problem, did_you_mean
from scale_mcp.models.field_types import Name, TaskType, Text
from scale_mcp.models.labels import Ontology
from scale_mcp.models.project_params import is_task_parameter, problems_with_params
from scale_mcp.models.projects import Project
from scale_mcp.text import clean, clean_value
from scale_mcp.tools.card import Call, Risk, ToolFailure, ToolOutput, tool
from scale_mcp.tools.fitting import compact, outline, quoted, shorten
from scale_mcp.tools.outputs import DEFAULT_LIMIT, Entry, Listing, by_rows, entry
from scale_mcp.tools.parameters import Limit, Offset, ProjectName
from scale_mcp.tools.parts import part_of
from scale_mcp.tools.visible import visible

STRUCTURE_CHARACTERS = 8_000


class ProjectResult(ToolOutput):
    """A project. ``param_history`` holds the versions of its parameters, the last of which is in force."""

    name: str
    type: str | None = None
    created_at: str | None = None
    version: int | None = Field(None, description="Of the parameters in force")
    param_history: list[dict[str, Any]] | None = None
    ontologyHistory: list[Any] | None = None  # noqa: N815 - Scale's spelling
    archived: bool | None = None
    part: str | None = None
    value: Any = Field(None, description="The part that was asked for")
    total: int | None = Field(None, description="Items in that part")
    done: str | None = Field(None, description="What was done")
    shortened: list[str] | None = Field(None, description="What was cut above")

    def text(self) -> str:
        head = (
            f"Project {quoted(self.name)} ({self.type}): {self.done or 'parameters at version ' + str(self.version)}."
        )
        if self.part is not None:
            cut = f" ({len(self.value)} of {self.total})" if isinstance(self.value, list) else ""
            return f"Project {quoted(self.name)}, {self.part}{cut}: {compact(self.value)[:6_000]}"
        lines = [head]
        if self.param_history:
            now = compact(self.param_history[-1])
            lines.append(f"parameters: {now if len(now) <= 1_600 else outline(self.param_history[-1])}")
        if self.ontologyHistory:
            now = compact(self.ontologyHistory[-1])
            lines.append(f"ontology: {now if len(now) <= 1_000 else outline(self.ontologyHistory[-1])}")
        if self.shortened:
            lines.append(f"Shortened: {'; '.join(self.shortened)}. For more call get_project with `part`.")
        return "\n".join(lines)


def project_result(project: Project, done: str | None = None) -> ProjectResult:
    """The project as it came; when it is large, its latest parameters and ontology before its history."""
    wire = clean_value(project.to_wire())
    notes: list[str] = []
    if len(compact(wire)) > STRUCTURE_CHARACTERS:
        for name in ("param_history", "ontologyHistory"):
            if len(wire.get(name) or ()) > 1:
                notes.append(f"{name}: the last of {len(wire[name])} versions")
                wire[name] = wire[name][-1:]
        wire, cuts = shorten(wire, STRUCTURE_CHARACTERS)
        notes += cuts
    return ProjectResult.model_validate({**wire, "version": project.version, "done": done, "shortened": notes or None})


class ProjectEntry(Entry):
    name: str
    type: str | None = None
    version: int | None = None
    created_at: str | None = None
    archived: bool | None = None


class ProjectList(Listing):
    nouns: ClassVar[tuple[str, str]] = ("project", "projects")

    docs: list[ProjectEntry]
    next_offset: int | None = None


class NewProject(Checked):
    """What ``create_project`` takes."""

    name: Name = Field(description="Unique name")
    type: TaskType = Field(description="Task type of all its tasks, e.g. imageannotation; cannot be changed")
    params: dict[str, Any] | None = Field(
        None, description="Default task parameters: instruction, geometries, labels, …"
    )
    rapid: bool | None = Field(None, description="Rapid project")
    studio: bool | None = Field(None, description="Studio project (own labelers)")
    pipeline: Literal["standard_task", "consensus_task"] | None = Field(None, description="Studio only")
    consensus_attempts: Annotated[int, Field(ge=1)] | None = Field(None, description="For consensus_task only")
    datasetId: Text | None = Field(None, description="Nucleus dataset to link")  # noqa: N815 - Scale's spelling

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        if given.get("rapid") is True and given.get("studio") is True:
            yield Problem(("studio",), "does not go with `rapid`; a project is one or the other")
        if "pipeline" in given and given.get("studio") is not True:
            yield Problem(("pipeline",), "is for Studio projects; set `studio` to true or leave it out")
        if "consensus_attempts" in given and given.get("pipeline") != "consensus_task":
            yield Problem(("consensus_attempts",), 'goes only with pipeline "consensus_task"')
        yield from problems_with_params(given.get("params"), given.get("type"), ("params",))


@tool(
    title="Create a project",
    toolset="projects",
    risk="write",
    keywords=("new project", "set up", "start", "workspace", "campaign"),
)
async def create_project(call: Call, project: NewProject) -> ProjectResult:
    """Create a project of one task type with default parameters for its tasks. Costs nothing by itself. Returns the
    project."""
    given = project.model_dump(mode="json", exclude_none=True)
    created = project_result(await call.api.projects.create(**given), "created")
    return created.then(
        "Next: create_batch, then a create tool of this type with the batch."
        if project.rapid
        else "Next: a create tool of this type, with this project or a batch of it."
    )


@tool(
    title="Get a project",
    toolset="projects",
    risk="read",
    keywords=("project", "settings", "parameters", "instruction", "ontology", "configuration", "versions"),
    action="SCALE_AI_GET_PROJECT",
)
async def get_project(
    call: Call,
    *,
    name: ProjectName,
    part: Annotated[Text | None, Field(description="Only this, e.g. param_history[0]")] = None,
) -> ProjectResult:
    """Read one project: type, parameter versions, ontology. Large values are cut; read on with part."""
    project = await call.api.projects.get(name)
    if part is None:
        return project_result(project)
    found = part_of(clean_value(project.to_wire()), part)
    return ProjectResult(
        name=project.name,
        type=project.type,
        version=project.version,
        part=part,
        value=found.value,
        total=found.total,
        shortened=found.notes or None,
    )


@tool(
    title="List projects",
    toolset="projects",
    risk="read",
    keywords=("projects", "which projects", "overview", "find project", "archived"),
    action="SCALE_AI_LIST_PROJECTS",
)
async def list_projects(
    call: Call,
    *,
    archived: Annotated[bool | None, Field(description="Default all")] = None,
    limit: Limit = DEFAULT_LIMIT,
    offset: Offset = 0,
) -> ProjectList:
    """List the account's projects with type and parameter version. Use get_project for details."""
    projects = await call.api.projects.list(archived)
    rows = [
        entry(
            {
                "name": clean(project.name),
                "type": project.type,
                "version": project.version,
                "created_at": project.created_at,
                "archived": project.archived or None,
            }
        )
        for project in projects
        if visible(project.name, call.visible_projects)
    ]
    return by_rows(ProjectList, rows, offset=offset, limit=limit)


class NewParams(Checked):
    """What ``set_project_params`` takes: in Scale's form, task parameters stand beside ``patch``; both ways work."""

    model_config = ConfigDict(extra="allow")

    name: Name = Field(description="Project name")
    patch: bool | None = Field(None, description="true keeps the rest; false drops it")
    instruction: Text | None = Field(None, description="Markdown for labelers")
    params: dict[str, Any] | None = Field(None, description="Others, e.g. geometries, labels, fields")

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        params = given.get("params")
        direct = {name: value for name, value in given.items() if name not in cls.model_fields}
        if not direct and "instruction" not in given and not params:
            yield Problem(("params",), "is missing; name at least one parameter to set, such as `instruction`")
        for name in direct:
            if not is_task_parameter(name):
                meant = did_you_mean(name, cls.model_fields)
                cure = f"did you mean `{meant}`?" if meant else "if it is a task parameter, put it into `params`"
                yield Problem((name,), f"is unknown here; {cure}")
        for name in params if isinstance(params, dict) else ():
            if name == "patch":
                yield Problem(("params", name), "is no task parameter; give it as the argument `patch`")
            elif name in given and name != "name":
                yield Problem(("params", name), "is given twice; give it once")
        yield from problems_with_params(direct, None, ())
        yield from problems_with_params(params, None, ("params",))

    def task_params(self) -> dict[str, Any]:
        given = self.model_dump(mode="json", exclude_none=True, exclude={"name", "patch", "params"})
        return {**(self.params or {}), **given}


def _milder_as_a_patch(arguments: NewParams) -> Risk:
    return "write" if arguments.patch else "destroy"


@tool(
    title="Set a project's parameters",
    toolset="projects",
    risk="destroy",
    risk_of=_milder_as_a_patch,
    consequence="The new version consists only of what is sent; every other parameter is dropped.",
    keywords=("change instruction", "update project", "settings", "defaults", "guidelines", "taxonomy", "parameters"),
    action="SCALE_AI_SET_PROJECT_PARAMS",
)
async def set_project_params(call: Call, new: NewParams) -> ProjectResult:
    """Make a new version of a project's task parameters, for future tasks. patch true keeps what is not given (a
    given object replaces the old one whole); patch false drops it. Without patch it works only if nothing would be
    lost. Returns the project."""
    if new.patch is None:
        await _refuse_to_wipe(call, new)
    project = await call.api.projects.set_params(new.name, new.task_params(), patch=bool(new.patch))
    how = "merged into the parameters" if new.patch else "replaced all parameters"
    return project_result(project, f"{', '.join(new.task_params())} {how}, now version {project.version}").then(
        "It holds for tasks created from now on."
    )


async def _refuse_to_wipe(call: Call, new: NewParams) -> None:
    """Replacing everything is Scale's default; here it has to be said, unless there is nothing to lose."""
    project = await call.api.projects.get(new.name)
    if lost := [name for name in project.params if name not in new.task_params()]:
        raise ToolFailure(
            f"Nothing was changed: project {quoted(new.name)} has other parameters ({quoted(', '.join(lost))}), and "
            "`patch` was not given. Say patch true to keep them, or patch false to drop them."
        )


@tool(
    title="Set a project's ontology",
    toolset="projects",
    risk="write",
    keywords=("taxonomy", "classes", "label set", "ontology", "choices"),
    action="SCALE_AI_SET_PROJECT_ONTOLOGY",
)
async def set_project_ontology(
    call: Call,
    *,
    name: ProjectName,
    ontology: Annotated[Ontology, Field(description="{choice, subchoices}; unique throughout")],
    version_name: Annotated[Text | None, Field(description="Its name")] = None,
) -> ProjectResult:
    """Add an ontology version, a guide for labelers (legacy; task labels come from parameters). Returns the
    project."""
    choices = [choice if isinstance(choice, str) else choice.to_wire() for choice in ontology]
    project = await call.api.projects.set_ontology(name, choices, version_name)
    return project_result(project, "has a new ontology version")

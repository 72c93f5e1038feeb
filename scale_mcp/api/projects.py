"""Projects: creation that is safe to repeat, parameters, ontology."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scale_mcp.api.client import Client
from scale_mcp.api.decode import as_object, many, one
from scale_mcp.api.errors import NotFound, ScaleError
from scale_mcp.api.operation import Operation
from scale_mcp.api.recovery import is_covered, settle
from scale_mcp.api.retry import Repeat
from scale_mcp.models.projects import Project, ProjectTemplate
from scale_mcp.text import one_line

if TYPE_CHECKING:
    from builtins import list as List  # noqa: N812  # the class has a method of that name


class Projects:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def create(
        self,
        name: str,
        type: str,  # noqa: A002  # Scale's word
        *,
        params: dict[str, Any] | None = None,
        rapid: bool | None = None,
        studio: bool | None = None,
        pipeline: str | None = None,
        consensus_attempts: int | None = None,
        datasetId: str | None = None,  # noqa: N803  # Scale's spelling
    ) -> Project:
        """Create a project of one task type. Names are unique, which makes it safe to repeat.

        Raises Conflict when the name was taken before, or belongs to a project with other content.
        """
        given = {
            "name": name,
            "type": type,
            "params": params,
            "rapid": rapid,
            "studio": studio,
            "pipeline": pipeline,
            "consensus_attempts": consensus_attempts,
            "datasetId": datasetId,
        }
        body = {key: value for key, value in given.items() if value is not None}
        try:
            return await self._client.call(
                Operation("POST", "/projects", body=body, repeat=Repeat.RECOVER), one(Project)
            )
        except ScaleError as error:
            failure = error
        return await settle(
            failure,
            look_up=lambda: self._find(name),
            difference=lambda project: _difference(project, type, params),
            name=f'project named "{one_line(name, 200)}"',
            find_out="To find out, get the project; creating it again under that name cannot make it twice.",
            options=self._client.options,
        )

    async def get(self, name: str) -> Project:
        operation = Operation("GET", "/projects/{project_name}", {"project_name": name})
        return await self._client.call(operation, one(Project))

    async def list(self, archived: bool | None = None) -> List[Project]:
        """All projects; ``archived`` keeps only those that are, or are not, archived. Scale does not page them."""
        return await self._client.call(Operation("GET", "/projects", query={"archived": archived}), many(Project))

    async def set_params(self, name: str, params: dict[str, Any], patch: bool) -> Project:
        """Add a version of the project's parameters.

        With ``patch`` it is the last version with ``params`` laid over it; without, it consists of ``params`` alone.
        """
        operation = Operation(
            "POST",
            "/projects/{project_name}/setParams",
            {"project_name": name},
            body={**params, "patch": patch},
            repeat=Repeat.ONCE,
            find_out="get the project and look at the last element of param_history.",
        )
        return await self._client.call(operation, one(Project))

    async def set_ontology(
        self, name: str, ontology: List[Any] | dict[str, Any], version_name: str | None = None
    ) -> Project:
        """Add a version of the project's ontology. Scale may answer without a body; the project is read then."""
        body: dict[str, Any] = {"ontology": ontology}
        if version_name is not None:
            body["name"] = version_name
        operation = Operation(
            "POST",
            "/projects/{project_name}/setOntology",
            {"project_name": name},
            body=body,
            repeat=Repeat.ONCE,
            find_out="get the project and look at ontologyHistory.",
            plain_answer=True,
        )
        answer = await self._client.call(operation, as_object)
        return Project.model_validate(answer) if "name" in answer and "type" in answer else await self.get(name)

    async def template(self, name: str) -> ProjectTemplate:
        """The task template of a text collection or chat project; others have none, which is an error."""
        operation = Operation("GET", "/projects/{project_name}/taskTemplates", {"project_name": name})
        return await self._client.call(operation, one(ProjectTemplate))

    async def _find(self, name: str) -> Project | None:
        try:
            return await self.get(name)
        except NotFound:
            return None


def _difference(project: Project, task_type: str, params: dict[str, Any] | None) -> str | None:
    if project.type not in (None, task_type):
        return "type"
    first = project.param_history[0] if project.param_history else {}
    return next((key for key, value in (params or {}).items() if not is_covered({key: value}, first)), None)

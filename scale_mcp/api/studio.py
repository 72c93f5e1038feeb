"""Studio: assignments, groups and the order of batches."""

from __future__ import annotations

from collections.abc import Sequence

from scale_mcp.api.client import Client
from scale_mcp.api.decode import many, one, string_lists
from scale_mcp.api.operation import Operation
from scale_mcp.api.retry import Repeat
from scale_mcp.models.studio import Assignments, ProjectGroup, StudioBatch

GROUPS = "/studio/projects/{project_name}/groups"


class Studio:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def assignments(self) -> Assignments:
        """Project names by e-mail address, for active people."""
        return await self._client.call(Operation("GET", "/studio/assignments"), string_lists)

    async def add_assignments(self, emails: Sequence[str], projects: Sequence[str]) -> Assignments:
        """Assign each of these people to each of these projects. Gives all assignments of the team."""
        return await self._assign("add", emails, projects)

    async def remove_assignments(self, emails: Sequence[str], projects: Sequence[str]) -> Assignments:
        """Take each of these people off each of these projects. Gives all assignments of the team."""
        return await self._assign("remove", emails, projects)

    async def _assign(self, verb: str, emails: Sequence[str], projects: Sequence[str]) -> Assignments:
        body = {"emails": [*emails], "projects": [*projects]}
        return await self._client.call(Operation("POST", f"/studio/assignments/{verb}", body=body), string_lists)

    async def batches(self) -> list[StudioBatch]:
        """The pending batches, the most urgent first."""
        return await self._client.call(Operation("GET", "/studio/batches"), many(StudioBatch))

    async def set_priorities(self, names: Sequence[str]) -> list[StudioBatch]:
        """Put the pending batches in this order, the most urgent first. All of them must be named."""
        body = {"batches": [{"name": name} for name in names]}
        return await self._client.call(
            Operation("POST", "/studio/batches/set_priorities", body=body), many(StudioBatch)
        )

    async def reset_priorities(self) -> list[StudioBatch]:
        """Back to the default order: calibration batches first, then the oldest first."""
        return await self._client.call(Operation("POST", "/studio/batches/reset_priorities"), many(StudioBatch))

    async def groups(self, project: str) -> list[ProjectGroup]:
        return await self._client.call(Operation("GET", GROUPS, {"project_name": project}), many(ProjectGroup))

    async def create_group(self, project: str, name: str, emails: Sequence[str]) -> ProjectGroup:
        """Make a group of people who are assigned to the project."""
        operation = Operation(
            "POST",
            GROUPS,
            {"project_name": project},
            body={"name": name, "emails": [*emails]},
            repeat=Repeat.ONCE,
            find_out="list the project's groups.",
        )
        return await self._client.call(operation, one(ProjectGroup))

    async def update_group(
        self, project: str, group: str, add_emails: Sequence[str] = (), remove_emails: Sequence[str] = ()
    ) -> ProjectGroup:
        """Add people to a group and take people out of it."""
        operation = Operation(
            "PUT",
            GROUPS + "/{group_name}",
            {"project_name": project, "group_name": group},
            body={"add_emails": [*add_emails], "remove_emails": [*remove_emails]},
        )
        return await self._client.call(operation, one(ProjectGroup))

    async def assign_groups(self, batch: str, groups: Sequence[str]) -> StudioBatch:
        """Let these groups, and no others, work on a batch. An e-mail address stands for one person."""
        operation = Operation("PUT", "/studio/batches/{batch_name}", {"batch_name": batch}, body={"groups": [*groups]})
        return await self._client.call(operation, one(StudioBatch))

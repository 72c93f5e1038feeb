"""The people of the account."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scale_mcp.api.client import Client
from scale_mcp.api.decode import many
from scale_mcp.api.operation import Operation
from scale_mcp.api.retry import Repeat
from scale_mcp.models.team import Teammate

if TYPE_CHECKING:
    from builtins import list as List  # noqa: N812  # the class has a method of that name


class Team:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def list(self) -> List[Teammate]:
        """Everybody, invited people included."""
        return await self._client.call(Operation("GET", "/teams"), many(Teammate))

    async def invite(self, emails: Sequence[str], team_role: str) -> List[Teammate]:
        """Send invitations. Gives the whole team; the invited may be missing from it for some seconds."""
        operation = Operation(
            "POST",
            "/teams/invite",
            body={"emails": [*emails], "team_role": team_role},
            repeat=Repeat.ONCE,
            find_out="list the teammates and look for the invited; they may take half a minute to show up.",
        )
        return await self._client.call(operation, many(Teammate))

    async def set_role(self, emails: Sequence[str], team_role: str) -> List[Teammate]:
        """Change the role of people, admins excepted. Disabled people are enabled again. Gives the whole team."""
        body = {"emails": [*emails], "team_role": team_role}
        return await self._client.call(Operation("POST", "/teams/set_role", body=body), many(Teammate))

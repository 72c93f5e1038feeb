"""People of the account: who they are, inviting them, their roles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from scale_mcp.models.common import TeamRole
from scale_mcp.models.field_types import Emails
from scale_mcp.models.team import Teammate
from scale_mcp.tools.card import Call, tool
from scale_mcp.tools.outputs import Entry, Listing, by_rows, entries
from scale_mcp.tools.parameters import Offset

COLUMNS = ("email", "role", "firstName", "lastName", "company", "isStudioLabeler", "expiry")


class TeammateEntry(Entry):
    email: str
    role: str | None = Field(None, description="labeler, member, manager, admin, invited or disabled")
    firstName: str | None = None  # noqa: N815 - Scale's spelling, here and below
    lastName: str | None = None  # noqa: N815
    company: str | None = None
    isStudioLabeler: bool | None = None  # noqa: N815
    expiry: str | None = Field(None, description="When an invitation ends")


class TeamList(Listing):
    nouns: ClassVar[tuple[str, str]] = ("teammate", "teammates")

    docs: list[TeammateEntry]
    next_offset: int | None = None
    not_listed_yet: list[str] | None = Field(None, description="People that Scale does not list yet")


def _rows(team: Sequence[Teammate]) -> list[dict[str, Any]]:
    return entries(team, COLUMNS)


def _concerned(team: Sequence[Teammate], emails: Sequence[str], done: str) -> TeamList:
    """The people that a change was about. The rest of the team has its own list."""
    wanted = {email.casefold() for email in emails}
    concerned = [mate for mate in team if mate.email.casefold() in wanted]
    present = {mate.email.casefold() for mate in concerned}
    absent = [email for email in emails if email.casefold() not in present]
    note = f"{done} The team has {len(team)} people: list_teammates shows all."
    if absent:
        note += f" Not listed yet: {', '.join(absent[:10])}; new people may take some seconds to appear."
    return by_rows(TeamList, _rows(concerned), limit=100, note=note, not_listed_yet=absent or None)


@tool(
    title="List teammates",
    toolset="team",
    risk="read",
    keywords=("team", "people", "members", "users", "who", "roles", "invited", "colleagues"),
    action="SCALE_AI_GET_TEAMS",
)
async def list_teammates(call: Call, *, offset: Offset = 0) -> TeamList:
    """List the people of the account with their roles, invited ones included."""
    return by_rows(TeamList, _rows(await call.api.team.list()), offset=offset)


@tool(
    title="Invite team members",
    toolset="team",
    risk="write",
    keywords=("invite", "add people", "new member", "add labeler", "onboard"),
    action="SCALE_AI_INVITE_TEAM_MEMBER",
)
async def invite_team_member(
    call: Call,
    *,
    emails: Annotated[Emails, Field(description="Whom to invite")],
    team_role: Annotated[TeamRole, Field(description="labeler: Studio only")],
) -> TeamList:
    """Invite people to the account; each gets an e-mail at once. Returns their entries."""
    team = await call.api.team.invite(emails, team_role)
    return _concerned(team, emails, f"Invited as {team_role}: {len(emails)}.")


@tool(
    title="Set teammates' role",
    toolset="team",
    risk="write",
    idempotent=True,
    keywords=("role", "permission", "promote", "demote", "rights", "enable"),
)
async def set_teammate_role(
    call: Call,
    *,
    emails: Annotated[Emails, Field(description="Whose role to set")],
    team_role: Annotated[TeamRole, Field(description="labeler: Studio only")],
) -> TeamList:
    """Change what people may do; also enables disabled ones again. Not for admins. Returns their entries."""
    team = await call.api.team.set_role(emails, team_role)
    return _concerned(team, emails, f"Role set to {team_role}: {len(emails)}.")

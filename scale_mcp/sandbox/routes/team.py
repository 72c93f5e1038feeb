"""The team: who belongs to an account, invitations and roles."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from scale_mcp.sandbox.http import ApiError, Reply, Request, Route, invalid, required

if TYPE_CHECKING:
    from sqlite3 import Row

ROLES = ("labeler", "member", "manager")
EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>.]+(\.[^@\s,;<>.]+)+")
COMPANY = "Sandbox"


def emails_of(body: dict[str, Any], name: str = "emails") -> list[str]:
    """A required list of e-mail addresses without repeats. 400 when it is missing, empty or holds something else."""
    value = body.get(name)
    if not isinstance(value, list) or not value:
        raise required(name)
    unique: dict[str, str] = {}
    for email in value:
        if not isinstance(email, str) or not EMAIL.fullmatch(email.strip()):
            raise invalid(f'"{name}" must contain valid e-mail addresses')
        unique.setdefault(email.strip().lower(), email.strip())
    return list(unique.values())


def _role_of(body: dict[str, Any]) -> str:
    role = body.get("team_role")
    if role not in ROLES:
        raise invalid(f'"team_role" must be one of [{", ".join(ROLES)}]')
    return str(role)


def describe(row: Row) -> dict[str, Any]:
    """Scale's Teammate object. The state of someone who cannot work yet, or any more, stands in place of the role."""
    shown = {
        "email": row["email"],
        "role": row["role"] if row["state"] == "active" else row["state"],
        "isStudioLabeler": row["role"] == "labeler",
        "disableRapidEmails": False,
    }
    if row["first_name"] is not None:
        shown |= {"firstName": row["first_name"], "lastName": row["last_name"], "company": COMPANY}
    if row["state"] == "invited":
        shown["expiry"] = row["expiry"]
    return shown


def _team(request: Request) -> Reply:
    return Reply([describe(row) for row in request.sandbox.team.people(request.account.id)])


def list_team(request: Request) -> Reply:
    """``GET /teams``: everybody, invited and disabled people included."""
    return _team(request)


def invite(request: Request) -> Reply:
    """``POST /teams/invite``: people appear at once as invited (decisions.INVITE_AGAIN: repeats renew)."""
    body = request.object()
    request.sandbox.team.invite(request.account.id, emails_of(body), _role_of(body))
    return _team(request)


def set_role(request: Request) -> Reply:
    """``POST /teams/set_role``: not for admins; somebody disabled becomes active again; all or nobody."""
    body = request.object()
    emails, role = emails_of(body), _role_of(body)
    present = {row["email"].lower(): row for row in request.sandbox.team.people(request.account.id)}
    for email in emails:
        row = present.get(email.lower())
        if row is None:
            raise ApiError(404, f"There is no teammate with the e-mail {email}.")
        if row["role"] == "admin":
            raise ApiError(400, f"The role of an admin ({email}) cannot be changed.")
    request.sandbox.team.set_role(request.account.id, emails, role)
    return _team(request)


ROUTES = [
    Route("GET", "/teams", list_team, "list_teams", "List all teammates"),
    Route("POST", "/teams/invite", invite, "invite_team", "Invite people to the team"),
    Route("POST", "/teams/set_role", set_role, "set_teammate_role", "Change the role of teammates"),
]

"""The team: who belongs to an account, invitations and roles."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from scale_mcp.sandbox import decisions, ids
from scale_mcp.sandbox.http import ApiError, Reply, Request, Route
from scale_mcp.sandbox.workforce import make_pool

if TYPE_CHECKING:
    from sqlite3 import Row

    from scale_mcp.sandbox.sandbox import Sandbox

ROLES = ("labeler", "member", "manager")
EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>.]+(\.[^@\s,;<>.]+)+")
COMPANY = "Sandbox"

SCHEMA = """
CREATE TABLE IF NOT EXISTS teammates (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id TEXT NOT NULL,
    id TEXT NOT NULL,
    email TEXT NOT NULL COLLATE NOCASE,
    role TEXT NOT NULL,
    state TEXT NOT NULL,
    first_name TEXT,
    last_name TEXT,
    expiry TEXT,
    UNIQUE (account_id, email)
);
"""


def people(sandbox: Sandbox, account_id: str) -> list[Row]:
    """The rows of an account's team in the order of joining. A new account starts with the sandbox's people."""
    query = "SELECT * FROM teammates WHERE account_id = ? ORDER BY position"
    rows = sandbox.store.query(query, (account_id,))
    if rows:
        return rows
    with sandbox.store.transaction():
        for email, role, state, first_name, last_name in _founders(sandbox):
            sandbox.store.execute(
                "INSERT INTO teammates (account_id, id, email, role, state, first_name, last_name)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (account_id, ids.object_id(), email, role, state, first_name, last_name),
            )
    return sandbox.store.query(query, (account_id,))


def _founders(sandbox: Sandbox) -> list[tuple[str, str, str, str, str]]:
    """Office people of every role, one of them disabled, and the simulated workforce as labelers."""
    admin, manager, member, former = decisions.FIRST_TEAM.value
    office = [
        (admin, "admin", "active", "Ada", "Admin"),
        (manager, "manager", "active", "Max", "Manager"),
        (member, "member", "active", "Mia", "Member"),
        (former, "member", "disabled", "Fay", "Former"),
    ]
    labelers = []
    for worker in make_pool(sandbox.options.workers, sandbox.options.seed):
        first = worker.email.partition("@")[0].partition(".")[0].capitalize()
        labelers.append((worker.email, "labeler", "active", first, "Labeler"))
    return office + labelers


def active_people(sandbox: Sandbox, account_id: str) -> dict[str, Row]:
    """The people who can work, by lower-case e-mail: neither invited nor disabled."""
    return {row["email"].lower(): row for row in people(sandbox, account_id) if row["state"] == "active"}


def emails_of(body: dict[str, Any], name: str = "emails") -> list[str]:
    """A required list of e-mail addresses without repeats. 400 when it is missing, empty or holds something else."""
    value = body.get(name)
    if not isinstance(value, list) or not value:
        raise ApiError(400, f'Parameter is invalid, reason: "{name}" is required')
    unique: dict[str, str] = {}
    for email in value:
        if not isinstance(email, str) or not EMAIL.fullmatch(email.strip()):
            raise ApiError(400, f'Parameter is invalid, reason: "{name}" must contain valid e-mail addresses')
        unique.setdefault(email.strip().lower(), email.strip())
    return list(unique.values())


def _role_of(body: dict[str, Any]) -> str:
    role = body.get("team_role")
    if role not in ROLES:
        raise ApiError(400, f'Parameter is invalid, reason: "team_role" must be one of [{", ".join(ROLES)}]')
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
    return Reply([describe(row) for row in people(request.sandbox, request.account.id)])


def list_team(request: Request) -> Reply:
    """``GET /teams``: everybody, invited and disabled people included."""
    return _team(request)


def invite(request: Request) -> Reply:
    """``POST /teams/invite``: people appear at once as invited (decisions.INVITE_AGAIN: repeats renew)."""
    body = request.object()
    emails, role = emails_of(body), _role_of(body)
    sandbox, account_id = request.sandbox, request.account.id
    present = {row["email"].lower(): row["state"] for row in people(sandbox, account_id)}
    expiry = sandbox.clock.iso(sandbox.clock.now() + decisions.INVITATION_LASTS.value)
    with sandbox.store.transaction():
        for email in emails:
            state = present.get(email.lower())
            if state is None:
                sandbox.store.execute(
                    "INSERT INTO teammates (account_id, id, email, role, state, expiry) VALUES (?, ?, ?, ?, ?, ?)",
                    (account_id, ids.object_id(), email, role, "invited", expiry),
                )
            elif state != "active":
                sandbox.store.execute(
                    "UPDATE teammates SET role = ?, state = 'invited', expiry = ? WHERE account_id = ? AND email = ?",
                    (role, expiry, account_id, email),
                )
    return _team(request)


def set_role(request: Request) -> Reply:
    """``POST /teams/set_role``: not for admins; somebody disabled becomes active again; all or nobody."""
    body = request.object()
    emails, role = emails_of(body), _role_of(body)
    sandbox, account_id = request.sandbox, request.account.id
    present = {row["email"].lower(): row for row in people(sandbox, account_id)}
    for email in emails:
        row = present.get(email.lower())
        if row is None:
            raise ApiError(404, f"There is no teammate with the e-mail {email}.")
        if row["role"] == "admin":
            raise ApiError(400, f"The role of an admin ({email}) cannot be changed.")
    with sandbox.store.transaction():
        for email in emails:
            sandbox.store.execute(
                "UPDATE teammates SET role = ?, state = CASE state WHEN 'disabled' THEN 'active' ELSE state END"
                " WHERE account_id = ? AND email = ?",
                (role, account_id, email),
            )
    return _team(request)


def add_active(sandbox: Sandbox, account_id: str, email: str, role: str) -> None:
    """Make somebody an active teammate at once, as if an invitation had been accepted (used for seeding)."""
    people(sandbox, account_id)
    first = email.partition("@")[0].partition(".")[0].capitalize()
    sandbox.store.execute(
        "INSERT INTO teammates (account_id, id, email, role, state, first_name, last_name)"
        " VALUES (?, ?, ?, ?, 'active', ?, ?) ON CONFLICT (account_id, email)"
        " DO UPDATE SET role = excluded.role, state = 'active', first_name = excluded.first_name,"
        " last_name = excluded.last_name, expiry = NULL",
        (account_id, ids.object_id(), email, role, first, role.capitalize()),
    )


ROUTES = [
    Route("GET", "/teams", list_team, "list_teams", "List all teammates"),
    Route("POST", "/teams/invite", invite, "invite_team", "Invite people to the team"),
    Route("POST", "/teams/set_role", set_role, "set_teammate_role", "Change the role of teammates"),
]

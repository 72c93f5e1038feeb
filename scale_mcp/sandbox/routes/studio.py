"""Studio: who is assigned to which project, groups of labelers, and the order of the pending batches."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from scale_mcp.sandbox import batches, decisions
from scale_mcp.sandbox.http import ApiError, Reply, Request, Route, invalid, required
from scale_mcp.sandbox.routes.team import emails_of

if TYPE_CHECKING:
    from sqlite3 import Row

    from scale_mcp.sandbox.accounts import Account
    from scale_mcp.sandbox.batches import Batch
    from scale_mcp.sandbox.sandbox import Sandbox

# decisions.STUDIO_PENDING, STUDIO_NEW_BATCH_LAST: those that were given a place come first, in its order; the rest
# follow in the default order: calibration batches, then the oldest.
PENDING = f"""
SELECT pending.* FROM ({batches.SELECT} WHERE b.account_id = ? AND b.status = 'in_progress' AND p.flavour = 'studio')
AS pending LEFT JOIN studio_batches s ON s.batch_no = pending.no
ORDER BY s.priority IS NULL, s.priority, pending.calibration DESC, pending.no
"""  # noqa: S608 - nothing but constants


# ------------------------------------------------------------------------------------------------------- assignments


def list_assignments(request: Request) -> Reply:
    """``GET /studio/assignments``: the projects of every active person, by e-mail."""
    return Reply(_assignments(request.sandbox, request.account))


def _assignments(sandbox: Sandbox, account: Account) -> dict[str, list[str]]:
    assigned = sandbox.studio.assigned_projects(account.id)
    return {row["email"]: assigned.get(email, []) for email, row in sandbox.team.active(account.id).items()}


def add_assignments(request: Request) -> Reply:
    """``POST /studio/assignments/add``: every e-mail gets every project. 404 for strangers, 400 for who cannot work."""
    emails, projects = _pairs(request)
    sandbox, account = request.sandbox, request.account
    active = sandbox.team.active(account.id)
    for email in emails:
        if email.lower() not in active:
            raise ApiError(400, f"{email} is not an active member of the team.")
    for email in emails:
        for project in projects:
            sandbox.studio.assign(account.id, active[email.lower()]["email"], project)
    return _reshuffled(request, Reply(_assignments(sandbox, account)))


def remove_assignments(request: Request) -> Reply:
    """``POST /studio/assignments/remove``: pairs that are not there are ignored (decisions.STUDIO_LEAVING)."""
    emails, projects = _pairs(request)
    sandbox, account = request.sandbox, request.account
    for project in projects:
        sandbox.studio.take_off(account.id, emails, project)
    return _reshuffled(request, Reply(_assignments(sandbox, account)))


def _reshuffled(request: Request, reply: Reply) -> Reply:
    """Others may work now on what is waiting: somebody looks at the queue."""
    sandbox = request.sandbox
    sandbox.engine.expect(sandbox.account_no(request.account.id), sandbox.clock.now())
    return reply


def _pairs(request: Request) -> tuple[list[str], list[str]]:
    """The e-mails and projects of a body, all of them known: 400 for missing ones, 404 for unknown ones.

    See decisions.STUDIO_STRANGER and STUDIO_ANY_PROJECT.
    """
    body = request.object()
    emails, projects = emails_of(body), body.get("projects")
    if not isinstance(projects, list) or not projects or not all(isinstance(name, str) and name for name in projects):
        raise required("projects")
    members = {row["email"].lower() for row in request.sandbox.team.people(request.account.id)}
    for email in emails:
        if email.lower() not in members:
            raise ApiError(404, f"There is no teammate with the e-mail {email}.")
    for name in projects:
        request.sandbox.projects.get(request.account, name)
    return emails, list(dict.fromkeys(projects))


# ------------------------------------------------------------------------------------------------------------ groups


def list_groups(request: Request) -> Reply:
    """``GET /studio/projects/{project}/groups``: the groups of a project, in the order of their making."""
    project = request.sandbox.projects.get(request.account, request.params["project"])
    groups = request.sandbox.studio.groups(request.account.id, project.name)
    return Reply([_describe_group(request, group) for group in groups])


def create_group(request: Request) -> Reply:
    """``POST /studio/projects/{project}/groups``: people assigned to the project, under a name of their own."""
    project = request.sandbox.projects.get(request.account, request.params["project"])
    body = request.object()
    name = body.get("name")
    if not isinstance(name, str) or not name.strip():
        raise required("name")
    emails = _assigned_to(request, project.name, emails_of(body))
    sandbox, account_id = request.sandbox, request.account.id
    if sandbox.studio.group(account_id, project.name, name) is not None:
        raise ApiError(decisions.STUDIO_GROUP_TAKEN.value, f'The project already has a group with the name "{name}".')
    sandbox.studio.add_group(account_id, project.name, name, emails, sandbox.clock.now())
    return _answer_group(request, project.name, name)


def update_group(request: Request) -> Reply:
    """``PUT /studio/projects/{project}/groups/{group}``: people join and leave; both lists may be absent or empty."""
    project = request.sandbox.projects.get(request.account, request.params["project"])
    name = request.params["group"]
    studio = request.sandbox.studio
    group = studio.group(request.account.id, project.name, name)
    if group is None:
        raise ApiError(404, f'Group "{name}" not found.')
    body = request.object()
    joining = _assigned_to(request, project.name, emails_of(body, "add_emails") if body.get("add_emails") else [])
    leaving = {email.lower() for email in (emails_of(body, "remove_emails") if body.get("remove_emails") else [])}
    members = {email.lower(): email for email in [*json.loads(group["emails"]), *joining]}
    studio.set_members(group, [email for low, email in members.items() if low not in leaving])
    return _reshuffled(request, _answer_group(request, project.name, name))


def _assigned_to(request: Request, project: str, emails: list[str]) -> list[str]:
    """The e-mails as the team spells them, when every one is assigned to the project; else 400."""
    working = {
        email.lower(): email
        for email, projects in _assignments(request.sandbox, request.account).items()
        if project in projects
    }
    for email in emails:
        if email.lower() not in working:
            raise ApiError(400, f'{email} is not assigned to the project "{project}".')
    return [working[email.lower()] for email in emails]


def _answer_group(request: Request, project: str, name: str) -> Reply:
    group = request.sandbox.studio.group(request.account.id, project, name)
    assert group is not None
    return Reply(_describe_group(request, group))


def _describe_group(request: Request, group: Row) -> dict[str, Any]:
    known = {row["email"].lower(): row["id"] for row in request.sandbox.team.people(request.account.id)}
    emails: list[str] = json.loads(group["emails"])
    return {
        "id": group["id"],
        "name": group["name"],
        "numWorkers": len(emails),
        "isSingleton": len(emails) == 1,
        "workers": [{"id": known[email.lower()], "email": email} for email in emails],
    }


# ----------------------------------------------------------------------------------------------------------- batches


def list_batches(request: Request) -> Reply:
    """``GET /studio/batches``: the pending batches in the order in which they are worked on."""
    return Reply([_describe_batch(request, batch) for batch in _pending(request)])


def set_priorities(request: Request) -> Reply:
    """``POST /studio/batches/set_priorities``: every pending batch once, the most urgent first."""
    wanted = request.object().get("batches", [])
    if not isinstance(wanted, list) or not all(isinstance(b, dict) and isinstance(b.get("name"), str) for b in wanted):
        raise invalid('"batches" must be an array of objects with a "name"')
    names = [batch["name"] for batch in wanted]
    pending = {batch.name: batch for batch in _pending(request)}
    unknown = [name for name in names if name not in pending]
    missing = [name for name in pending if name not in names]
    if unknown or missing or len(names) != len(pending):
        problems = [f"not pending: {', '.join(unknown)}"] * bool(unknown)
        problems += [f"missing: {', '.join(missing)}"] * bool(missing)
        problems += ["some are named twice"] * (len(set(names)) < len(names))
        raise ApiError(400, f'"batches" must name every pending batch exactly once; {"; ".join(problems)}.')
    for place, name in enumerate(names, start=1):
        request.sandbox.studio.put(request.account.id, pending[name].no, place=place)
    return _queued_again(request)


def reset_priorities(request: Request) -> Reply:
    """``POST /studio/batches/reset_priorities``: back to calibration batches first, then the oldest."""
    request.sandbox.studio.forget_places(request.account.id)
    return _queued_again(request)


def _queued_again(request: Request) -> Reply:
    """The pending batches, whose tasks also wait for the workforce in the new order."""
    sandbox = request.sandbox
    for batch in _pending(request):
        sandbox.engine.release(sandbox.account_no(request.account.id), batch, sandbox.clock.now())
    return list_batches(request)


def assign_groups(request: Request) -> Reply:
    """``PUT /studio/batches/{batch}``: these groups, and no others, work on it; an e-mail stands for one person."""
    batch = request.sandbox.batches.get(request.account, request.params["batch"])
    if batch.flavour != "studio":
        raise ApiError(400, f'The batch "{batch.name}" does not belong to a Studio project.')
    names = request.object().get("groups", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise invalid('"groups" must be an array of strings')
    studio = request.sandbox.studio
    groups = {row["name"] for row in studio.groups(request.account.id, batch.project)}
    for name in names:
        if name in groups:
            continue
        if "@" not in name:
            raise ApiError(404, f'Group "{name}" not found.')
        _assigned_to(request, batch.project, [name])
    studio.put(request.account.id, batch.no, groups=list(dict.fromkeys(names)))
    return _reshuffled(request, Reply(_describe_batch(request, batch)))


def _pending(request: Request) -> list[Batch]:
    return [batches.batch_of(row) for row in request.sandbox.store.query(PENDING, (request.account.id,))]


def _describe_batch(request: Request, batch: Batch) -> dict[str, Any]:
    studio = request.sandbox.studio
    counts = request.sandbox.batches.counts(batch)
    project = request.sandbox.projects.get(request.account, batch.project)
    shown = {
        "id": batch.id,
        "name": batch.name,
        "projectId": project.id,
        "projectName": project.name,
        "batchType": "Calibration" if batch.calibration else "Production",
        "total": sum(counts.values()),
        "completed": counts.get("completed", 0),
        "groups": studio.groups_of(batch.no),
    }
    place = studio.place(batch.no)
    if place is not None:
        shown["studioPriority"] = place
    return shown


ROUTES = [
    Route("GET", "/studio/assignments", list_assignments, "list_studio_assignments", "List all Studio assignments"),
    Route("POST", "/studio/assignments/add", add_assignments, "add_studio_assignments", "Assign people to projects"),
    Route(
        "POST",
        "/studio/assignments/remove",
        remove_assignments,
        "remove_studio_assignments",
        "Take people off projects",
    ),
    Route("GET", "/studio/projects/{project}/groups", list_groups, "list_project_groups", "List labeler groups"),
    Route("POST", "/studio/projects/{project}/groups", create_group, "create_project_group", "Make a labeler group"),
    Route(
        "PUT",
        "/studio/projects/{project}/groups/{group}",
        update_group,
        "update_project_group",
        "Let people join and leave a labeler group",
    ),
    Route("GET", "/studio/batches", list_batches, "list_studio_batches", "List the pending Studio batches"),
    Route(
        "POST",
        "/studio/batches/set_priorities",
        set_priorities,
        "set_studio_batch_priorities",
        "Put the pending Studio batches in order",
    ),
    Route(
        "POST",
        "/studio/batches/reset_priorities",
        reset_priorities,
        "reset_studio_batch_priorities",
        "Put the pending Studio batches in the default order",
    ),
    Route("PUT", "/studio/batches/{batch}", assign_groups, "assign_studio_batch", "Choose who works on a batch"),
]

"""Filling a sandbox with things to work with, and emptying it again."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import anyio.lowlevel

from scale_mcp.sandbox import data, uploads
from scale_mcp.sandbox.http import ApiError
from scale_mcp.sandbox.routes import team

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scale_mcp.sandbox.accounts import Account
    from scale_mcp.sandbox.data import Picture
    from scale_mcp.sandbox.sandbox import Sandbox

MOST_TASKS = 1_000_000
AT_ONCE = 500  # tasks per transaction
PROJECT = "seeded"
KEPT = "clock_state"  # time goes on, whatever is forgotten


async def seed(sandbox: Sandbox, account: Account, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Make what is wanted for an account, and say what was made.

    ``dataset``: true uploads the data set. ``team``: e-mails, or ``{"email", "role"}``, who become active labelers or
    what is said. ``tasks``: how many, of ``type`` (imageannotation), in ``project`` (``seeded-<type>``, made when it is
    missing) or ``batch``, with ``params`` over those that suit the data set. ``bulk``: write so many rows at once,
    ``completed`` (true) without an answer or waiting, ``unique_ids`` a prefix; no request would be as fast.
    """
    known = {"dataset", "team", "tasks", "type", "project", "batch", "params", "bulk", "unique_ids", "completed"}
    if unknown := set(wanted) - known:
        raise ApiError(400, f"A seed has no {', '.join(sorted(unknown))}; it takes {', '.join(sorted(known))}.")
    sandbox.register(account)
    made: dict[str, Any] = {"key": account.id}
    if wanted.get("dataset"):
        made["files"] = [_upload(sandbox, account, item) for item in data.catalog()]
    if "team" in wanted:
        made["team"] = _enlist(sandbox, account, wanted["team"])
    if "tasks" in wanted:
        count = wanted["tasks"]
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MOST_TASKS:
            raise ApiError(400, f'"tasks" is a number from 0 to {MOST_TASKS}.')
        if wanted.get("bulk"):
            details = {name: wanted[name] for name in ("project", "batch", "unique_ids", "completed") if name in wanted}
            sandbox.seed_tasks(account, count, **details)
            made |= {"tasks": count, **details}
        else:
            made |= await _create_tasks(sandbox, account, count, wanted)
    return made


def _upload(sandbox: Sandbox, account: Account, item: Picture) -> dict[str, Any]:
    with sandbox.store.transaction():
        kept = [
            uploads.keep(
                sandbox.store,
                account.id,
                uploads.NewFile(
                    file_name=path.name,
                    content=path.read_bytes(),
                    mime_type=uploads.mime_type_of(path.name),
                    display_name=path.name,
                    project_name=PROJECT,
                    metadata={"item": item.name},
                ),
                sandbox.clock.iso(),
            )
            for path in item.paths
        ]
    return {"name": item.name, "attachment_urls": [file["attachment_url"] for file in kept]}


def _enlist(sandbox: Sandbox, account: Account, people: Any) -> list[str]:
    described = people if isinstance(people, list) else [people]
    newcomers: list[tuple[str, str]] = []
    for one in described:
        email, role = (one.get("email"), one.get("role", "labeler")) if isinstance(one, dict) else (one, "labeler")
        if not isinstance(email, str) or not team.EMAIL.fullmatch(email) or role not in team.ROLES:
            raise ApiError(400, f'"team" is a list of e-mails, or of {{"email", "role"}} with one of {team.ROLES}.')
        newcomers.append((email, role))
    with sandbox.store.transaction():
        for email, role in newcomers:
            sandbox.team.add_active(account.id, email, role)
    return [email for email, _ in newcomers]


async def _create_tasks(sandbox: Sandbox, account: Account, count: int, wanted: Mapping[str, Any]) -> dict[str, Any]:
    task_type, own = wanted.get("type", "imageannotation"), wanted.get("params", {})
    if not isinstance(task_type, str) or not isinstance(own, dict):
        raise ApiError(400, '"type" is the name of a task type, and "params" an object.')
    place = {name: wanted[name] for name in ("project", "batch") if name in wanted}
    if not place:
        place = {"project": f"{PROJECT}-{task_type}"}
    if "batch" not in place and sandbox.projects.find(account, place["project"]) is None:
        sandbox.projects.create(account, place["project"], task_type, {})
    root = sandbox.base_url.removesuffix("/v1")
    suited = [material(item, task_type, f"{root}/_sandbox/data/") for item in data.catalog() if task_type in item.tasks]
    bodies = itertools.cycle([{**params, **own, **place} for params in suited] or [{**own, **place}])
    first = last = None
    for start in range(0, count, AT_ONCE):
        with sandbox.store.transaction():
            for _ in range(min(AT_ONCE, count - start)):
                last = sandbox.tasks.create(account, task_type, dict(next(bodies))).task_id
                first = first or last
        await anyio.lowlevel.checkpoint()
    return {"tasks": count, "first_task_id": first, "last_task_id": last, **place}


def material(item: Picture, task_type: str, root: str) -> dict[str, Any]:
    """The parameters of a task of this type about an item of the data set, whose files are below the URL ``root``."""
    params = dict(item.tasks[task_type])
    urls = [root + path.name for path in item.paths]
    if task_type == "namedentityrecognition":
        return {**params, "text": item.text()}
    if task_type == "textcollection":
        if item.kind == "text":
            return {**params, "attachments": [{"type": "text", "content": item.text()}]}
        return {**params, "attachments": [{"type": "image", "content": urls[0]}]}
    if item.kind == "lidar":
        return {**params, "attachments": urls}
    if item.kind == "video":
        if task_type == "videoannotation":
            return {**params, "attachments": urls[:-1]}
        return {**params, "attachment": urls[-1]}
    return {**params, "attachment": urls[0]}


def forget(sandbox: Sandbox, account: Account | None = None) -> None:
    """Remove everything from the database, or all that belongs to one account. Time stays as it is."""
    store = sandbox.store
    tables = {
        str(row["name"]): {str(column["name"]) for column in store.query(f"PRAGMA table_info({row['name']})")}
        for row in store.query("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    }
    # Table and column names come from our own schema.
    with store.transaction():
        if account is None:
            for table in tables.keys() - {KEPT}:
                store.execute(f"DELETE FROM {table}")  # noqa: S608
        else:
            _forget_account(sandbox, account, tables)
    sandbox.forget_accounts()


def _forget_account(sandbox: Sandbox, account: Account, tables: Mapping[str, set[str]]) -> None:
    store = sandbox.store
    number = sandbox.register(account)
    # Row numbers are used again, so a plan that is left behind would strike somebody else's task.
    store.execute(
        "DELETE FROM agenda WHERE json_extract(payload, '$.account') = :no"
        " OR json_extract(payload, '$.task') IN (SELECT seq FROM tasks WHERE account_no = :no)"
        " OR json_extract(payload, '$.delivery') IN (SELECT id FROM deliveries WHERE account_no = :no)"
        " OR json_extract(payload, '$.quality_task') IN (SELECT id FROM quality_tasks WHERE account_id = :id)",
        {"no": number, "id": account.id},
    )
    for table, columns in tables.items():
        for column, value in (("account_no", number), ("account_id", account.id)):
            if column in columns:
                store.execute(f"DELETE FROM {table} WHERE {column} = ?", (value,))  # noqa: S608
    for table, columns in tables.items():
        if "project_no" in columns and not columns & {"account_no", "account_id"}:
            store.execute(f"DELETE FROM {table} WHERE project_no NOT IN (SELECT no FROM projects)")  # noqa: S608
    store.execute("DELETE FROM accounts WHERE no = ?", (number,))

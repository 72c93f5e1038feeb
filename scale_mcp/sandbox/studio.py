"""Who works on what in Studio: assignments to projects, groups of labelers, and the groups of a batch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from scale_mcp.sandbox import ids
from scale_mcp.sandbox.store import Store, dumps

if TYPE_CHECKING:
    from collections.abc import Iterable
    from sqlite3 import Row

SCHEMA = """
CREATE TABLE IF NOT EXISTS studio_assignments (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id TEXT NOT NULL,
    email TEXT NOT NULL COLLATE NOCASE,
    project TEXT NOT NULL,
    UNIQUE (account_id, email, project)
);
CREATE INDEX IF NOT EXISTS studio_assignments_by_project ON studio_assignments (account_id, project);
CREATE TABLE IF NOT EXISTS studio_groups (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id TEXT NOT NULL,
    id TEXT NOT NULL,
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    emails TEXT NOT NULL,
    UNIQUE (account_id, project, name)
);
CREATE TABLE IF NOT EXISTS studio_batches (
    account_id TEXT NOT NULL,
    batch_no INTEGER PRIMARY KEY,
    priority INTEGER,
    groups TEXT NOT NULL DEFAULT '[]'
);
"""


class Studio:
    def __init__(self, store: Store) -> None:
        self._store = store

    # Assignments

    def assigned_projects(self, account_id: str) -> dict[str, list[str]]:
        """The projects of everybody who has any, by lower-case e-mail, in the order of assignment."""
        found: dict[str, list[str]] = {}
        for row in self._store.query(
            "SELECT email, project FROM studio_assignments WHERE account_id = ? ORDER BY position", (account_id,)
        ):
            found.setdefault(row["email"].lower(), []).append(row["project"])
        return found

    def assign(self, account_id: str, email: str, project: str) -> None:
        self._store.execute(
            "INSERT INTO studio_assignments (account_id, email, project) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (account_id, email, project),
        )

    def take_off(self, account_id: str, emails: Iterable[str], project: str) -> None:
        """Nobody of these is assigned to the project, or in its groups, any more (decisions.STUDIO_LEAVING)."""
        leaving = {email.lower() for email in emails}
        for email in leaving:
            sql = "DELETE FROM studio_assignments WHERE account_id = ? AND email = ? AND project = ?"
            self._store.execute(sql, (account_id, email, project))
        for group in self.groups(account_id, project):
            self.set_members(group, [email for email in json.loads(group["emails"]) if email.lower() not in leaving])

    # Groups

    def groups(self, account_id: str, project: str) -> list[Row]:
        sql = "SELECT * FROM studio_groups WHERE account_id = ? AND project = ? ORDER BY position"
        return self._store.query(sql, (account_id, project))

    def group(self, account_id: str, project: str, name: str) -> Row | None:
        return next((row for row in self.groups(account_id, project) if row["name"] == name), None)

    def add_group(self, account_id: str, project: str, name: str, emails: list[str], now: float) -> None:
        self._store.execute(
            "INSERT INTO studio_groups (account_id, id, project, name, emails) VALUES (?, ?, ?, ?, ?)",
            (account_id, ids.object_id(now), project, name, dumps(emails)),
        )

    def set_members(self, group: Row, emails: list[str]) -> None:
        sql = "UPDATE studio_groups SET emails = ? WHERE position = ?"
        self._store.execute(sql, (dumps(emails), group["position"]))

    # Batches

    def place(self, batch_no: int) -> int | None:
        """The place that a batch was given among the pending ones, 1 being the first."""
        place: int | None = self._store.value("SELECT priority FROM studio_batches WHERE batch_no = ?", (batch_no,))
        return place

    def groups_of(self, batch_no: int) -> list[str]:
        """The names of groups, or e-mails of individuals, that a batch was given to."""
        text: str | None = self._store.value("SELECT groups FROM studio_batches WHERE batch_no = ?", (batch_no,))
        return [] if text is None else list(json.loads(text))

    def put(self, account_id: str, batch_no: int, *, place: int | None = None, groups: list[str] | None = None) -> None:
        """Give a batch its place, its groups, or both; what is None stays."""
        self._store.execute(
            "INSERT INTO studio_batches (account_id, batch_no, priority, groups)"
            " VALUES (?1, ?2, ?3, coalesce(?4, '[]'))"
            " ON CONFLICT DO UPDATE SET priority = coalesce(?3, priority), groups = coalesce(?4, groups)",
            (account_id, batch_no, place, None if groups is None else dumps(groups)),
        )

    def forget_places(self, account_id: str) -> None:
        self._store.execute("UPDATE studio_batches SET priority = NULL WHERE account_id = ?", (account_id,))

    # Who may work on it

    def labelers(self, account_id: str, project: str, batch_no: int | None) -> list[str] | None:
        """The e-mails of those who work on a batch, or a project; None: anybody (decisions.STUDIO_LABELERS)."""
        names = [] if batch_no is None else self.groups_of(batch_no)
        if names:
            members = {row["name"]: json.loads(row["emails"]) for row in self.groups(account_id, project)}
            return list(dict.fromkeys(email for name in names for email in members.get(name, [name])))
        sql = "SELECT email FROM studio_assignments WHERE account_id = ? AND project = ? ORDER BY position"
        return [row["email"] for row in self._store.query(sql, (account_id, project))] or None

"""Projects: one task type each, versioned default parameters, an ontology, and one of three product flavours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from scale_mcp.sandbox import decisions, ids
from scale_mcp.sandbox.accounts import Account
from scale_mcp.sandbox.clock import Clock
from scale_mcp.sandbox.http import ApiError, invalid
from scale_mcp.sandbox.store import Store, dumps

Flavour = Literal["standard", "rapid", "studio"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS projects (
    no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    flavour TEXT NOT NULL,          -- standard, rapid or studio
    extras TEXT NOT NULL,           -- JSON: optional members of the object, as served
    archived INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    UNIQUE (account_id, name)
);
CREATE TABLE IF NOT EXISTS project_params (
    project_no INTEGER NOT NULL,
    version INTEGER NOT NULL,
    params TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (project_no, version)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS project_ontologies (
    project_no INTEGER NOT NULL,
    version INTEGER NOT NULL,
    name TEXT,
    ontology TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (project_no, version)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Project:
    """A row; ``no`` is what other tables refer to, ``id`` what Scale would show."""

    no: int
    id: str
    name: str
    type: str
    flavour: Flavour
    archived: bool
    created_at: float
    extras: dict[str, Any]


class Projects:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def find(self, account: Account, name: str) -> Project | None:
        row = self._store.one("SELECT * FROM projects WHERE account_id = ? AND name = ?", (account.id, name))
        return None if row is None else _project(row)

    def get(self, account: Account, name: str) -> Project:
        """The project of that name, or 404."""
        project = self.find(account, name)
        if project is None:
            raise ApiError(404, decisions.PROJECT_NOT_FOUND.value.format(name=name))
        return project

    def of(self, account: Account, archived: bool | None = None) -> list[Project]:
        """The account's projects, oldest first (decisions.PROJECT_ORDER); only (un)archived ones when told."""
        sql = "SELECT * FROM projects WHERE account_id = ? AND (? IS NULL OR archived = ?) ORDER BY no"
        return [_project(row) for row in self._store.query(sql, (account.id, archived, archived))]

    def create(
        self,
        account: Account,
        name: str,
        task_type: str,
        params: dict[str, Any],
        flavour: Flavour = "standard",
        extras: dict[str, Any] | None = None,
    ) -> Project:
        """A new project whose params become version 0. 409 when the name is taken."""
        if self.find(account, name) is not None:
            raise ApiError(409, f'A project with the name "{name}" already exists.')
        now = self._clock.now()
        cursor = self._store.execute(
            "INSERT INTO projects (id, account_id, name, type, flavour, extras, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (ids.object_id(now), account.id, name, task_type, flavour, dumps(extras or {}), now),
        )
        assert cursor.lastrowid is not None
        self._add_version(cursor.lastrowid, 0, params)
        return self.get(account, name)

    def params(self, project: Project, version: int | None = None) -> tuple[int, dict[str, Any]] | None:
        """One version of the default params (the latest without ``version``) with its number; None when unknown."""
        row = self._store.one(
            "SELECT version, params FROM project_params WHERE project_no = ? AND (? IS NULL OR version = ?)"
            " ORDER BY version DESC LIMIT 1",
            (project.no, version, version),
        )
        return None if row is None else (row["version"], json.loads(row["params"]))

    def set_params(self, project: Project, params: dict[str, Any], patch: bool) -> None:
        """Add a version: the given params alone, or (``patch``) laid over the latest (decisions.PATCH_DEPTH)."""
        version, latest = self.params(project) or (-1, {})
        self._add_version(project.no, version + 1, {**latest, **params} if patch else params)

    def _add_version(self, project_no: int, version: int, params: dict[str, Any]) -> None:
        self._store.execute(
            "INSERT INTO project_params (project_no, version, params, created_at) VALUES (?, ?, ?, ?)",
            (project_no, version, dumps(params), self._clock.now()),
        )

    def set_ontology(self, project: Project, ontology: list[Any], name: str | None) -> None:
        """Add a version of the ontology. 400 when a choice is malformed or occurs twice."""
        seen: set[str] = set()
        for choice in _choices(ontology):
            if choice in seen:
                raise invalid(f'the choice "{choice}" occurs twice in "ontology"')
            seen.add(choice)
        self._store.execute(
            "INSERT INTO project_ontologies (project_no, version, name, ontology, created_at)"
            " SELECT ?, count(*), ?, ?, ? FROM project_ontologies WHERE project_no = ?",
            (project.no, name, dumps(ontology), self._clock.now(), project.no),
        )

    def latest_ontology(self, project: Project) -> list[Any]:
        text = self._store.value(
            "SELECT ontology FROM project_ontologies WHERE project_no = ? ORDER BY version DESC LIMIT 1", (project.no,)
        )
        return [] if text is None else list(json.loads(text))

    def serve(self, project: Project) -> dict[str, Any]:
        """The object as Scale shows it."""
        iso, query = self._clock.iso, self._store.query
        versions = query("SELECT * FROM project_params WHERE project_no = ? ORDER BY version", (project.no,))
        ontologies = query("SELECT * FROM project_ontologies WHERE project_no = ? ORDER BY version", (project.no,))
        return {
            "id": project.id,
            "type": project.type,
            "name": project.name,
            "param_history": [
                {**json.loads(row["params"]), "version": row["version"], "created_at": iso(row["created_at"])}
                for row in versions
            ],
            "ontologyHistory": [
                {
                    **({"name": row["name"]} if row["name"] is not None else {}),
                    "version": row["version"],
                    "created_at": iso(row["created_at"]),
                    "ontology": json.loads(row["ontology"]),
                }
                for row in ontologies
            ],
            "created_at": iso(project.created_at),
            "archived": project.archived,
            "projectType": project.flavour,
            "created_with": "api",
            **project.extras,
        }


def _project(row: Any) -> Project:
    return Project(
        no=row["no"],
        id=row["id"],
        name=row["name"],
        type=row["type"],
        flavour=row["flavour"],
        archived=bool(row["archived"]),
        created_at=row["created_at"],
        extras=json.loads(row["extras"]),
    )


def _choices(ontology: Any) -> Iterator[str]:
    """Every choice and subchoice of an ontology, or 400."""
    if not isinstance(ontology, list) or not ontology:
        raise invalid('"ontology" must be a non-empty array')
    pending = list(ontology)
    while pending:
        item = pending.pop(0)
        if isinstance(item, str):
            yield item
            continue
        choice = item.get("choice") if isinstance(item, dict) else None
        if not isinstance(choice, str) or not choice:
            raise invalid('every choice must be a string or an object with "choice"')
        yield choice
        subchoices = item.get("subchoices") or []
        if not isinstance(subchoices, list):
            raise invalid('"subchoices" must be an array')
        pending += subchoices

"""Evaluation and training tasks, and the attempts of the simulated workers at them.

An attempt is an event of the agenda: the worker answers from the expected response with the mistakes that he makes
otherwise, too, and the score is measured on what came out. A task type or a response of which no truth can be read
(files behind URLs that the sandbox does not have) gets no attempts rather than invented ones.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

from scale_mcp.sandbox import decisions, ids, params, uploads
from scale_mcp.sandbox.http import ApiError, invalid, required
from scale_mcp.sandbox.scoring import agreement
from scale_mcp.sandbox.store import dumps
from scale_mcp.sandbox.task_store import BASE
from scale_mcp.sandbox.task_types import TASK_TYPES
from scale_mcp.sandbox.workforce import Worker, duration, make_pool

if TYPE_CHECKING:
    from sqlite3 import Row

    from scale_mcp.sandbox.accounts import Account
    from scale_mcp.sandbox.agenda import Event
    from scale_mcp.sandbox.projects import Project
    from scale_mcp.sandbox.sandbox import Sandbox

SCHEMA = """
CREATE TABLE IF NOT EXISTS quality_tasks (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id TEXT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,             -- training or evaluation
    type TEXT NOT NULL,
    project TEXT NOT NULL,
    unique_id TEXT,
    ordinal INTEGER NOT NULL,       -- the account's how manieth: what its random numbers are seeded with
    document TEXT NOT NULL,
    created_at REAL NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS quality_tasks_by_ordinal ON quality_tasks (account_id, ordinal);
CREATE UNIQUE INDEX IF NOT EXISTS quality_tasks_by_unique_id ON quality_tasks (account_id, unique_id)
    WHERE unique_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS quality_attempts (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id TEXT NOT NULL,
    id TEXT NOT NULL,
    quality_task_id TEXT NOT NULL,
    labeler_email TEXT NOT NULL COLLATE NOCASE,
    score REAL NOT NULL,
    passed INTEGER NOT NULL,
    started_at REAL NOT NULL,
    completed_at REAL NOT NULL,
    response TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS quality_attempts_by_task ON quality_attempts (account_id, quality_task_id, position);
CREATE INDEX IF NOT EXISTS quality_attempts_by_labeler ON quality_attempts (account_id, labeler_email, position);
"""

SELECT = "SELECT a.*, t.kind, t.project FROM quality_attempts a JOIN quality_tasks t ON t.id = a.quality_task_id"

# Members of the request that belong to the quality task itself and not to the parameters of its type.
OWN = frozenset({"expected_response", "initial_response"})


class Quality:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox, self._store = sandbox, sandbox.store
        self._workers = make_pool(sandbox.options.workers, sandbox.options.seed)
        sandbox.agenda.on("quality_attempt", self._attempt)

    def create(self, account: Account, kind: str, task_type: str, body: dict[str, Any]) -> dict[str, Any]:
        """A new ``training`` or ``evaluation`` task of a Rapid project, and the plan of the attempts at it."""
        known = TASK_TYPES.get(task_type)
        if known is None or not known.evaluated:
            raise ApiError(
                decisions.UNKNOWN_QUALITY_TYPE.value, f'There are no {kind} tasks of the type "{task_type}".'
            )
        project = self._project(account, known.name, body)
        for name in ("expected_response", "initial_response"):
            if name in body and not isinstance(body[name], dict):
                raise invalid(f'"{name}" must be an object')
        if "expected_response" not in body:
            raise required("expected_response")
        asked = {name: value for name, value in body.items() if name not in OWN}
        _, inherited = self._sandbox.projects.params(project) or (0, {})
        merged = {**inherited, **asked}
        params.check(known, merged)
        self._refuse_used(account, asked.get("unique_id"))
        now = self._sandbox.clock.now()
        document: dict[str, Any] = {
            "id": ids.object_id(now),
            "type": known.name,
            "project": project.name,
            "params": {
                name: value
                for name, value in params.with_defaults(known, merged).items()
                if name not in params.OF_THE_TASK
            },
            **{name: asked[name] for name in ("unique_id", "metadata", "instruction") if name in asked},
            **{name: body[name] for name in sorted(OWN) if name in body},
            "created_at": self._sandbox.clock.iso(now),
        }
        ordinal = self._store.value(
            "SELECT coalesce(max(ordinal), 0) + 1 FROM quality_tasks WHERE account_id = ?", (account.id,)
        )
        with self._store.transaction():
            self._store.execute(
                "INSERT INTO quality_tasks (account_id, id, kind, type, project, unique_id, ordinal, document,"
                " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(account.id, document["id"], kind, known.name, project.name, asked.get("unique_id")),
                    *(ordinal, dumps(document), now),
                ),
            )
            self._plan(account, kind, document, ordinal, now)
        return document

    def _project(self, account: Account, task_type: str, body: dict[str, Any]) -> Project:
        name = body.get("project")
        if name is None and isinstance(body.get("batch"), str):
            name = self._sandbox.batches.get(account, body["batch"]).project
        if not isinstance(name, str) or not name:
            raise required("project")
        project = self._sandbox.projects.get(account, name)
        if project.flavour != "rapid":
            raise ApiError(400, f'The project "{name}" is not a Rapid project.')
        if project.type != task_type:
            raise ApiError(400, f'The project "{name}" takes tasks of the type "{project.type}".')
        return project

    def _refuse_used(self, account: Account, unique_id: str | None) -> None:
        if unique_id is None:
            return
        sql = "SELECT id FROM quality_tasks WHERE account_id = ? AND unique_id = ?"
        used = self._store.value(sql, (account.id, unique_id))
        if used is not None:
            raise ApiError(409, f'The unique_id ("{unique_id}") is already used for a different task ({used}).')

    def _plan(self, account: Account, kind: str, document: dict[str, Any], ordinal: int, now: float) -> None:
        """Everybody is trained; some meet an evaluation task. With a test key nobody has to be waited for."""
        for worker in self._workers:
            rng = random.Random(f"{self._sandbox.options.seed}/quality/{ordinal}/{worker.email}/plan")
            meets = rng.random() < decisions.EVALUATED_SHARE.value or worker is self._workers[0]
            if kind == "evaluation" and not meets:
                continue
            started = now + rng.expovariate(1 / decisions.QUALITY_PICKUP.value)
            finished = started + duration(document, worker, rng)
            if account.is_test:
                started = finished = now
            payload = {"quality_task": document["id"], "worker": worker.email, "started_at": started}
            self._sandbox.agenda.schedule(finished, "quality_attempt", payload)

    def _attempt(self, event: Event) -> None:
        sql = "SELECT * FROM quality_tasks WHERE id = ?"
        row = self._store.one(sql, (event.payload["quality_task"],))
        worker = next((each for each in self._workers if each.email == event.payload["worker"]), None)
        if row is None or worker is None:
            return
        response = self._answer(row, worker)
        if response is None:
            return
        score = round(agreement(json.loads(row["document"])["expected_response"], response), 4)
        self._store.execute(
            "INSERT INTO quality_attempts (account_id, id, quality_task_id, labeler_email, score, passed, started_at,"
            " completed_at, response) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(row["account_id"], ids.object_id(event.at), row["id"], worker.email, score),
                *(score >= decisions.PASSING_SCORE.value, event.payload["started_at"], event.at, dumps(response)),
            ),
        )

    def _answer(self, row: Row, worker: Worker) -> dict[str, Any] | None:
        """What the worker hands in; None when there is no truth to work from (decisions.ATTEMPT_NEEDS_TRUTH)."""
        from scale_mcp.sandbox.answers import live_answer
        from scale_mcp.sandbox.truth import attachment_size, find_truth

        document = json.loads(row["document"])
        task = {**document, "task_id": row["id"]}
        rng = random.Random(f"{self._sandbox.options.seed}/quality/{row['ordinal']}/{worker.email}/answer")

        def content(url: str) -> bytes | None:
            return uploads.content_of(self._store, row["account_id"], url)

        truth = find_truth(task, content)
        if truth is None:
            return None
        answer = live_answer(
            task,
            truth,
            worker,
            lambda uuid: f"{BASE}/task/{row['id']}/response_url/{uuid}",
            rng,
            size=attachment_size(task, content),
        )
        if answer.simulation.get("truth") == "none":
            return None
        account_no = self._sandbox.account_no(row["account_id"])
        for file in answer.files:
            self._sandbox.tasks.store.add_file(account_no, row["id"], file.uuid, file.content_type, file.content)
        return answer.response

    def attempts(
        self, account: Account, task_ids: list[str], emails: list[str], *, limit: int, after: int | None
    ) -> tuple[list[Row], int]:
        """A page of attempts, newest first, one more than ``limit`` when there is more; and how many match in all."""
        where, args = "a.account_id = ?", [account.id]
        for column, values in (("a.quality_task_id", task_ids), ("a.labeler_email", emails)):
            if values:
                where += f" AND {column} IN ({', '.join('?' * len(values))})"
                args += values
        total: int = self._store.value(f"SELECT count(*) FROM quality_attempts a WHERE {where}", args)  # noqa: S608
        rows = self._store.query(
            f"{SELECT} WHERE {where} AND (? IS NULL OR a.position < ?) ORDER BY a.position DESC LIMIT ?",
            [*args, after, after, limit + 1],
        )
        return rows, total

"""Calls that wait for a person's yes outside the client: asked for by a persona, decided by an operator.

An approval is for one persona, one tool and exactly these arguments (by their digest), serves one call, and expires.
Every step of it is in the audit chain.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from scale_mcp.hosting.audit.chain import canonical
from scale_mcp.hosting.audit.recorder import Recorder
from scale_mcp.hosting.clock import Clock, stamp, utc_now
from scale_mcp.hosting.errors import OperatorError
from scale_mcp.hosting.ids import new_id
from scale_mcp.hosting.store import Database, metadata
from scale_mcp.text import one_line
from scale_mcp.tools.card import ToolFailure

State = Literal["waiting", "approved", "denied", "used", "expired"]
Answer = Literal["approved", "denied", "waiting"]
LASTS = timedelta(hours=1)  # a question waits so long, and a yes or a no holds so long
MOST_WAITING = 50  # questions of one persona at a time
LONGEST_WHY = 500
ID = re.compile(r"app_[a-z2-7]{16}")
LONGEST_NAME = 200

approvals = sa.Table(
    "approvals",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("persona_id", sa.Text, nullable=False),
    sa.Column("persona", sa.Text, nullable=False),
    sa.Column("user_name", sa.Text, nullable=False),
    sa.Column("tool", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("arguments", sa.Text, nullable=False),  # redacted JSON, to be read by a person
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False, index=True),  # as decided; "expired" is told from expires_at
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Column("expires_at", sa.Text, nullable=False),
    sa.Column("decided_at", sa.Text),
    sa.Column("decided_by", sa.Text),
    sa.Column("used_at", sa.Text),
    sa.Index("ix_approvals_persona_id", "persona_id", "digest"),
)


class ApprovalRefused(OperatorError):
    """There is no such approval, or it is decided already."""


class TooManyWaiting(ToolFailure):
    """A persona asks for more than the operator can have in view."""

    code = "approvals_waiting"
    retryable = True
    retry_after = 60.0


@dataclass(frozen=True)
class Approval:
    """A question to the operator, and what became of it. Times as ``stamp`` writes them."""

    id: str
    persona_id: str
    persona: str
    user: str
    tool: str
    digest: str
    arguments: dict[str, Any]
    why: str
    state: State
    created_at: str
    expires_at: str
    decided_at: str | None = None
    decided_by: str | None = None
    used_at: str | None = None


class Approvals:
    """Asks, decides and hands out approvals. All replicas share them through the database."""

    def __init__(self, database: Database, recorder: Recorder, clock: Clock = utc_now) -> None:
        self._database = database
        self._recorder = recorder
        self._clock = clock

    async def request(
        self,
        *,
        persona_id: str,
        persona: str,
        tool: str,
        digest: str,
        arguments: Mapping[str, Any],
        why: str,
        user: str = "",
    ) -> Approval:
        """Put a call before the operator. The same call asked again while it waits gives the same approval.

        digest     of the whole arguments (``digest_of``); what is approved is exactly this
        arguments  to be shown; redacted here
        why        why a person is needed, in a sentence

        Raises ``TooManyWaiting`` and ``AuditUnavailable``.
        """
        redactor = self._recorder.redactor
        async with self._database.writing() as connection:
            await self._recorder.hold(connection)  # no other replica asks the same in between
            there = await self._current(connection, persona_id, tool, digest)
            if there is not None and there.state == "waiting":
                return there
            await self._check_room(connection, persona_id)
            made = Approval(
                id=new_id("app"),
                persona_id=persona_id,
                persona=redactor.text(persona, LONGEST_NAME),
                user=redactor.text(user, LONGEST_NAME),
                tool=redactor.text(tool, LONGEST_NAME),
                digest=digest,
                arguments=redactor.value(arguments),
                why=redactor.text(why, LONGEST_WHY),
                state="waiting",
                created_at=stamp(self._clock()),
                expires_at=stamp(self._clock() + LASTS),
            )
            await connection.execute(sa.insert(approvals).values(_row(made)))
            await self._note("approval.asked", made, f"persona:{made.persona}", connection)
        return made

    async def take(self, *, persona_id: str, tool: str, digest: str) -> Answer | None:
        """What became of this call's question. "approved" is given once: it is used up by this.

        None: never asked, used or expired. A no holds until it expires. Raises ``AuditUnavailable``.
        """
        async with self._database.reading() as connection:
            there = await self._current(connection, persona_id, tool, digest)
        if there is None or there.state != "approved":
            return _answer(there)
        async with self._database.writing() as connection:
            await self._recorder.hold(connection)  # nobody decides about it or takes it in between
            there = await self._current(connection, persona_id, tool, digest)
            if there is not None and there.state == "approved":
                used = {"state": "used", "used_at": stamp(self._clock())}
                await connection.execute(sa.update(approvals).where(approvals.c.id == there.id).values(used))
                await self._note("approval.used", there, f"persona:{there.persona}", connection)
        return _answer(there)

    async def approve(self, approval_id: str, *, by: str) -> Approval:
        """Say yes to a waiting call; it may be made once within the hour. Raises ``ApprovalRefused``."""
        return await self._decide(approval_id, "approved", by)

    async def deny(self, approval_id: str, *, by: str) -> Approval:
        """Say no to a waiting call, or take back a yes that was not used yet. Raises ``ApprovalRefused``."""
        return await self._decide(approval_id, "denied", by)

    async def list(self, *, closed: bool = False, limit: int = 200) -> list[Approval]:
        """Those that wait, oldest first; with ``closed`` all of them, newest first."""
        query = sa.select(approvals).limit(limit)
        if closed:
            query = query.order_by(approvals.c.created_at.desc(), approvals.c.id)
        else:
            query = query.where(approvals.c.state == "waiting", approvals.c.expires_at > stamp(self._clock()))
            query = query.order_by(approvals.c.created_at, approvals.c.id)
        async with self._database.reading() as connection:
            return [self._read(row) for row in (await connection.execute(query)).mappings()]

    async def get(self, approval_id: str) -> Approval | None:
        async with self._database.reading() as connection:
            return await self._found(connection, approval_id)

    async def _decide(self, approval_id: str, state: Literal["approved", "denied"], by: str) -> Approval:
        async with self._database.writing() as connection:
            await self._recorder.hold(connection)
            there = await self._found(connection, approval_id)
            if there is None:
                raise ApprovalRefused(
                    f"There is no approval {one_line(approval_id, 60)}; `scale-mcp approvals` lists them."
                )
            takes_back = there.state == "approved" and state == "denied"
            if there.state != "waiting" and not takes_back:
                raise ApprovalRefused(f"{there.id} is not waiting any more: it is {_told(there)}.")
            now = self._clock()
            values = {
                "state": state,
                "decided_at": stamp(now),
                "decided_by": self._recorder.redactor.text(by, LONGEST_NAME),
                "expires_at": stamp(now + LASTS),
            }
            await connection.execute(sa.update(approvals).where(approvals.c.id == there.id).values(values))
            await self._note(f"approval.{state}", there, by, connection)
            decided = await self._found(connection, there.id)
            assert decided is not None  # it was just written
            return decided

    async def _check_room(self, connection: AsyncConnection, persona_id: str) -> None:
        waiting = await connection.scalar(
            sa.select(sa.func.count())
            .select_from(approvals)
            .where(
                approvals.c.persona_id == persona_id,
                approvals.c.state == "waiting",
                approvals.c.expires_at > stamp(self._clock()),
            )
        )
        if (waiting or 0) >= MOST_WAITING:
            raise TooManyWaiting(
                f"{waiting} calls of this persona wait for the operator already. Wait until some are decided."
            )

    async def _current(self, connection: AsyncConnection, persona_id: str, tool: str, digest: str) -> Approval | None:
        """The newest question about this call that is neither used nor expired."""
        found = await connection.execute(
            sa.select(approvals)
            .where(
                approvals.c.persona_id == persona_id,
                approvals.c.digest == digest,
                approvals.c.tool == tool,
                approvals.c.state != "used",
                approvals.c.expires_at > stamp(self._clock()),
            )
            .order_by(approvals.c.created_at.desc(), approvals.c.id)
            .limit(1)
        )
        row = found.mappings().first()
        return None if row is None else self._read(row)

    async def _found(self, connection: AsyncConnection, approval_id: str) -> Approval | None:
        if not ID.fullmatch(approval_id):
            return None
        row = (await connection.execute(sa.select(approvals).where(approvals.c.id == approval_id))).mappings().first()
        return None if row is None else self._read(row)

    def _read(self, row: RowMapping) -> Approval:
        values = dict(row)
        values["user"] = values.pop("user_name")
        values["arguments"] = json.loads(values["arguments"])
        if values["state"] in ("waiting", "approved", "denied") and values["expires_at"] <= stamp(self._clock()):
            values["state"] = "expired"
        return Approval(**values)

    async def _note(self, kind: str, approval: Approval, actor: str, connection: AsyncConnection) -> None:
        content = {
            "actor": actor,
            "approval": approval.id,
            "persona": approval.persona,
            "persona_id": approval.persona_id,
            "user": approval.user,
            "tool": approval.tool,
            "arguments_digest": approval.digest,
            "why": approval.why,
        }
        await self._recorder.append(kind, content, connection=connection)


def _answer(approval: Approval | None) -> Answer | None:
    match approval.state if approval else None:
        case "approved" | "denied" | "waiting" as state:
            return state
    return None


def _row(approval: Approval) -> dict[str, Any]:
    values = {**vars(approval), "user_name": approval.user, "arguments": canonical(approval.arguments)}
    del values["user"]
    return values


def _told(approval: Approval) -> str:
    return f"{approval.state} by {approval.decided_by}" if approval.decided_by else approval.state

"""Who is calling: from a token, or from the persona that a login's claims name, to a verified ``Caller``.

Nothing is remembered here. A token that was revoked, in whichever replica, is refused on the next call.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from scale_mcp.hosting.clock import Clock, moment, stamp, utc_now
from scale_mcp.hosting.persona_store import persona_columns, persona_from
from scale_mcp.hosting.persona_tables import claims, personas, tokens
from scale_mcp.hosting.personas import Caller, Persona
from scale_mcp.hosting.store.tables import revision
from scale_mcp.hosting.tokens import FORM, digest

if TYPE_CHECKING:
    from scale_mcp.hosting.store import Database


_BY_TOKEN = (
    sa.select(
        revision.c.number, tokens.c.id.label("token_id"), tokens.c.user_name, tokens.c.expires_at, *persona_columns()
    )
    .select_from(revision)
    .outerjoin(tokens, sa.and_(tokens.c.digest == sa.bindparam("digest"), tokens.c.revoked_at.is_(None)))
    .outerjoin(personas, personas.c.id == tokens.c.persona_id)
)


class Directory:
    """Looks callers up: one query each, which costs the same whatever is looked for."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    async def find(self, token: str) -> Caller | None:
        """The caller with this token; None for anything that is no token of an enabled persona, or not any more."""
        row = await self._one(_BY_TOKEN, {"digest": digest(token)})
        if row is None or row["token_id"] is None or not FORM.fullmatch(token):
            return None
        if row["expires_at"] is not None and row["expires_at"] <= stamp(self._clock()):
            return None
        persona = persona_from(row)
        if persona.disabled:
            return None
        return Caller(
            persona,
            row["user_name"],
            row["number"],
            token_id=row["token_id"],
            expires_at=moment(row["expires_at"]) if row["expires_at"] is not None else None,
        )

    async def caller_for(self, persona_name: str, user: str, client: str = "") -> Caller | None:
        """The caller whom an authorization server vouches for; None when that is no enabled persona.

        ``persona_name`` is what the login's claim says: a value that the operator gave to a persona, or its name.
        """
        claimed = persona_name if persona_name.isprintable() else ""  # a store need not take what nobody writes
        by_claim = sa.select(claims.c.persona_id).where(claims.c.value == claimed).scalar_subquery()
        by_name = sa.select(personas.c.id).where(personas.c.name == claimed).scalar_subquery()
        found = (
            sa.select(revision.c.number, *persona_columns())
            .select_from(revision)
            .outerjoin(personas, personas.c.id == sa.func.coalesce(by_claim, by_name))
        )
        row = await self._one(found)
        if row is None or row["persona_id"] is None:
            return None
        persona = persona_from(row)
        return None if persona.disabled else Caller(persona, user, row["number"], client=client)

    async def callers_for(self, values: Collection[str], user: str, client: str = "") -> list[Caller]:
        """The callers that any of a login's values means, one for each enabled persona; as ``caller_for`` for one."""
        written = [value for value in values if value.isprintable()]
        chosen = sa.select(claims.c.persona_id).where(claims.c.value.in_(written))
        given_away = sa.select(claims.c.value).where(claims.c.value.in_(written))
        named = sa.and_(personas.c.name.in_(written), personas.c.name.not_in(given_away))
        found = (
            sa.select(revision.c.number, *persona_columns())
            .select_from(revision)
            .join(personas, sa.or_(personas.c.id.in_(chosen), named))
        )
        async with self._database.reading() as connection:
            rows = (await connection.execute(found)).mappings().all()
        callers = [Caller(persona_from(row), user, row["number"], client=client) for row in rows]
        return [caller for caller in callers if not caller.persona.disabled]

    async def enabled(self, persona_id: str) -> Persona | None:
        """The persona of this id as it is now; None when it is disabled or gone."""
        row = await self._one(
            sa.select(revision.c.number, *persona_columns())
            .select_from(revision)
            .join(personas, personas.c.id == persona_id)
        )
        persona = persona_from(row) if row is not None else None
        return None if persona is None or persona.disabled else persona

    async def revision(self) -> int:
        """The number of changes so far: callers found at another number may not be what they were."""
        async with self._database.reading() as connection:
            return int(await connection.scalar(sa.select(revision.c.number)) or 0)

    async def _one(self, query: sa.Select[Any], values: dict[str, Any] | None = None) -> Any:
        async with self._database.looking_up() as connection:
            return (await connection.execute(query, values)).mappings().one_or_none()

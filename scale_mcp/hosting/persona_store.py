"""Keeping personas: adding, editing, removing, listing. Every change is in the audit trail, in the same transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from scale_mcp.hosting.clock import Clock, stamp, utc_now
from scale_mcp.hosting.errors import OperatorError
from scale_mcp.hosting.ids import new_id
from scale_mcp.hosting.persona_checks import problems_with
from scale_mcp.hosting.persona_tables import personas, spending
from scale_mcp.hosting.personas import Persona, policy_of, with_policy
from scale_mcp.hosting.rates import read_rates
from scale_mcp.hosting.store.tables import revision

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from scale_mcp.hosting.audit.recording import Recording
    from scale_mcp.hosting.store import Database

OWN_COLUMNS = ("id", "name", "purpose", "disabled", "declared", "created_at")


class PersonaError(OperatorError):
    """A persona, token or declaration that cannot be used."""


class Personas:
    """All personas of one server, shared by its replicas."""

    def __init__(self, database: Database, recorder: Recording, clock: Clock = utc_now) -> None:
        self._database = database
        self._recorder = recorder
        self._clock = clock

    async def list(self) -> list[Persona]:
        """All of them by name, disabled ones included."""
        async with self._database.reading() as connection:
            return await all_personas(connection)

    async def get(self, name_or_id: str) -> Persona:
        """Raises ``PersonaError`` when there is none."""
        async with self._database.reading() as connection:
            return await persona_named(connection, name_or_id)

    async def add(self, persona: Persona, *, actor: str) -> Persona:
        """Keep a new persona; its id and time of creation are given here.

        Raises ``PersonaError`` for a name that is taken or impossible, and for scopes and tools that do not exist.
        """
        async with changing(self._database) as connection:
            return await self.add_in(connection, persona, actor=actor)

    async def edit(self, name_or_id: str, changes: Mapping[str, Any], *, actor: str) -> Persona:
        """Give a persona other values of the named fields. Raises ``PersonaError`` as ``add`` does."""
        async with changing(self._database) as connection:
            before = await persona_named(connection, name_or_id)
            return await self.edit_in(connection, before, replace(before, **changes), actor=actor)

    async def remove(self, name_or_id: str, *, actor: str) -> Persona:
        """Forget a persona with its tokens and its spending. The audit trail keeps what it did."""
        async with changing(self._database) as connection:
            persona = await persona_named(connection, name_or_id)
            await self.remove_in(connection, persona, actor=actor)
            return persona

    # The same inside a transaction of the caller's, for several changes that happen together or not at all.

    async def add_in(self, connection: AsyncConnection, persona: Persona, *, actor: str) -> Persona:
        persona = replace(persona, id=new_id("per"), created_at=stamp(self._clock()))
        await self._check(connection, persona)
        await connection.execute(sa.insert(personas).values(**_row(persona)))
        await self._changed(connection, "persona.added", actor, persona, {"persona": shown(persona)})
        return persona

    async def edit_in(self, connection: AsyncConnection, before: Persona, after: Persona, *, actor: str) -> Persona:
        after = replace(after, id=before.id, created_at=before.created_at)
        if after == before:
            return before
        await self._check(connection, after)
        await connection.execute(sa.update(personas).where(personas.c.id == before.id).values(**_row(after)))
        await self._changed(
            connection, "persona.edited", actor, after, {"before": shown(before), "after": shown(after)}
        )
        return after

    async def remove_in(self, connection: AsyncConnection, persona: Persona, *, actor: str) -> None:
        await connection.execute(sa.delete(spending).where(spending.c.persona_id == persona.id))
        await connection.execute(sa.delete(personas).where(personas.c.id == persona.id))
        await self._changed(connection, "persona.removed", actor, persona, {"persona": shown(persona)})

    async def _check(self, connection: AsyncConnection, persona: Persona) -> None:
        problems = list(problems_with(persona))
        taken = sa.select(personas.c.id).where(personas.c.name == persona.name, personas.c.id != persona.id)
        if (await connection.execute(taken)).first() is not None:
            problems.append(f"There is a persona called {persona.name!r} already; edit it, or choose another name.")
        if persona.budget.cost_per_day is not None and not (await read_rates(connection)).rates:
            problems.append(
                f"{persona.name} has a limit of cost, but there is no rate card to estimate by. Declare "
                "one under [rates] in a file, and `scale-mcp apply` it."
            )
        if problems:
            raise PersonaError("\n".join(problems))

    async def _changed(
        self, connection: AsyncConnection, kind: str, actor: str, persona: Persona, what: dict[str, Any]
    ) -> None:
        await self._database.changed(connection)
        content = {"actor": actor, "name": persona.name, "id": persona.id, **what}
        await self._recorder.append(kind, content, connection=connection)


@asynccontextmanager
async def changing(database: Database) -> AsyncIterator[AsyncConnection]:
    """A transaction in which personas are changed. Such changes go one after the other, in all replicas."""
    async with database.writing() as connection:
        await connection.execute(sa.select(revision.c.number).with_for_update())  # SQLite waits for writers anyway
        yield connection


def shown(persona: Persona) -> dict[str, Any]:
    """A persona as JSON for people and for the audit trail: what it is for, and what is not the default."""
    flags = {name: True for name in ("disabled", "declared") if getattr(persona, name)}
    purpose = {"purpose": persona.purpose} if persona.purpose else {}
    return {"name": persona.name, **purpose, **policy_of(persona), **flags}


def persona_columns() -> Iterator[sa.Label[Any]]:
    """The columns that ``persona_from`` reads, under names that nothing joined to them has."""
    return (personas.c[name].label(f"persona_{name}") for name in (*OWN_COLUMNS, "policy"))


def persona_from(row: Mapping[Any, Any]) -> Persona:
    return with_policy(Persona(**{name: row[f"persona_{name}"] for name in OWN_COLUMNS}), row["persona_policy"])


async def all_personas(connection: AsyncConnection) -> list[Persona]:
    rows = await connection.execute(sa.select(*persona_columns()).order_by(personas.c.name))
    return [persona_from(row) for row in rows.mappings()]


async def persona_named(connection: AsyncConnection, name_or_id: str) -> Persona:
    """The persona of this name, or else of this id. Raises ``PersonaError`` when there is none."""
    either = sa.or_(personas.c.name == name_or_id, personas.c.id == name_or_id)
    rows = (await connection.execute(sa.select(*persona_columns()).where(either))).mappings().all()
    if not rows:
        raise PersonaError(
            f"There is no persona called {name_or_id[:80]!r}. `scale-mcp persona list` shows the ones there are."
        )
    found = [persona_from(row) for row in rows]
    return next((persona for persona in found if persona.name == name_or_id), found[0])


def _row(persona: Persona) -> dict[str, Any]:
    return {**{name: getattr(persona, name) for name in OWN_COLUMNS}, "policy": policy_of(persona)}

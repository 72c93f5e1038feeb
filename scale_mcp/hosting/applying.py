"""Making the store say what a declaration says: all of it in one transaction, or nothing.

What a file declares it owns, field by field. What it does not mention stays as it is, unless it is to be pruned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from scale_mcp.hosting.clock import Clock, utc_now
from scale_mcp.hosting.connection_records import connections
from scale_mcp.hosting.declaration import Declaration
from scale_mcp.hosting.events import webhook_records
from scale_mcp.hosting.events.webhooks import Webhooks
from scale_mcp.hosting.persona_store import PersonaError, Personas, all_personas, changing, shown
from scale_mcp.hosting.persona_tables import claims
from scale_mcp.hosting.personas import Persona
from scale_mcp.hosting.rates import read_rates, write_rates

if TYPE_CHECKING:
    from pydantic import SecretStr
    from sqlalchemy.ext.asyncio import AsyncConnection

    from scale_mcp.hosting.audit.recording import Recording
    from scale_mcp.hosting.events.webhooks import Sealing
    from scale_mcp.hosting.store import Database

Deed = Literal["add", "change", "remove"]
What = Literal["persona", "webhook", "claims", "rates"]


@dataclass(frozen=True)
class Difference:
    """One thing that is made, changed or removed. ``fields``: what differs, each with its value before and after."""

    deed: Deed
    what: What
    name: str
    fields: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Applied:
    """What was done, or would be.

    left      what the file does not mention, as ``persona NAME``
    warnings  what works only once something else is done
    secrets   of new webhooks, by name; nothing can show them again
    """

    differences: tuple[Difference, ...]
    left: tuple[str, ...]
    warnings: tuple[str, ...]
    secrets: Mapping[str, SecretStr]


class _OnlyTried(Exception):
    """Undoes the transaction of a dry run."""


class _Unrecorded:
    """Stands in for the audit trail in a dry run."""

    async def append(self, kind: str, content: dict[str, Any], *, connection: AsyncConnection | None = None) -> int:
        return 0


class _Unsealed:
    """Stands in for the vault in a dry run, and where no webhook is declared."""

    def seal(self, secret: SecretStr | str, *, row: str, purpose: str) -> str:
        return ""

    def open(self, sealed: str, *, row: str, purpose: str) -> SecretStr:
        raise NotImplementedError


async def apply(
    declared: Declaration,
    database: Database,
    recorder: Recording,
    *,
    vault: Sealing | None = None,
    prune: bool = False,
    dry_run: bool = False,
    actor: str,
    clock: Clock = utc_now,
) -> Applied:
    """Make the store say what is declared. Raises ``OperatorError`` when something of it cannot be; then nothing is.

    vault    seals the secrets of new webhooks; needed when any is declared, but for a dry run
    prune    remove the personas and webhooks that are not declared
    dry_run  find out everything, and change nothing
    """
    if declared.webhooks and vault is None and not dry_run:
        raise ValueError("webhooks cannot be declared without a vault")
    trail = _Unrecorded() if dry_run else recorder
    work = _Work(declared, database, trail, _Unsealed() if dry_run or vault is None else vault, actor, clock)
    try:
        async with changing(database) as connection:
            applied = await work.done(connection, prune)
            if dry_run:
                raise _OnlyTried
    except _OnlyTried:
        return replace(applied, secrets={})
    return applied


class _Work:
    def __init__(
        self,
        declared: Declaration,
        database: Database,
        recorder: Recording,
        vault: Sealing,
        actor: str,
        clock: Clock,
    ) -> None:
        self._declared = declared
        self._database = database
        self._recorder = recorder
        self._personas = Personas(database, recorder, clock)
        self._webhooks = Webhooks(database, vault, recorder, clock=clock)
        self._actor = actor
        self._differences: list[Difference] = []
        self._left: list[str] = []
        self._secrets: dict[str, SecretStr] = {}

    async def done(self, connection: AsyncConnection, prune: bool) -> Applied:
        await self._apply_rates(connection)  # first, as a limit of cost needs them
        await self._apply_personas(connection, prune)
        await self._apply_claims(connection)
        await self._apply_webhooks(connection, prune)
        await self._check_limits_of_cost(connection)
        warnings = tuple(await self._warnings(connection))
        return Applied(tuple(self._differences), tuple(self._left), warnings, self._secrets)

    async def _apply_rates(self, connection: AsyncConnection) -> None:
        if self._declared.rates is None:
            return
        before = {kind: format(rate.normalize(), "f") for kind, rate in (await read_rates(connection)).rates.items()}
        after = {kind: format(rate.normalize(), "f") for kind, rate in self._declared.rates.rates.items()}
        if await self._differ(connection, "rates", before, after):
            await write_rates(connection, self._declared.rates)

    async def _apply_personas(self, connection: AsyncConnection, prune: bool) -> None:
        there = {persona.name: persona for persona in await all_personas(connection)}
        for persona in self._declared.personas:
            before = there.pop(persona.name, None)
            if before is None:
                await self._personas.add_in(connection, persona, actor=self._actor)
                self._note("add", "persona", persona.name, {}, _fields_of(persona))
            elif replace(persona, id=before.id, created_at=before.created_at) != before:
                await self._personas.edit_in(connection, before, persona, actor=self._actor)
                self._note("change", "persona", persona.name, _fields_of(before), _fields_of(persona))
        for persona in there.values():
            if prune:
                await self._personas.remove_in(connection, persona, actor=self._actor)
                self._note("remove", "persona", persona.name, _fields_of(persona), {})
            else:
                self._left.append(f"persona {persona.name}")

    async def _apply_claims(self, connection: AsyncConnection) -> None:
        if self._declared.claims is None:
            return
        ids = {persona.name: persona.id for persona in await all_personas(connection)}
        names = {persona_id: name for name, persona_id in ids.items()}
        if unknown := [name for name in self._declared.claims.values() if name not in ids]:
            raise PersonaError(f"[claims] names persona {unknown[0][:80]!r}, which there is not. Declare it, too.")
        rows = await connection.execute(sa.select(claims.c.value, claims.c.persona_id))
        before = {value: names[persona_id] for value, persona_id in rows}
        if await self._differ(connection, "claims", before, self._declared.claims):
            await connection.execute(sa.delete(claims))
            if self._declared.claims:
                await connection.execute(
                    sa.insert(claims),
                    [{"value": value, "persona_id": ids[name]} for value, name in self._declared.claims.items()],
                )

    async def _apply_webhooks(self, connection: AsyncConnection, prune: bool) -> None:
        there = {webhook.name: webhook for webhook in await webhook_records.read_webhooks(connection)}
        for webhook in self._declared.webhooks:
            before = there.pop(webhook.name, None)
            if before is None:
                _, self._secrets[webhook.name] = await self._webhooks.add_in(connection, webhook, actor=self._actor)
                self._note("add", "webhook", webhook.name, {}, webhook_records.shown(webhook))
            elif replace(webhook, id=before.id, created_at=before.created_at) != before:
                await self._webhooks.edit_in(connection, before, webhook, actor=self._actor)
                shown_before, shown_after = webhook_records.shown(before), webhook_records.shown(webhook)
                self._note("change", "webhook", webhook.name, shown_before, shown_after)
        for webhook in there.values():
            if prune:
                await self._webhooks.remove_in(connection, webhook, actor=self._actor)
                self._note("remove", "webhook", webhook.name, webhook_records.shown(webhook), {})
            else:
                self._left.append(f"webhook {webhook.name}")

    async def _check_limits_of_cost(self, connection: AsyncConnection) -> None:
        """Personas that the file does not mention may need the rates that it takes away."""
        if (await read_rates(connection)).rates:
            return
        if limited := [p.name for p in await all_personas(connection) if p.budget.cost_per_day is not None]:
            raise PersonaError(
                f"Without any rate the limits of cost of {', '.join(limited[:10])} mean nothing. Keep the rates, or "
                "take these limits away first."
            )

    async def _warnings(self, connection: AsyncConnection) -> list[str]:
        rows = await connection.execute(sa.select(connections.c.name).where(connections.c.removed_at.is_(None)))
        known = set(rows.scalars())
        found = []
        for persona in self._declared.personas:
            if not persona.routes:
                found.append(f"persona {persona.name} has no route, so its calls reach no connection.")
            if not (persona.scopes or persona.tools):
                found.append(f"persona {persona.name} has neither scopes nor tools, so it may use nothing.")
            for name in dict.fromkeys(route.connection for route in persona.routes):
                if name not in known:
                    found.append(
                        f"persona {persona.name}: there is no connection {name!r} yet; `scale-mcp connection add "
                        f"{name}` adds it."
                    )
        return found

    async def _differ(
        self, connection: AsyncConnection, what: What, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> bool:
        """Whether a whole section differs; then it is noted and recorded."""
        if dict(before) == dict(after):
            return False
        self._note("change", what, "", before, after)
        await self._database.changed(connection)
        content = {"actor": self._actor, "before": dict(before), "after": dict(after)}
        await self._recorder.append(f"{what}.changed", content, connection=connection)
        return True

    def _note(self, deed: Deed, what: What, name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        hidden = ("name",) if deed == "change" else ("name", "declared")
        fields = {
            key: (before.get(key), after.get(key))
            for key in {**before, **after}
            if key not in hidden and before.get(key) != after.get(key)
        }
        self._differences.append(Difference(deed, what, name, fields))


def _fields_of(persona: Persona) -> Mapping[str, Any]:
    return shown(persona)


def as_json(applied: Applied) -> dict[str, Any]:
    """For machines; without secrets."""
    return {
        "differences": [asdict(difference) for difference in applied.differences],
        "left": list(applied.left),
        "warnings": list(applied.warnings),
    }


SIGNS: Mapping[Deed, str] = {"add": "+", "change": "~", "remove": "-"}


def as_lines(differences: Iterable[Difference]) -> Iterator[str]:
    """For people: ``~ persona night-shift`` and below it what differs."""
    import json

    def told(value: Any) -> str:
        return "(none)" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    for difference in differences:
        yield f"{SIGNS[difference.deed]} {difference.what} {difference.name}".rstrip()
        if difference.deed == "remove":
            continue
        for name, (before, after) in difference.fields.items():
            yield (
                f"    {name}: {told(after)}"
                if difference.deed == "add"
                else f"    {name}: {told(before)} → {told(after)}"
            )

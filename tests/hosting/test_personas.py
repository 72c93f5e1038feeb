"""Personas, their tokens, and who a caller is: on SQLite and on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import anyio
import pytest
import sqlalchemy as sa

from scale_mcp.hosting.directory import Directory
from scale_mcp.hosting.persona_store import PersonaError, Personas
from scale_mcp.hosting.persona_tables import claims, personas, tokens
from scale_mcp.hosting.personas import Budget, Persona, Route, When
from scale_mcp.hosting.store import Database
from scale_mcp.hosting.tokens import FORM, Tokens
from tests.hosting.personas import HandClock, Trail

pytestmark = pytest.mark.anyio

FULL = Persona(
    id="",
    name="night-shift",
    purpose="Labels what came in over the day.",
    scopes=("tasks:*", "batches:read"),
    tools=("get_project",),
    deny=("tasks:destroy",),
    projects=("streets", "yards"),
    read_only=False,
    confirm="operator",
    confirm_risk="spend",
    budget=Budget(calls_per_day=1_000, tasks_per_day=50, calls_per_minute=30),
    routes=(
        Route(
            "night", When(toolsets=("tasks",), task_types=("imageannotation",), projects=("streets",)), fallback=True
        ),
        Route("main"),
    ),
    models=("large", "small"),
)


class Office:
    """The parts under test on one database, as one replica has them."""

    def __init__(self, database: Database) -> None:
        self.clock = HandClock()
        self.trail = Trail()
        self.personas = Personas(database, self.trail, self.clock)
        self.tokens = Tokens(database, self.trail, self.clock)
        self.directory = Directory(database, self.clock)

    async def signed_up(self, persona: Persona = FULL, **token: timedelta) -> str:
        await self.personas.add(persona, actor="ann")
        _, secret = await self.tokens.issue(persona.name, actor="ann", **token)
        return secret.get_secret_value()


@pytest.fixture
def office(database: Database) -> Office:
    return Office(database)


def address(database: Database) -> str:
    return database.engine.url.set(drivername=database.dialect).render_as_string(hide_password=False)


async def test_a_persona_comes_back_as_it_was_added(office: Office) -> None:
    added = await office.personas.add(FULL, actor="ann")
    assert added == replace(FULL, id=added.id, created_at=added.created_at)
    assert added.id.startswith("per_")
    assert await office.personas.get("night-shift") == await office.personas.get(added.id) == added
    assert await office.personas.list() == [added]


async def test_an_edit_changes_what_it_names_and_nothing_else(office: Office) -> None:
    before = await office.personas.add(FULL, actor="ann")
    after = await office.personas.edit("night-shift", {"read_only": True, "routes": ()}, actor="bob")
    assert after == replace(before, read_only=True, routes=())
    assert await office.personas.get("night-shift") == after
    assert office.trail.kinds == ["persona.added", "persona.edited"]
    edited = office.trail.entries[-1][1]
    assert edited["actor"] == "bob"
    assert "read_only" not in edited["before"]
    assert edited["after"]["read_only"] is True


async def test_an_edit_that_changes_nothing_leaves_no_trace(office: Office) -> None:
    persona = await office.personas.add(FULL, actor="ann")
    before = await office.directory.revision()
    assert await office.personas.edit("night-shift", {"purpose": FULL.purpose}, actor="ann") == persona
    assert office.trail.kinds == ["persona.added"]
    assert await office.directory.revision() == before


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "no spaces"}, "cannot be a persona's name"),
        ({"name": ""}, "cannot be a persona's name"),
        ({"name": "x" * 65}, "cannot be a persona's name"),
        ({"scopes": ("task:read",)}, "Did you mean tasks:read"),
        ({"scopes": ("tasks",)}, "is not a scope"),
        ({"tools": ("get_tsk",)}, "Did you mean get_task"),
        ({"deny": ("cancel_tsk",)}, "Did you mean cancel_task"),
        ({"deny": ("tasks:destory",)}, "Did you mean tasks:destroy"),
        ({"confirm": "perhaps"}, "choose auto, always, never, operator"),
        ({"confirm_risk": "read"}, "choose write, spend or destroy"),
        ({"budget": Budget(calls_per_day=-1)}, "from 0 to"),
        ({"budget": Budget(cost_per_day=Decimal("0.0000001"))}, "six decimals"),
        ({"budget": Budget(cost_per_day=Decimal("NaN"))}, "six decimals"),
        ({"budget": Budget(cost_per_day=Decimal(5))}, "there is no rate card"),
        ({"routes": (Route("  "),)}, "names no connection"),
        ({"routes": (Route("main", When(toolsets=("task",))),)}, "does not exist"),
        ({"projects": ("",)}, "empty name"),
    ],
)
async def test_what_is_misspelt_or_impossible_is_refused_and_nothing_is_kept(
    office: Office, changes: dict[str, object], told: str
) -> None:
    with pytest.raises(PersonaError, match=told):
        await office.personas.add(replace(FULL, **changes), actor="ann")  # type: ignore[arg-type]
    assert await office.personas.list() == []
    assert office.trail.entries == []


async def test_two_personas_cannot_have_one_name(office: Office) -> None:
    await office.personas.add(FULL, actor="ann")
    await office.personas.add(replace(FULL, name="other"), actor="ann")
    with pytest.raises(PersonaError, match="already"):
        await office.personas.add(FULL, actor="ann")
    with pytest.raises(PersonaError, match="already"):
        await office.personas.edit("other", {"name": "night-shift"}, actor="ann")


async def test_changes_by_several_operators_at_once_lose_nothing(office: Office, database: Database) -> None:
    await office.personas.add(FULL, actor="ann")
    changes: list[dict[str, object]] = [
        {"purpose": "other"},
        {"read_only": True},
        {"models": ()},
        {"confirm": "never"},
        {"deny": ()},
        {"scopes": ("*:read",)},
    ]
    async with Database.opened(address(database)) as other, anyio.create_task_group() as group:
        elsewhere = Personas(other, office.trail, office.clock)
        for number, change in enumerate(changes):
            at = office.personas if number % 2 else elsewhere
            group.start_soon(lambda at=at, change=change: at.edit("night-shift", change, actor="ann"))
    after = await office.personas.get("night-shift")
    assert {name: getattr(after, name) for change in changes for name in change} == {
        name: value for change in changes for name, value in change.items()
    }


async def test_of_several_personas_of_one_name_that_are_added_at_once_one_is_kept(office: Office) -> None:
    refused = 0

    async def add() -> None:
        nonlocal refused
        try:
            await office.personas.add(FULL, actor="ann")
        except PersonaError:
            refused += 1

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(add)
    assert refused == 4
    assert len(await office.personas.list()) == 1


@pytest.mark.parametrize(
    "written",
    [
        {"networks": ["10.0.0.0/8"]},
        {"budget": {"tokens_per_day": 5}},
        {"routes": [{"connection": "main", "only_at_night": True}]},
        {"routes": [{"connection": "main", "when": {"weekdays": ["mon"]}}]},
        {"budget": {"cost_per_day": "much"}},
        {"routes": [{}]},
    ],
)
async def test_a_persona_with_a_policy_that_is_not_understood_is_refused_not_unrestricted(
    office: Office, database: Database, written: dict[str, object]
) -> None:
    token = await office.signed_up()
    async with database.writing() as connection:
        await connection.execute(sa.update(personas).values(policy={"scopes": ["*"], **written}))
    assert await office.directory.find(token) is None
    assert (await office.personas.get("night-shift")).disabled


async def test_an_unknown_persona_or_token_is_told_with_where_to_look(office: Office) -> None:
    with pytest.raises(PersonaError, match="persona list"):
        await office.personas.get("nobody")
    with pytest.raises(PersonaError, match="persona list"):
        await office.tokens.issue("nobody", actor="ann")
    with pytest.raises(PersonaError, match="persona show"):
        await office.tokens.revoke("tok_nothing", actor="ann")


async def test_a_token_finds_its_persona_and_is_stored_nowhere(office: Office, database: Database) -> None:
    persona = await office.personas.add(FULL, actor="ann")
    record, secret = await office.tokens.issue("night-shift", label="laptop", user="eve", actor="ann")
    token = secret.get_secret_value()
    assert FORM.fullmatch(token)
    assert token not in repr(secret)
    caller = await office.directory.find(token)
    assert caller is not None
    assert (caller.persona, caller.user, caller.token_id) == (persona, "eve", record.id)
    assert caller.revision == await office.directory.revision()
    async with database.reading() as connection:
        rows = (await connection.execute(sa.select(tokens))).all() + (
            await connection.execute(sa.select(personas))
        ).all()
    assert token not in repr(rows)
    assert token.removeprefix("smcp_") not in repr(rows) + repr(office.trail.entries)


async def test_a_persona_may_have_several_tokens_and_each_is_revoked_alone(office: Office) -> None:
    first = await office.signed_up()
    record, secret = await office.tokens.issue("night-shift", actor="ann")
    await office.tokens.revoke(record.id, actor="ann")
    assert await office.directory.find(secret.get_secret_value()) is None
    assert await office.directory.find(first) is not None
    listed = await office.tokens.list("night-shift")
    assert {token.id for token in listed if token.revoked_at is not None} == {record.id}
    assert len(listed) == 2
    assert await office.tokens.list() == listed


async def test_a_revoked_token_is_refused_on_the_next_call_of_another_replica(
    office: Office, database: Database
) -> None:
    token = await office.signed_up()
    async with Database.opened(address(database)) as other:
        elsewhere = Directory(other, office.clock)
        assert await elsewhere.find(token) is not None
        (record,) = await office.tokens.list()
        await office.tokens.revoke(record.id, actor="ann")
        assert await elsewhere.find(token) is None


@pytest.mark.parametrize("how", ["disabled", "removed"])
async def test_a_persona_that_is_disabled_or_removed_is_refused_in_every_replica(
    office: Office, database: Database, how: str
) -> None:
    token = await office.signed_up()
    async with Database.opened(address(database)) as other:
        elsewhere = Directory(other, office.clock)
        assert await elsewhere.find(token) is not None
        if how == "disabled":
            await office.personas.edit("night-shift", {"disabled": True}, actor="ann")
        else:
            await office.personas.remove("night-shift", actor="ann")
        assert await elsewhere.find(token) is None
        assert await elsewhere.caller_for("night-shift", "eve") is None


async def test_the_token_of_a_removed_persona_does_not_open_a_new_one_of_its_name(office: Office) -> None:
    token = await office.signed_up()
    await office.personas.remove("night-shift", actor="ann")
    await office.personas.add(FULL, actor="ann")
    assert await office.directory.find(token) is None


async def test_a_change_is_seen_by_the_next_look_up_and_moves_the_revision(office: Office) -> None:
    token = await office.signed_up()
    before = await office.directory.find(token)
    await office.personas.edit("night-shift", {"scopes": ("tasks:read",)}, actor="ann")
    after = await office.directory.find(token)
    assert before is not None
    assert after is not None
    assert after.persona.scopes == ("tasks:read",)
    assert after.revision > before.revision


async def test_a_token_ends_at_the_moment_it_was_given_for(office: Office) -> None:
    token = await office.signed_up(expires_in=timedelta(hours=1))
    caller = await office.directory.find(token)
    assert caller is not None
    assert caller.expires_at == office.clock.now + timedelta(hours=1)
    office.clock.forward(timedelta(minutes=59, seconds=59))
    assert await office.directory.find(token) is not None
    office.clock.forward(timedelta(seconds=1))
    assert await office.directory.find(token) is None


async def test_a_token_that_would_be_expired_from_the_start_is_refused(office: Office) -> None:
    await office.personas.add(FULL, actor="ann")
    with pytest.raises(PersonaError, match="above zero"):
        await office.tokens.issue("night-shift", expires_in=timedelta(0), actor="ann")


async def test_revoking_twice_is_one_entry_in_the_trail(office: Office) -> None:
    await office.signed_up()
    (record,) = await office.tokens.list()
    first = await office.tokens.revoke(record.id, actor="ann")
    office.clock.forward(timedelta(days=1))
    assert await office.tokens.revoke(record.id, actor="ann") == first
    assert office.trail.kinds == ["persona.added", "token.issued", "token.revoked"]


@pytest.mark.parametrize(
    "garbage",
    ["", "live_0123456789abcdef0123456789abcdef", "test_0123456789abcdef", "smcp_", "smcp_" + "A" * 43, "\0", "\ud800",
     "é" * 10_000, "' OR 1=1 --"],
)  # fmt: skip
async def test_what_is_no_token_finds_nobody_and_raises_nothing(office: Office, garbage: str) -> None:
    await office.signed_up()
    assert await office.directory.find(garbage) is None
    assert await office.directory.caller_for(garbage, "eve") is None


async def test_a_token_is_found_only_as_it_is(office: Office) -> None:
    token = await office.signed_up()
    for other in (token.lower(), token[:-1], token + "=", f" {token}", token.removeprefix("smcp_")):
        if other != token:
            assert await office.directory.find(other) is None


async def test_a_login_is_the_persona_of_its_claims_name_or_the_one_that_the_operator_chose(
    office: Office, database: Database
) -> None:
    night = await office.personas.add(FULL, actor="ann")
    day = await office.personas.add(replace(FULL, name="day-shift"), actor="ann")
    async with database.writing() as connection:
        await connection.execute(sa.insert(claims).values(value="group/annotators", persona_id=day.id))
        await connection.execute(sa.insert(claims).values(value="night-shift", persona_id=day.id))
    by_group = await office.directory.caller_for("group/annotators", "eve", "desktop")
    assert by_group is not None
    assert (by_group.persona, by_group.user, by_group.client, by_group.token_id) == (day, "eve", "desktop", None)
    chosen = await office.directory.caller_for("night-shift", "eve")
    assert chosen is not None
    assert chosen.persona == day
    by_name = await office.directory.caller_for("day-shift", "eve")
    assert by_name is not None
    assert by_name.persona == day != night


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([], []),
        (["nobody", "\0", "\ud800", ""], []),
        (["night-shift"], ["day-shift"]),
        (["group/annotators", "night-shift", "day-shift"], ["day-shift"]),
        (["day-shift", "late-shift"], ["day-shift", "late-shift"]),
        (["off-shift", "late-shift"], ["late-shift"]),
        ([str(number) for number in range(200)], []),
    ],
)
async def test_all_values_of_a_login_are_looked_up_at_once(
    office: Office, database: Database, values: list[str], names: list[str]
) -> None:
    """As one by one: what the operator chose for a value goes before the persona of that name."""
    made = {
        name: await office.personas.add(replace(FULL, name=name), actor="ann")
        for name in ("night-shift", "day-shift", "late-shift", "off-shift")
    }
    await office.personas.edit("off-shift", {"disabled": True}, actor="ann")
    async with database.writing() as connection:
        for value in ("group/annotators", "night-shift"):
            await connection.execute(sa.insert(claims).values(value=value, persona_id=made["day-shift"].id))
    found = await office.directory.callers_for(values, "eve", "desktop")

    assert sorted(caller.persona.name for caller in found) == names
    assert {(caller.user, caller.client, caller.token_id) for caller in found} <= {("eve", "desktop", None)}
    one_by_one = [await office.directory.caller_for(value, "eve") for value in values]
    assert {caller.persona.name for caller in one_by_one if caller is not None} == set(names)


async def test_changes_that_cannot_be_recorded_do_not_happen(office: Office, database: Database) -> None:
    class Broken(Trail):
        async def append(self, *_: object, **__: object) -> int:  # type: ignore[override]
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await Personas(database, Broken(), office.clock).add(FULL, actor="ann")
    assert await office.personas.list() == []
    await office.personas.add(FULL, actor="ann")
    with pytest.raises(OSError, match="disk full"):
        await Tokens(database, Broken(), office.clock).issue("night-shift", actor="ann")
    assert await office.tokens.list() == []

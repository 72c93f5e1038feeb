"""``personas.toml``: read strictly, applied whole or not at all, and the second time nothing changes."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from scale_mcp.hosting.applying import Applied, apply, as_json, as_lines
from scale_mcp.hosting.declaration import DeclarationError, read_file, read_text
from scale_mcp.hosting.directory import Directory
from scale_mcp.hosting.errors import OperatorError
from scale_mcp.hosting.persona_store import Personas
from scale_mcp.hosting.personas import Budget, Persona, Route, When
from scale_mcp.hosting.rates import rate_card
from scale_mcp.hosting.store import Database, metadata
from tests.hosting.personas import HandClock, Trail

pytestmark = pytest.mark.anyio

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "personas.example.toml"
TWO = """
[rates]
imageannotation = 0.1

[claims]
"group/night" = "night"

[[persona]]
name = "night"
scopes = ["tasks:*"]
routes = [{ connection = "main" }]
budget = { cost_per_day = 12.50 }

[[persona]]
name = "day"
scopes = ["*:read"]
"""
WEBHOOK = """
[[webhook]]
name = "ci"
url = "https://hooks.example.com/scale"
kinds = ["completed"]
"""


class Seals:
    """Stands in for the vault."""

    def seal(self, secret: SecretStr | str, *, row: str, purpose: str) -> str:
        return f"sealed for {row}"

    def open(self, sealed: str, *, row: str, purpose: str) -> SecretStr:
        raise NotImplementedError


class Desk:
    """Applies texts to one database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.trail = Trail()
        self.clock = HandClock()
        self.personas = Personas(database, self.trail, self.clock)

    async def apply(self, text: str, **how: Any) -> Applied:
        return await apply(
            read_text(text), self.database, self.trail, vault=Seals(), actor="ann", clock=self.clock, **how
        )

    async def everything(self) -> dict[str, list[Any]]:
        """All rows of all tables."""
        async with self.database.reading() as connection:
            return {
                table.name: [tuple(row) for row in await connection.execute(sa.select(table))]
                for table in metadata.sorted_tables
            }


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


async def test_a_file_makes_what_it_declares(desk: Desk) -> None:
    applied = await desk.apply(TWO)
    day, night = await desk.personas.list()
    assert (day.name, day.scopes, day.declared) == ("day", ("*:read",), True)
    assert (night.routes, night.budget) == ((Route("main"),), Budget(cost_per_day=Decimal("12.5")))
    assert (await rate_card(desk.database)).rates == {"imageannotation": Decimal("0.1")}
    caller = await Directory(desk.database).caller_for("group/night", "eve")
    assert caller is not None
    assert caller.persona == night
    assert desk.trail.kinds == ["rates.changed", "persona.added", "persona.added", "claims.changed"]
    assert {content["actor"] for _, content in desk.trail.entries} == {"ann"}
    assert list(as_lines(applied.differences)) == [
        "~ rates",
        "    imageannotation: (none) → 0.1",
        "+ persona night",
        '    scopes: ["tasks:*"]',
        '    budget: {"cost_per_day": "12.5"}',
        '    routes: [{"connection": "main"}]',
        "+ persona day",
        '    scopes: ["*:read"]',
        "~ claims",
        "    group/night: (none) → night",
    ]


async def test_applied_again_nothing_changes_to_the_last_row(desk: Desk) -> None:
    await desk.apply(TWO + WEBHOOK)
    before, entries = await desk.everything(), len(desk.trail.entries)
    again = await desk.apply(TWO + WEBHOOK)
    assert again.differences == ()
    assert dict(again.secrets) == {}
    assert await desk.everything() == before
    assert len(desk.trail.entries) == entries


@pytest.mark.parametrize("prune", [False, True])
async def test_a_dry_run_tells_everything_and_changes_nothing(desk: Desk, prune: bool) -> None:
    await desk.apply(TWO.replace("tasks:*", "tasks:read"))
    await desk.personas.add(Persona(id="", name="by-hand", scopes=("*",)), actor="ann")
    before, entries = await desk.everything(), len(desk.trail.entries)
    tried = await desk.apply(TWO + WEBHOOK, dry_run=True, prune=prune)
    assert await desk.everything() == before
    assert len(desk.trail.entries) == entries
    assert dict(tried.secrets) == {}
    done = await desk.apply(TWO + WEBHOOK, prune=prune)
    assert as_json(done) == as_json(tried)
    assert list(as_lines(tried.differences)) == [
        "~ persona night",
        '    scopes: ["tasks:read"] → ["tasks:*"]',
        *(["- persona by-hand"] if prune else []),
        "+ webhook ci",
        "    url: https://hooks.example.com/scale",
        '    kinds: ["completed"]',
    ]
    assert tried.left == (() if prune else ("persona by-hand",))


async def test_what_the_file_does_not_mention_is_left_unless_it_is_pruned(desk: Desk) -> None:
    await desk.apply(TWO + WEBHOOK)
    only_day = '[[persona]]\nname = "day"\nscopes = ["*:read"]\n'
    left = await desk.apply(only_day)
    assert left.differences == ()
    assert left.left == ("persona night", "webhook ci")
    assert (await rate_card(desk.database)).rates, "a section that is not there says nothing"
    pruned = await desk.apply(only_day, prune=True)
    assert [(each.deed, each.what, each.name) for each in pruned.differences] == [
        ("remove", "persona", "night"),
        ("remove", "webhook", "ci"),
    ]
    assert [persona.name for persona in await desk.personas.list()] == ["day"]


async def test_a_declared_persona_keeps_its_id_and_tokens_and_takes_the_files_word_for_everything(desk: Desk) -> None:
    by_hand = await desk.personas.add(
        Persona(id="", name="night", scopes=("*",), read_only=True, models=("x",)), actor="ann"
    )
    applied = await desk.apply(TWO)
    night = await desk.personas.get("night")
    assert night.id == by_hand.id
    assert (night.scopes, night.read_only, night.models, night.declared) == (("tasks:*",), False, (), True)
    told = list(as_lines(applied.differences))
    assert "    read_only: true → (none)" in told
    assert "    declared: (none) → true" in told


async def test_a_new_webhooks_secret_is_given_once_and_is_in_no_trail(desk: Desk) -> None:
    applied = await desk.apply(TWO + WEBHOOK)
    secret = applied.secrets["ci"].get_secret_value()
    assert len(secret) > 20
    assert secret not in str(desk.trail.entries) + str(as_json(applied)) + str(list(as_lines(applied.differences)))
    with pytest.raises(ValueError, match="without a vault"):
        await apply(read_text(WEBHOOK), desk.database, desk.trail, actor="ann")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TWO + WEBHOOK.replace("https://hooks.example.com", "http://169.254.169.254"), "https"),
        (TWO.replace('"group/night" = "night"', '"group/night" = "nihgt"'), "names persona 'nihgt'"),
        ('[[persona]]\nname = "p"\nbudget = { cost_per_day = 1 }\n', "no rate card"),
    ],
)
async def test_one_thing_that_cannot_be_applied_leaves_all_the_rest_undone(desk: Desk, text: str, told: str) -> None:
    before = await desk.everything()
    with pytest.raises(OperatorError, match=told):
        await desk.apply(text)
    with pytest.raises(OperatorError, match=told):
        await desk.apply(text, dry_run=True)
    assert await desk.everything() == before


async def test_rates_that_a_persona_of_another_origin_needs_cannot_be_taken_away(desk: Desk) -> None:
    await desk.apply(TWO)
    with pytest.raises(OperatorError, match="limits of cost of night mean nothing"):
        await desk.apply("[rates]\n")


async def test_what_works_only_after_something_else_is_pointed_out(desk: Desk) -> None:
    applied = await desk.apply(TWO + '[[persona]]\nname = "idle"\n')
    assert list(applied.warnings) == [
        "persona night: there is no connection 'main' yet; `scale-mcp connection add main` adds it.",
        "persona day has no route, so its calls reach no connection.",
        "persona idle has no route, so its calls reach no connection.",
        "persona idle has neither scopes nor tools, so it may use nothing.",
    ]


async def test_the_example_in_the_docs_applies_once_and_is_what_it_says(desk: Desk) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert read_file(EXAMPLE) == read_text(text)
    await desk.apply(text)
    assert (await desk.apply(text)).differences == ()
    night = await desk.personas.get("night-shift")
    assert night.confirm == "operator"
    assert night.budget == Budget(5000, 2000, Decimal(150), 60)
    assert night.routes == (
        Route("bulk", When(task_types=("imageannotation",), projects=("streets",)), fallback=True),
        Route("main"),
    )
    dashboard = await desk.personas.get("dashboard")
    assert dashboard.budget == Budget(calls_per_day=5000, calls_per_minute=10)
    assert dashboard.routes == (Route("main"),)


PERSONA = '[[persona]]\nname = "p"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[persona]\n", "not TOML"),
        ("[[persona]]\n", "persona number 1: `name` is missing"),
        (PERSONA + 'scope = ["tasks:read"]', "persona 'p': `scope` is unknown here; did you mean `scopes`?"),
        (PERSONA + 'scopes = "tasks:read"', "persona 'p': `scopes` must be a list"),
        (PERSONA + 'scopes = ["taks:read"]', "persona 'p': 'taks:read' is not a scope. Did you mean tasks:read?"),
        (PERSONA + 'read_only = "yes"', "`read_only` must be true or false"),
        (PERSONA + 'confirm = "allways"', "`confirm`"),
        (PERSONA + 'confirm_risk = "read"', "`confirm_risk`"),
        (PERSONA + "budget = { calls_per_day = 1.5 }", "`budget.calls_per_day` must be an integer"),
        (PERSONA + "budget = { cost_per_day = true }", "`budget.cost_per_day` must be a number"),
        (PERSONA + "budget = { calls_per_hour = 1 }", "`budget.calls_per_hour` is unknown here"),
        (PERSONA + 'routes = [{ conection = "main" }]', "did you mean `connection`"),
        (PERSONA + 'routes = [{ connection = "main", when = { types = ["x"] } }]', "`routes[0].when.types` is unknown"),
        (PERSONA + PERSONA, "persona 'p' is declared more than once"),
        (PERSONA.replace('"p"', '"a b"'), "cannot be a persona's name"),
        ("[rates]\nimageanotation = 1", "Did you mean imageannotation"),
        ('[rates]\nimageannotation = "much"', "`rates.imageannotation` must be a number"),
        ("[[personas]]\nname = 'p'", "`personas` is unknown here; did you mean `persona`?"),
        ('[defaults]\nname = "p"', "`defaults.name` is unknown"),
        ("[claims]\ngroup = 1", "`claims.group` must be a string"),
        ("[[webhook]]\nname = 'w'", "webhook 'w': `url` is missing"),
    ],
)
async def test_what_is_wrong_with_a_file_is_told_where_it_stands(text: str, told: str) -> None:
    with pytest.raises(DeclarationError) as refusal:
        read_text(text)
    assert told in str(refusal.value)


async def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(DeclarationError) as refusal:
        read_text('[[persona]]\nname = "a"\nscopes = ["x:y"]\ntools = ["z"]\n[[persona]]\nname = "b"\ndeny = ["w"]\n')
    assert len(str(refusal.value).splitlines()) == 3


async def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="cannot be read"):
        read_file(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(DeclarationError, match="UTF-8"):
        read_file(tmp_path / "bytes.toml")


async def test_money_is_taken_as_it_is_written() -> None:
    (persona,) = read_text(PERSONA + "budget = { cost_per_day = 0.1 }").personas
    assert persona.budget.cost_per_day == Decimal("0.1")
    assert replace(persona.budget, cost_per_day=None).unlimited

"""Budgets: no limit is passed however many calls come at once, from whichever replica, before and after a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import anyio
import pytest
import sqlalchemy as sa

from scale_mcp.hosting.budgets import Budgets, BudgetSpent, CostUnknown, Kind, Lease
from scale_mcp.hosting.personas import Budget, Persona
from scale_mcp.hosting.rates import RateCard, problems_with_rates, rate_card, write_rates
from scale_mcp.hosting.store import Database
from scale_mcp.hosting.turns import Turns
from scale_mcp.tools.arguments import check
from scale_mcp.tools.registry import cards
from tests.hosting.personas import HandClock
from tests.tool_arguments import ARGUMENTS

pytestmark = pytest.mark.anyio

CREATE = "create_image_annotation_task"
RATES = RateCard({"imageannotation": Decimal("0.08"), "textcollection": Decimal("1.5")})


def persona(name: str = "ada", **limits: object) -> Persona:
    return Persona(id=f"per_{name}", name=name, budget=Budget(**limits))  # type: ignore[arg-type]


class Till:
    """The budgets of one replica, and how calls take from them."""

    def __init__(self, database: Database, clock: HandClock) -> None:
        self.clock = clock
        self.budgets = Budgets(database, clock)

    async def take(self, who: Persona, tool: str = "get_task", kind: Kind = "live") -> Lease:
        card = cards()[tool]
        return await self.budgets.take(who, card, check(card, ARGUMENTS[tool]), kind)

    async def passed(self, who: Persona, times: int, tool: str = "get_task") -> int:
        """How many of so many calls at once were let through."""
        went = 0

        async def call() -> None:
            nonlocal went
            try:
                await self.take(who, tool)
            except BudgetSpent:
                return
            went += 1

        async with anyio.create_task_group() as group:
            for _ in range(times):
                group.start_soon(call)
        return went


@pytest.fixture
async def till(database: Database) -> Till:
    async with database.writing() as connection:
        await write_rates(connection, RATES)
    return Till(database, HandClock())


@pytest.fixture
async def other(till: Till, database: Database) -> AsyncIterator[Till]:
    """Another replica."""
    url = database.engine.url.set(drivername=database.dialect).render_as_string(hide_password=False)
    async with Database.opened(url) as opened:
        yield Till(opened, till.clock)


@pytest.mark.parametrize("limit", ["calls_per_day", "calls_per_minute"])
async def test_of_200_calls_at_once_exactly_as_many_pass_as_the_limit_allows(till: Till, limit: str) -> None:
    assert await till.passed(persona(**{limit: 37}), 200) == 37


async def test_of_200_creates_at_once_exactly_as_many_pass_as_may_be_created_or_paid(till: Till) -> None:
    assert await till.passed(persona(tasks_per_day=11), 200, CREATE) == 11
    costly = persona("bob", cost_per_day=Decimal("1.00"))
    assert await till.passed(costly, 200, CREATE) == 12  # 12 × 0.08 = 0.96
    spent = await till.budgets.spent(costly)
    assert (spent.tasks, spent.cost) == (12, Decimal("0.96"))


async def test_two_replicas_share_one_count(till: Till, other: Till) -> None:
    who = persona(calls_per_day=50)
    went: list[int] = []

    async def run(at: Till) -> None:
        went.append(await at.passed(who, 100))

    async with anyio.create_task_group() as group:
        group.start_soon(run, till)
        group.start_soon(run, other)
    assert sum(went) == 50
    assert (await other.budgets.spent(who)).calls == 50


async def test_a_budget_outlasts_a_restart(till: Till, other: Till) -> None:
    who = persona(calls_per_day=3)
    assert await till.passed(who, 3) == 3
    with pytest.raises(BudgetSpent):
        await other.take(who)


async def test_one_personas_loop_leaves_the_others_untouched(till: Till) -> None:
    assert await till.passed(persona("ada", calls_per_minute=5), 60) == 5
    assert await till.passed(persona("bob", calls_per_minute=5), 5) == 5


async def test_a_persona_without_limits_is_not_counted(till: Till) -> None:
    who = persona()
    await (await till.take(who, CREATE)).settle(1)
    assert (await till.budgets.spent(who)).calls == 0


async def test_the_refusal_names_the_limit_and_when_it_frees(till: Till) -> None:
    who = persona(calls_per_day=2, calls_per_minute=1)
    await till.take(who)
    with pytest.raises(BudgetSpent) as minute:
        await till.take(who)
    assert minute.value.limit == "calls_per_minute"
    assert minute.value.retry_after == 30
    assert "1 calls a minute" in str(minute.value)
    assert "2026-11-22 12:01 UTC, in 30 s" in str(minute.value)
    till.clock.forward(timedelta(seconds=30))
    await till.take(who)
    with pytest.raises(BudgetSpent) as day:
        await till.take(who)
    assert (day.value.limit, day.value.code, day.value.retryable) == ("calls_per_day", "budget_spent", True)
    assert "2026-11-23 00:00 UTC, in 11 h 59 min" in str(day.value)


async def test_a_refused_call_takes_nothing(till: Till) -> None:
    who = persona(calls_per_day=10, tasks_per_day=0)
    for _ in range(5):
        with pytest.raises(BudgetSpent):
            await till.take(who, CREATE)
    assert (await till.budgets.spent(who)).calls == 0
    await till.take(who)


async def test_a_new_minute_and_a_new_day_begin_at_zero(till: Till) -> None:
    who = persona(calls_per_day=3, calls_per_minute=2)
    assert await till.passed(who, 5) == 2
    till.clock.forward(timedelta(minutes=1))
    assert await till.passed(who, 5) == 1
    till.clock.forward(timedelta(days=1))
    assert await till.passed(who, 5) == 2


async def test_a_replica_whose_clock_runs_behind_opens_no_minute_again(till: Till, other: Till) -> None:
    who = persona(calls_per_minute=4)
    ahead = Till(other.budgets._database, HandClock(till.clock.now + timedelta(minutes=1)))
    assert await ahead.passed(who, 4) == 4
    assert await till.passed(who, 4) == 0
    assert await ahead.passed(who, 4) == 0


async def test_what_was_not_created_is_given_back(till: Till) -> None:
    who = persona(tasks_per_day=1, cost_per_day=Decimal(1))
    lease = await till.take(who, CREATE)
    await lease.settle(0)
    await lease.settle(0)
    spent = await till.budgets.spent(who)
    assert (spent.calls, spent.tasks, spent.cost) == (1, 0, 0)
    await (await till.take(who, CREATE)).settle(1)
    assert (await till.budgets.spent(who)).tasks == 1
    with pytest.raises(BudgetSpent):
        await till.take(who, CREATE)


async def test_a_cost_that_was_learned_stands_in_the_place_of_the_estimate(till: Till) -> None:
    who = persona(cost_per_day=Decimal(1))
    await (await till.take(who, CREATE)).settle(1, Decimal("0.5"))
    assert (await till.budgets.spent(who)).cost == Decimal("0.5")


async def test_what_is_given_back_after_midnight_is_given_to_its_own_day(till: Till) -> None:
    who = persona(tasks_per_day=5)
    lease = await till.take(who, CREATE)
    till.clock.forward(timedelta(days=1))
    await till.take(who, CREATE)
    await lease.settle(0)
    assert (await till.budgets.spent(who)).tasks == 1


async def test_what_cannot_be_given_back_stays_taken_and_spoils_no_answer(
    till: Till, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    who = persona(tasks_per_day=5)
    lease = await till.take(who, CREATE)
    async with database.writing() as connection:
        await connection.execute(sa.text("ALTER TABLE spending RENAME TO elsewhere"))
    await lease.settle(0)
    assert "could not be corrected" in caplog.text
    async with database.writing() as connection:
        await connection.execute(sa.text("ALTER TABLE elsewhere RENAME TO spending"))
    assert (await till.budgets.spent(who)).tasks == 1


@pytest.mark.parametrize(("kind", "cost"), [("live", "0.08"), ("test", "0"), ("sandbox", "0")])
async def test_only_live_tasks_cost_but_all_of_them_count(till: Till, kind: Kind, cost: str) -> None:
    who = persona(tasks_per_day=5, cost_per_day=Decimal(1))
    await till.take(who, CREATE, kind)
    spent = await till.budgets.spent(who)
    assert (spent.tasks, spent.cost) == (1, Decimal(cost))


async def test_a_live_task_without_a_rate_is_refused_where_costs_are_limited_only(till: Till) -> None:
    lidar = "create_lidar_annotation_task"
    with pytest.raises(CostUnknown, match="no rate for lidarannotation"):
        await till.take(persona(cost_per_day=Decimal(1)), lidar)
    await till.take(persona(cost_per_day=Decimal(1)), lidar, "test")
    await till.take(persona("bob", tasks_per_day=1), lidar)


async def test_a_star_rates_every_other_type_and_evaluation_tasks_go_by_their_type(
    till: Till, database: Database
) -> None:
    async with database.writing() as connection:
        await write_rates(connection, RateCard({"*": Decimal(2), "imageannotation": Decimal(1)}))
    who = persona(cost_per_day=Decimal(100))
    await till.take(who, "create_lidar_annotation_task")
    await till.take(who, "create_evaluation_task")
    kind = ARGUMENTS["create_evaluation_task"]["type"]
    assert (await till.budgets.spent(who)).cost == 2 + (1 if kind == "imageannotation" else 2)
    assert (await till.budgets.spent(who)).tasks == 2


async def test_a_lowered_limit_stops_what_it_is_about_and_nothing_else(till: Till) -> None:
    who = persona(tasks_per_day=5, calls_per_day=100)
    assert await till.passed(who, 5, CREATE) == 5
    lower = replace(who, budget=Budget(tasks_per_day=2, calls_per_day=100))
    with pytest.raises(BudgetSpent):
        await till.take(lower, CREATE)
    await till.take(lower)


async def test_the_rate_card_comes_back_to_the_last_decimal(database: Database) -> None:
    card = RateCard({"imageannotation": Decimal("0.000001"), "*": Decimal("123456.654321")})
    async with database.writing() as connection:
        await write_rates(connection, card)
    assert await rate_card(database) == card


def test_a_rate_card_with_unknown_types_or_unusable_numbers_is_refused() -> None:
    told = list(problems_with_rates({"imageanotation": Decimal(1), "*": Decimal(-1), "chat": Decimal("0.0000001")}))
    assert len(told) == 3
    assert "Did you mean imageannotation" in told[0]


async def test_writes_that_wait_for_each_other_go_together_and_each_gets_its_own_answer() -> None:
    groups: list[int] = []

    async def write(items: list[int]) -> list[int]:
        groups.append(len(items))
        await anyio.lowlevel.checkpoint()
        return [item * item for item in items]

    turns: Turns[int, int] = Turns(write)
    answers: dict[int, int] = {}

    async def take(item: int) -> None:
        answers[item] = await turns.take(item)

    async with anyio.create_task_group() as group:
        for item in range(250):
            group.start_soon(take, item)
    assert answers == {item: item * item for item in range(250)}
    assert sum(groups) == 250
    assert len(groups) < 10


async def test_a_write_that_fails_fails_for_all_it_was_for_and_not_for_later_ones() -> None:
    broken = True

    async def write(items: list[int]) -> list[int]:
        if broken:
            raise OSError("disk full")
        return items

    turns: Turns[int, int] = Turns(write)
    failed = 0

    async def take() -> None:
        nonlocal failed
        with pytest.raises(OSError, match="disk full"):
            await turns.take(1)
        failed += 1

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(take)
    assert failed == 3
    broken = False
    assert await turns.take(2) == 2


async def test_whoever_gives_up_before_its_turn_is_not_written() -> None:
    begun, go_on = anyio.Event(), anyio.Event()
    written: list[int] = []

    async def write(items: list[int]) -> list[int]:
        written.extend(items)
        begun.set()
        await go_on.wait()
        return items

    turns: Turns[int, int] = Turns(write)
    async with anyio.create_task_group() as group:
        group.start_soon(turns.take, 1)
        await begun.wait()
        with anyio.CancelScope() as scope:
            group_of_one = anyio.create_task_group()
            async with group_of_one:
                group_of_one.start_soon(turns.take, 2)
                await anyio.lowlevel.checkpoint()
                scope.cancel()
        go_on.set()
    assert await turns.take(3) == 3
    assert written == [1, 3]

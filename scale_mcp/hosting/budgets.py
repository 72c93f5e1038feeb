"""What a persona may use: calls a minute and a day, tasks created a day, their estimated cost a day.

Counted in the store, so that a restart forgets nothing and replicas share one count. A call takes what it may use
before it is made, and gives back afterwards what it did not. Taking from all limits is one statement: however many
calls come at once, none goes past a limit. What was taken by a process that died stays taken.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from scale_mcp.hosting.clock import Clock, utc_now
from scale_mcp.hosting.persona_tables import rates, spending
from scale_mcp.hosting.personas import Persona
from scale_mcp.hosting.rates import MICROS, OTHERS
from scale_mcp.hosting.turns import Turns
from scale_mcp.tools.card import ToolFailure
from scale_mcp.tools.registry import MODULES

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from scale_mcp.hosting.store import Database
    from scale_mcp.models.base import RequestModel
    from scale_mcp.tools.card import Card

log = logging.getLogger(__name__)

Kind = Literal["live", "test", "sandbox"]
Limit = Literal["calls_per_minute", "calls_per_day", "tasks_per_day", "cost_per_day"]

CREATES_TASKS = frozenset(MODULES["create_tasks"])
UNITS: Mapping[Limit, str] = {
    "calls_per_minute": "calls a minute",
    "calls_per_day": "calls a day",
    "tasks_per_day": "new tasks a day",
    "cost_per_day": "a day for new tasks, by the operator's estimate",
}


class BudgetSpent(ToolFailure):
    """A limit of the persona's is reached. ``retry_after`` (seconds) is when it frees; nothing was sent."""

    code = "budget_spent"
    retryable = True

    def __init__(self, limit: Limit, allowed: int | Decimal, frees_at: datetime, now: datetime) -> None:
        self.limit = limit
        self.frees_at = frees_at
        self.retry_after = max(0.0, (frees_at - now).total_seconds())
        super().__init__(
            f"Nothing was sent: this would pass the limit of {_plain(allowed)} {UNITS[limit]} ({limit}). It frees at "
            f"{frees_at:%Y-%m-%d %H:%M} UTC, in {_spoken(self.retry_after)}; the operator can raise it."
        )


class CostUnknown(ToolFailure):
    """A persona with a limit of cost creates a live task whose cost nobody has estimated."""

    code = "cost_unknown"

    def __init__(self, task_type: str) -> None:
        super().__init__(
            f"Nothing was sent: costs are limited here, and the rate card has no rate for {task_type} tasks. Ask the "
            "operator to add one."
        )


@dataclass(frozen=True)
class Spent:
    """What a persona has used today, and of the current minute's calls."""

    calls: int = 0
    tasks: int = 0
    cost: Decimal = Decimal(0)
    calls_this_minute: int = 0


@dataclass(frozen=True)
class _Taking:
    """What one call takes. ``cost`` in millionths."""

    persona: Persona
    now: datetime
    tasks: int
    cost: int

    @property
    def day(self) -> str:
        return f"{self.now.astimezone(UTC):%Y-%m-%d}"

    @property
    def minute(self) -> int:
        return int(self.now.timestamp()) // 60


class Lease:
    """What one call has taken. A lease that is never settled stays taken whole."""

    def __init__(self, budgets: Budgets | None = None, taking: _Taking | None = None) -> None:
        self._budgets = budgets
        self._taking = taking

    async def settle(self, created: int, cost: Decimal | None = None) -> None:
        """Say what came of it: how many tasks were created, and what they cost if not what was estimated.

        A create whose outcome is unknown counts as one that happened. Settling again does nothing. Raises nothing: what
        cannot be given back stays taken.
        """
        budgets, taking, self._taking = self._budgets, self._taking, None
        if budgets is None or taking is None:
            return
        used = int((cost * MICROS).to_integral_value(ROUND_CEILING)) if cost is not None else taking.cost * created
        try:
            await budgets.correct(taking, created - taking.tasks, used - taking.cost)
        except (SQLAlchemyError, OSError) as problem:
            log.warning("A budget could not be corrected after a call: %s", type(problem).__name__)


class Budgets:
    """The budgets of all personas. ``refusals`` counts those of this process, by the persona's name and the limit."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self.refusals: Counter[tuple[str, Limit]] = Counter()
        self._database = database
        self._clock = clock
        self._turns: Turns[_Taking, Limit | None] = Turns(self._take_together)

    async def take(self, persona: Persona, card: Card, request: RequestModel, connection_kind: Kind) -> Lease:
        """Take what this call may use. Raises ``BudgetSpent`` and ``CostUnknown``; then nothing is taken.

        Tasks count wherever they are created, costs with a live key only.
        """
        if persona.budget.unlimited:
            return Lease()
        creates = card.name in CREATES_TASKS
        cost = await self._estimate(persona, request) if creates and connection_kind == "live" else 0
        taking = _Taking(persona, self._clock(), int(creates), cost)
        if (reached := await self._turns.take(taking)) is not None:
            self.refusals[persona.name, reached] += 1
            raise _spent(reached, taking)
        return Lease(self, taking)

    async def spent(self, persona: Persona) -> Spent:
        """What is used of the persona's budget now. Personas without any limit are not counted."""
        taking = _Taking(persona, self._clock(), 0, 0)
        async with self._database.reading() as connection:
            row = (await connection.execute(_row_of(taking))).mappings().one_or_none()
        if row is None:
            return Spent()
        this_minute = row["minute_calls"] if row["minute"] >= taking.minute else 0
        return Spent(row["calls"], row["tasks"], Decimal(row["cost"]) / MICROS, this_minute)

    async def correct(self, taking: _Taking, tasks: int, cost: int) -> None:
        """Add to what was counted on the day of ``taking``. What is given back never makes a count negative."""
        if not tasks and not cost:
            return
        async with self._database.writing() as connection:
            await connection.execute(
                sa.update(spending)
                .where(spending.c.persona_id == taking.persona.id, spending.c.day == taking.day)
                .values(tasks=_at_least_0(spending.c.tasks + tasks), cost=_at_least_0(spending.c.cost + cost))
            )

    async def _estimate(self, persona: Persona, request: RequestModel) -> int:
        """Millionths that the task is expected to cost; 0 without a rate where costs are not limited."""
        task_type = str(getattr(request, "task_type", None) or getattr(request, "type", ""))
        async with self._database.reading() as connection:
            found = await connection.execute(
                sa.select(rates.c.task_type, rates.c.rate).where(rates.c.task_type.in_((task_type, OTHERS)))
            )
            known: dict[str, int] = {kind: rate for kind, rate in found}  # noqa: C416  # rows unpack, dict() does not
        rate = known.get(task_type, known.get(OTHERS))
        if rate is None and persona.budget.cost_per_day is not None:
            raise CostUnknown(task_type)
        return rate or 0

    async def _take_together(self, takings: list[_Taking]) -> list[Limit | None]:
        """Take for several calls in one transaction; for each None, or the limit that it would have passed."""
        # In one order of rows everywhere, so that two replicas never wait for each other.
        order = sorted(range(len(takings)), key=lambda index: (takings[index].persona.id, takings[index].day))
        reached: list[Limit | None] = [None] * len(takings)
        async with self._database.writing() as connection:
            for index in order:
                reached[index] = await self._take_one(connection, takings[index])
        return reached

    async def _take_one(self, connection: AsyncConnection, taking: _Taking) -> Limit | None:
        if (reached := _first_passed(taking, 1, 1, taking.tasks, taking.cost)) is not None:
            return reached  # even the first call of the day would be too much
        taken = await connection.execute(_taking_statement(self._database.dialect, taking))
        if taken.first() is not None:
            return None
        row = (await connection.execute(_row_of(taking))).mappings().one()  # the statement has locked it
        this_minute = row["minute_calls"] if row["minute"] >= taking.minute else 0
        tasks, cost = row["tasks"] + taking.tasks, row["cost"] + taking.cost
        reached = _first_passed(taking, this_minute + 1, row["calls"] + 1, tasks, cost)
        assert reached is not None, "the statement and the words disagree about a limit"
        return reached


def _taking_statement(dialect: str, taking: _Taking) -> Any:
    """One statement that counts the call, or counts nothing and returns no row when a limit would be passed."""
    budget = taking.persona.budget
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    # A replica whose clock runs behind counts in the minute that another has begun, and never reopens an old one.
    in_minute = sa.case((spending.c.minute >= taking.minute, spending.c.minute_calls), else_=0)
    within = [
        count + more <= limit
        for count, more, limit in (
            (in_minute, 1, budget.calls_per_minute),
            (spending.c.calls, 1, budget.calls_per_day),
            # A call that takes nothing of a limit is not stopped by it, even when the limit was lowered meanwhile.
            (spending.c.tasks, taking.tasks, budget.tasks_per_day if taking.tasks else None),
            (spending.c.cost, taking.cost, _micros(budget.cost_per_day) if taking.cost else None),
        )
        if limit is not None
    ]
    return (
        insert(spending)
        .values(
            persona_id=taking.persona.id,
            day=taking.day,
            calls=1,
            tasks=taking.tasks,
            cost=taking.cost,
            minute=taking.minute,
            minute_calls=1,
        )
        .on_conflict_do_update(
            index_elements=[spending.c.persona_id, spending.c.day],
            set_={
                "calls": spending.c.calls + 1,
                "tasks": spending.c.tasks + taking.tasks,
                "cost": spending.c.cost + taking.cost,
                "minute": sa.case((spending.c.minute >= taking.minute, spending.c.minute), else_=taking.minute),
                "minute_calls": in_minute + 1,
            },
            where=sa.and_(sa.true(), *within),
        )
        .returning(spending.c.calls)
    )


def _first_passed(taking: _Taking, in_minute: int, calls: int, tasks: int, cost: int) -> Limit | None:
    """The limit that these counts would be above. The one that takes longest to free comes first."""
    budget = taking.persona.budget
    cost_limit = _micros(budget.cost_per_day)
    if taking.cost and cost_limit is not None and cost > cost_limit:
        return "cost_per_day"
    if taking.tasks and budget.tasks_per_day is not None and tasks > budget.tasks_per_day:
        return "tasks_per_day"
    if budget.calls_per_day is not None and calls > budget.calls_per_day:
        return "calls_per_day"
    if budget.calls_per_minute is not None and in_minute > budget.calls_per_minute:
        return "calls_per_minute"
    return None


def _spent(limit: Limit, taking: _Taking) -> BudgetSpent:
    now = taking.now.astimezone(UTC)
    if limit == "calls_per_minute":
        frees_at = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    else:
        frees_at = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return BudgetSpent(limit, getattr(taking.persona.budget, limit), frees_at, now)


def _row_of(taking: _Taking) -> sa.Select[Any]:
    return sa.select(spending).where(spending.c.persona_id == taking.persona.id, spending.c.day == taking.day)


def _at_least_0(count: Any) -> Any:
    return sa.case((count > 0, count), else_=0)


def _micros(cost: Decimal | None) -> int | None:
    return None if cost is None else int(cost * MICROS)


def _plain(number: int | Decimal) -> str:
    return f"{number:,f}" if isinstance(number, Decimal) else f"{number:,}"


def _spoken(seconds: float) -> str:
    minutes, rest = divmod(int(seconds + 0.999), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

"""The rate card: what the operator expects a task of each type to cost. An estimate, as Scale's API tells no prices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

import sqlalchemy as sa

from scale_mcp.hosting.persona_tables import rates
from scale_mcp.models.field_types import TASK_TYPES
from scale_mcp.models.wording import near_miss

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from scale_mcp.hosting.store import Database

MICROS = 1_000_000
OTHERS = "*"  # the rate of all task types without one of their own
HIGHEST = Decimal(1_000_000)


@dataclass(frozen=True)
class RateCard:
    """Cost of one live task by its type, in the operator's currency. Without a card nothing can be estimated."""

    rates: Mapping[str, Decimal] = field(default_factory=dict)

    def rate_of(self, task_type: str) -> Decimal | None:
        return self.rates.get(task_type, self.rates.get(OTHERS))


def problems_with_rates(given: Mapping[str, Decimal]) -> Iterator[str]:
    """A sentence for each line of a rate card that cannot be used."""
    for task_type, rate in given.items():
        if task_type != OTHERS and task_type not in TASK_TYPES:
            meant = near_miss(task_type, TASK_TYPES)
            cure = f"Did you mean {meant}?" if meant else f"Write a task type such as imageannotation, or {OTHERS!r}."
            yield f"The rate card names {task_type[:80]!r}, which is no task type. {cure}"
        if not rate.is_finite() or not 0 <= rate <= HIGHEST or rate * MICROS % 1:
            yield f"The rate of {task_type[:80]} is {rate}; write 0 to {HIGHEST:,}, with at most six decimals."


async def read_rates(connection: AsyncConnection) -> RateCard:
    """The card as it is in the store."""
    rows = await connection.execute(sa.select(rates.c.task_type, rates.c.rate).order_by(rates.c.task_type))
    return RateCard({task_type: Decimal(rate) / MICROS for task_type, rate in rows})


async def write_rates(connection: AsyncConnection, card: RateCard) -> None:
    """Put this card in the place of the one in the store."""
    await connection.execute(sa.delete(rates))
    if card.rates:
        rows = [{"task_type": kind, "rate": int(rate * MICROS)} for kind, rate in card.rates.items()]
        await connection.execute(sa.insert(rates), rows)


async def rate_card(database: Database) -> RateCard:
    async with database.reading() as connection:
        return await read_rates(connection)

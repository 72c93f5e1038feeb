"""Where tasks live, and where creates with one unique_id go: the same for all replicas, whatever comes at once."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest
import sqlalchemy as sa

from scale_mcp.hosting.homes import Home, Homes, Place, create_places, task_homes
from scale_mcp.hosting.store import Database
from tests.hosting.personas import HandClock

pytestmark = pytest.mark.anyio

TASK = "65f0c1d2e3a4b5c6d7e8f901"


async def test_a_home_is_known_to_all_replicas_and_can_change(database: Database) -> None:
    here, there = Homes(database), Homes(database)
    assert await here.find(TASK) is None
    await here.remember(TASK, "con_a", "streets", "imageannotation")
    assert await there.find(TASK) == Home("con_a", "streets", "imageannotation")
    await here.remember(TASK, "con_b")
    assert await Homes(database).find(TASK) == await here.find(TASK) == Home("con_b")


async def test_many_homes_at_once_are_written_together(database: Database) -> None:
    homes = Homes(database)
    async with anyio.create_task_group() as group:
        for number in range(300):
            group.start_soon(homes.remember, f"{number % 200:024}", "con_a", f"project {number % 200}")
    async with database.reading() as connection:
        rows = (await connection.execute(sa.select(task_homes.c.task_id, task_homes.c.project))).all()
    assert sorted(rows) == [(f"{number:024}", f"project {number}") for number in range(200)]


@pytest.mark.parametrize("task_id", ["", "x" * 65, "a\0b", "ü"])
async def test_what_cannot_be_a_task_s_id_is_nowhere_and_not_kept(database: Database, task_id: str) -> None:
    homes = Homes(database)
    await homes.remember(task_id, "con_a")
    assert await homes.find(task_id) is None


async def test_a_store_that_cannot_be_written_does_not_stop_a_call(database: Database) -> None:
    async with database.writing() as connection:
        await connection.execute(sa.text("DROP TABLE task_homes"))
    await Homes(database).remember(TASK, "con_a")


async def test_a_unique_id_has_one_place_for_each_persona(database: Database) -> None:
    here, there = Homes(database), Homes(database)
    assert await here.place("per_a", "one", "con_a") == Place("con_a", first=True)
    assert await there.place("per_a", "one", "con_b") == Place("con_a", first=False)
    assert await there.place("per_b", "one", "con_b") == Place("con_b", first=True)
    assert await there.place("per_a", "two\0\ud800", "con_b") == Place("con_b", first=True)


async def test_of_all_who_come_at_once_with_a_unique_id_one_is_the_first(database: Database) -> None:
    found: list[Place] = []

    async def come(connection_id: str) -> None:
        found.append(await Homes(database).place("per_a", "one", connection_id))

    async with anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(come, f"con_{number}")
    assert [place.first for place in found].count(True) == 1
    assert len({place.connection_id for place in found}) == 1


async def test_only_the_first_and_only_one_may_move(database: Database) -> None:
    homes = Homes(database)
    await homes.place("per_a", "one", "con_a")
    assert await homes.move("per_a", "one", away_from="con_a", to="con_b")
    assert not await homes.move("per_a", "one", away_from="con_a", to="con_c")
    assert await homes.place("per_a", "one", "con_a") == Place("con_b", first=False)
    assert not await homes.move("per_a", "one", away_from="con_b", to="con_c")
    assert not await homes.move("per_b", "one", away_from="con_b", to="con_c")


async def test_places_are_forgotten_after_a_season(database: Database) -> None:
    clock = HandClock()
    homes = Homes(database, clock)
    await homes.place("per_a", "one", "con_a")
    clock.forward(timedelta(days=91))
    await homes.place("per_a", "two", "con_a")
    async with database.reading() as connection:
        assert await connection.scalar(sa.select(sa.func.count()).select_from(create_places)) == 1
    assert await homes.place("per_a", "one", "con_b") == Place("con_b", first=True)

"""The accounts of one process: opened once, as new as the last change that anybody saw, closed with the process."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import anyio
import pytest
import sqlalchemy as sa

from scale_mcp.hosting import accounts as accounts_module
from scale_mcp.hosting.accounts import NoKey
from scale_mcp.hosting.connection_records import scale_keys
from scale_mcp.hosting.health import read_health
from scale_mcp.hosting.routing import NoRoute
from scale_mcp.models.tasks import TaskFilter
from scale_mcp.sandbox import SANDBOX_URL
from tests.hosting.routed import Routed, persona, routed

pytestmark = pytest.mark.anyio

OLD, NEW = "live_main", "live_main+new"
ANN = persona("ann", "main")


@pytest.fixture
async def world(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Routed]:
    """Changes become known by the revision that a request has seen, and by nothing else."""
    monkeypatch.setattr(accounts_module, "UNTOLD_FOR", 1e9)
    async with routed(database_url) as made:
        await made.connect("main", OLD)
        made.accounts.seen(await made.revision())
        yield made


async def key_ids(world: Routed) -> list[str]:
    return [key.id for key in (await world.connections.get("main")).active_keys]


async def test_an_account_is_opened_once_for_all(world: Routed) -> None:
    found = []

    async def look() -> None:
        found.append(await world.account("main"))

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(look)
    assert len(set(found)) == 1
    assert await world.accounts.api(found[0].id) is found[0].api
    assert world.accounts.account_of(found[0].id) is found[0]
    assert world.accounts.ids_of(["main", "unknown", "main"]) == (found[0].id,)
    assert repr(found[0]) == "Account('main', live)"


async def test_what_is_not_there_is_not_opened(world: Routed) -> None:
    assert await world.accounts.named("unknown") is None
    assert await world.accounts.api("con_unknown") is None


async def test_a_key_that_was_added_is_used_from_the_next_call_on(world: Routed) -> None:
    await world.call(ANN, "list_projects")
    await world.connections.add_key("main", NEW, check=False, actor="ada")
    world.accounts.seen(await world.revision())
    for _ in range(2):
        await world.call(ANN, "list_projects")
    assert Counter(world.asked(NEW)) == {200: 1}


async def test_a_key_that_was_retired_is_not_used_any_more(world: Routed) -> None:
    await world.connections.add_key("main", NEW, check=False, actor="ada")
    await world.connections.retire_key("main", (await key_ids(world))[0], actor="ada")
    world.accounts.seen(await world.revision())
    for _ in range(3):
        await world.call(ANN, "list_projects")
    assert (world.asked(OLD), world.asked(NEW)) == ([], [200] * 3)


async def test_a_connection_that_was_removed_serves_no_call_more(world: Routed) -> None:
    await world.call(ANN, "list_projects")
    account = await world.account("main")
    await world.connections.remove("main", actor="ada")
    world.accounts.seen(await world.revision())
    with pytest.raises(NoRoute):
        await world.call(ANN, "list_projects")
    assert await world.accounts.api(account.id) is None
    assert await world.accounts.watched() == []
    assert account.api.keys is not None
    assert account.api.keys.names == ()


async def test_without_being_told_a_change_is_noticed_soon(world: Routed, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.call(ANN, "list_projects")
    await world.connections.remove("main", actor="ada")
    await world.call(ANN, "list_projects")  # nobody has told
    monkeypatch.setattr(accounts_module, "UNTOLD_FOR", -1.0)
    with pytest.raises(NoRoute):
        await world.call(ANN, "list_projects")


async def test_keys_are_rotated_under_load_without_losing_a_call_or_making_a_task_twice(world: Routed) -> None:
    """New key added, old one retired and then revoked at Scale, while creates run without a pause."""
    count, done = 150, 0

    async def rotate() -> None:
        await world.connections.add_key("main", NEW, check=False, actor="ada")
        world.accounts.seen(await world.revision())
        await world.create(ANN, unique_id="between")
        old = (await key_ids(world))[0]
        await world.connections.retire_key("main", old, actor="ada")
        world.sandbox.faults.put([{"kind": "unauthorized", "key": OLD}])
        world.accounts.seen(await world.revision())

    async def create(number: int) -> None:
        nonlocal done
        async with gate:
            await world.create(ANN, unique_id=f"picture {number}")
            done += 1

    gate = anyio.CapacityLimiter(8)
    async with anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(create, number)
        group.start_soon(rotate)

    assert done == count
    api = (await world.account("main")).api
    stored = Counter([task.unique_id async for task in api.tasks.iterate(TaskFilter())])
    assert stored == Counter([f"picture {number}" for number in range(count)] + ["between"])
    assert 200 in world.creates(NEW)
    assert set(world.creates(OLD)) <= {200, 401}


async def test_a_connection_whose_keys_the_vault_does_not_open_is_refused_and_others_serve(world: Routed) -> None:
    await world.connect("other", "live_other")
    main = await world.connections.get("main")
    async with world.database.writing() as connection:
        await connection.execute(
            sa.update(scale_keys).where(scale_keys.c.connection_id == main.id).values(sealed="spoilt")
        )
    world.accounts.seen(await world.revision())
    with pytest.raises(NoKey, match="main has no key that can be used") as refusal:
        await world.call(ANN, "list_projects")
    assert refusal.value.code == "connection_unavailable"
    assert (await world.call(persona("bob", "main", "other"), "list_projects")).connection == "other"


async def test_live_test_and_sandbox_are_told_apart(world: Routed) -> None:
    await world.connect("trial", "test_trial")
    await world.connections.add("box", "live_box", base_url=SANDBOX_URL, kind="sandbox", check=False, actor="ada")
    world.accounts.seen(await world.revision())
    assert await world.accounts.kinds() == {"main": "live", "trial": "test", "box": "sandbox"}
    assert (await world.call(persona("x", "box"), "list_projects")).told()["kind"] == "sandbox"
    assert [watched.has_callbacks for watched in await world.accounts.watched()] == [False] * 3


async def test_the_health_of_keys_is_written_for_people_to_see(world: Routed) -> None:
    await world.connections.add_key("main", NEW, check=False, actor="ada")
    world.accounts.seen(await world.revision())
    old, new = await key_ids(world)
    world.limit(OLD)
    await world.call(ANN, "list_projects")
    await world.accounts.note_health()
    shown = {health.key_id: health for health in await read_health(world.database)}

    assert (shown[old].state, shown[old].limited, shown[old].ok) == ("cooling", 1, 0)
    assert shown[old].cooling_until is not None
    assert shown[old].cooling_until > shown[old].updated_at
    assert (shown[new].state, shown[new].ok, shown[new].cooling_until) == ("ready", 1, None)
    assert [key.last_status for key in (await world.connections.get("main")).active_keys] == ["limited", "ok"]


async def test_health_is_written_again_only_when_it_has_changed_and_forgotten_after_a_day(world: Routed) -> None:
    await world.call(ANN, "list_projects")
    await world.accounts.note_health()
    (first,) = await read_health(world.database)
    world.clock.forward(timedelta(minutes=1))
    await world.accounts.note_health()
    assert await read_health(world.database) == [first]

    await world.call(ANN, "list_projects")
    await world.accounts.note_health()
    await world.call(ANN, "list_projects")
    await world.accounts.note_health()  # counts alone can wait a few seconds
    assert [health.ok for health in await read_health(world.database)] == [2]
    world.clock.forward(timedelta(seconds=5))
    await world.accounts.note_health()
    assert [health.ok for health in await read_health(world.database)] == [3]
    await world.call(ANN, "list_projects")
    await world.accounts.note_health(last=True)
    assert [health.ok for health in await read_health(world.database)] == [4]

    world.clock.forward(timedelta(days=2))
    other, _, router = world.replica("another")
    other.seen(await world.revision())
    await world.call(ANN, "list_projects", router=router)
    await other.note_health()
    assert [health.ok for health in await read_health(world.database)] == [1]
    await other.aclose()


async def test_a_store_that_cannot_be_written_does_not_harm_the_calls(world: Routed) -> None:
    await world.call(ANN, "list_projects")
    async with world.database.writing() as connection:
        await connection.execute(sa.text("DROP TABLE key_health"))
    await world.accounts.note_health()
    await world.call(ANN, "list_projects")


async def test_closed_accounts_make_no_calls(world: Routed) -> None:
    account = await world.account("main")
    await world.accounts.aclose()
    with pytest.raises(Exception, match="closed"):
        await account.api.projects.list()

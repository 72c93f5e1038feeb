"""What a persona gets to read and write while Scale limits a connection: each step in its order, and seen in Served."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from scale_mcp.api import OutcomeUnknown, RateLimited, ScaleApi, ScaleError, ServerError
from scale_mcp.hosting import accounts
from scale_mcp.hosting.personas import Persona
from scale_mcp.hosting.routing import Limited, Served
from scale_mcp.tools.arguments import check
from scale_mcp.tools.card import ToolOutput
from scale_mcp.tools.registry import cards
from tests.hosting.routed import PICTURE, Routed, persona, route, routed, sqlite

pytestmark = pytest.mark.anyio

MAIN, MAIN_2, SPARE, THIRD, TRIAL = "live_main", "live_main+2", "live_spare", "live_third", "test_trial"
ANN, BOB = persona("ann", "main"), persona("bob", "main")
MOVER = persona("mover", route("main", fallback=True), route("spare"))


class Text(ToolOutput):
    value: str

    def text(self) -> str:
        return self.value


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Routed]:
    """Nobody else changes anything here, so no look at the store comes between a call and Scale."""
    monkeypatch.setattr(accounts, "UNTOLD_FOR", math.inf)
    async with routed(sqlite(tmp_path)) as made:
        await made.connect("main", MAIN, MAIN_2)
        await made.connect("spare", SPARE)
        await made.connect("third", THIRD)
        await made.connect("trial", TRIAL)
        made.accounts.seen(await made.revision())
        for name in await made.accounts.kinds():
            await made.account(name)
        yield made


class Slow:
    """A read that takes until it is let go, and counts how often it was begun."""

    def __init__(self, *outcomes: Exception | str) -> None:
        self.begun = 0
        self.gate = anyio.Event()
        self.outcomes = list(outcomes)

    async def __call__(self, api: ScaleApi) -> ToolOutput:
        self.begun += 1
        await self.gate.wait()
        outcome = self.outcomes.pop(0) if self.outcomes else "fine"
        if isinstance(outcome, Exception):
            raise outcome
        return Text(value=outcome)


async def together(world: Routed, slow: Slow, *calls: tuple[Persona, str, dict[str, Any]]) -> list[Served | str]:
    """Make calls at once, let them go when all wait, and give what came of each."""
    outcomes: list[Served | str] = [""] * len(calls)

    async def make(index: int) -> None:
        who, tool, arguments = calls[index]
        card = cards()[tool]
        try:
            outcomes[index] = await world.router.run(who, card, check(card, arguments), slow)
        except (ScaleError, Limited) as error:
            outcomes[index] = type(error).__name__

    async with anyio.create_task_group() as group:
        for index in range(len(calls)):
            group.start_soon(make, index)
            await anyio.wait_all_tasks_blocked()
        slow.gate.set()
    return outcomes


def coalesced(outcomes: list[Served | str]) -> list[bool]:
    assert all(isinstance(outcome, Served) for outcome in outcomes), outcomes
    return [outcome.coalesced for outcome in outcomes if isinstance(outcome, Served)]


# Step 1: the same question at the same time


async def test_the_same_question_of_one_persona_is_asked_once_and_its_answer_shared(world: Routed) -> None:
    slow = Slow()
    same = (ANN, "list_projects", {"limit": 5})
    outcomes = await together(world, slow, same, same, same)

    assert coalesced(outcomes) == [False, True, True]
    assert slow.begun == 1
    assert [outcome.told().get("coalesced") for outcome in outcomes if isinstance(outcome, Served)] == [
        None,
        True,
        True,
    ]


async def test_other_arguments_and_other_tools_are_other_questions(world: Routed) -> None:
    slow = Slow()
    outcomes = await together(
        world, slow, (ANN, "list_projects", {"limit": 5}), (ANN, "list_projects", {}), (ANN, "list_teammates", {})
    )
    assert coalesced(outcomes) == [False] * 3
    assert slow.begun == 3


async def test_two_personas_never_share_an_answer_under_way(world: Routed) -> None:
    slow = Slow()
    outcomes = await together(world, slow, (ANN, "list_projects", {}), (BOB, "list_projects", {}))
    assert coalesced(outcomes) == [False, False]
    assert slow.begun == 2


async def test_a_persona_that_was_changed_meanwhile_asks_anew(world: Routed) -> None:
    slow = Slow()
    narrower = persona("ann", "main", projects=("streets",))
    outcomes = await together(world, slow, (ANN, "list_teammates", {}), (narrower, "list_teammates", {}))
    assert coalesced(outcomes) == [False, False]


async def test_writes_are_never_shared(world: Routed) -> None:
    slow = Slow()
    same = (ANN, "create_image_annotation_task", {**PICTURE, "unique_id": "one"})
    outcomes = await together(world, slow, same, same)
    assert coalesced(outcomes) == [False, False]
    assert slow.begun == 2


async def test_a_failure_is_shared_like_an_answer(world: Routed) -> None:
    slow = Slow(ServerError("Scale answered 500.", status=500))
    same = (ANN, "list_projects", {})
    assert await together(world, slow, same, same) == ["ServerError"] * 2
    assert slow.begun == 1


async def test_a_refusal_is_shared_with_its_wait(world: Routed) -> None:
    slow = Slow(RateLimited("Scale answered 429.", status=429, retry_after=7))
    card = cards()["list_projects"]
    request = check(card, {})
    waits: list[float | None] = []

    async def ask() -> None:
        with pytest.raises(Limited, match="Wait 7 s") as refusal:
            await world.router.run(ANN, card, request, slow)
        waits.append(refusal.value.retry_after)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        slow.gate.set()
    assert (waits, slow.begun) == ([7.0] * 3, 1)


async def test_when_who_asked_gives_up_another_one_asks(world: Routed) -> None:
    slow = Slow()
    card = cards()["list_projects"]
    request = check(card, {})
    first, outcomes = anyio.CancelScope(), list[Served]()

    async def ask(scope: anyio.CancelScope) -> None:
        with scope:
            outcomes.append(await world.router.run(ANN, card, request, slow))

    async with anyio.create_task_group() as group:
        group.start_soon(ask, first)
        await anyio.wait_all_tasks_blocked()
        for _ in range(2):
            group.start_soon(ask, anyio.CancelScope())
        await anyio.wait_all_tasks_blocked()
        first.cancel()
        await anyio.wait_all_tasks_blocked()
        slow.gate.set()

    assert sorted(served.coalesced for served in outcomes) == [False, True]
    assert slow.begun == 2


async def test_a_read_after_a_write_does_not_join_one_from_before(world: Routed) -> None:
    slow = Slow()
    card = cards()["list_projects"]
    request = check(card, {})
    outcomes: list[Served] = []

    async def ask() -> None:
        outcomes.append(await world.router.run(ANN, card, request, slow))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        await world.create(ANN)
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        slow.gate.set()

    assert [served.coalesced for served in outcomes] == [False, False]


# Step 2: a short memory, under pressure only


async def press(world: Routed) -> None:
    """Have Scale limit one of main's keys, the one whose turn is next, and notice it."""
    world.limit(MAIN_2)
    served = await world.call(ANN, "list_teammates")
    assert served.key_changes == 1
    assert (await world.account("main")).under_pressure


async def test_without_pressure_every_question_goes_to_scale(world: Routed) -> None:
    for _ in range(3):
        served = await world.call(ANN, "list_projects")
        assert served.told() == {"connection": "main", "kind": "live"}
    assert len(world.asked(MAIN) + world.asked(MAIN_2)) == 3


async def test_under_pressure_an_answer_of_a_moment_ago_is_given_again(world: Routed) -> None:
    await world.call(ANN, "list_projects")
    await press(world)
    before = world.asks
    served = await world.call(ANN, "list_projects")

    assert served.cached
    assert served.told() == {"connection": "main", "kind": "live", "cached": True}
    assert world.asks == before


async def test_a_cached_answer_is_its_personas_own(world: Routed) -> None:
    await world.call(ANN, "list_projects")
    await press(world)

    assert not (await world.call(BOB, "list_projects")).cached


async def test_a_cached_answer_is_soon_too_old(world: Routed) -> None:
    await world.call(ANN, "list_projects")
    await press(world)
    world.clock.forward(timedelta(seconds=6))

    assert not (await world.call(ANN, "list_projects")).cached


async def test_after_a_write_nothing_from_before_is_called_fresh(world: Routed) -> None:
    await world.call(ANN, "list_projects")
    await press(world)
    await world.call(BOB, "create_project", {"name": "new", "type": "imageannotation"})
    served = await world.call(ANN, "list_projects")

    assert not served.cached
    assert [row.name for row in served.output.docs] == ["new"]  # type: ignore[attr-defined]


# Step 3: another key of the connection


async def test_a_limited_key_gives_way_to_the_next_one_of_its_connection(world: Routed) -> None:
    world.limit(MAIN, times=1)
    served = await world.call(ANN, "list_projects")

    assert served.key_changes == 1
    assert served.told() == {"connection": "main", "kind": "live", "key_changes": 1}
    assert (world.asked(MAIN), world.asked(MAIN_2)) == ([429], [200])


async def test_a_create_goes_on_with_the_next_key_and_is_made_once(world: Routed) -> None:
    world.limit(MAIN)
    served = await world.create(ANN)

    assert (served.key_changes, served.moved_from, served.connection) == (1, (), "main")
    assert (world.creates(MAIN), world.creates(MAIN_2)) == ([429], [200])


# Step 4: an old answer, marked


async def limited_later(world: Routed, seconds: float) -> None:
    """Both keys of main are limited from now on, which is so much later."""
    world.clock.forward(timedelta(seconds=seconds))
    world.limit(MAIN, MAIN_2)


async def test_when_all_keys_are_limited_the_last_answer_is_given_with_its_age(world: Routed) -> None:
    fine = await world.call(ANN, "list_projects")
    await limited_later(world, 90)
    for _ in range(2):
        served = await world.call(ANN, "list_projects")
        assert served.output == fine.output
        assert served.told() == {"connection": "main", "kind": "live", "stale_seconds": 90.0}
    assert (len(world.asked(MAIN)), len(world.asked(MAIN_2))) in {(2, 1), (1, 2)}  # and no more while they rest


async def test_an_old_answer_is_its_personas_own_and_not_of_other_questions(world: Routed) -> None:
    await world.call(ANN, "list_projects")
    await limited_later(world, 90)
    for who, tool in ((BOB, "list_projects"), (ANN, "list_teammates")):
        with pytest.raises(Limited):
            await world.call(who, tool)


async def test_what_is_too_old_is_not_given_at_all(world: Routed) -> None:
    await world.call(ANN, "list_projects")
    await limited_later(world, 901)
    with pytest.raises(Limited):
        await world.call(ANN, "list_projects")


async def test_a_read_never_goes_to_another_connection(world: Routed) -> None:
    world.limit(MAIN, MAIN_2)
    for tool in ("list_projects", "list_teammates", "list_tasks"):
        with pytest.raises(Limited):
            await world.call(MOVER, tool)
    assert world.asked(SPARE) == []


async def test_an_error_that_is_no_limit_is_told_and_not_covered_by_an_old_answer(world: Routed) -> None:
    await world.call(ANN, "list_projects")
    world.sandbox.faults.put([{"kind": "error_before"}])
    with pytest.raises(ServerError):
        await world.call(ANN, "list_projects")


# Step 5: a refusal with the wait


async def test_a_refusal_names_the_connection_and_the_wait_and_has_a_code(world: Routed) -> None:
    world.limit(MAIN, MAIN_2)
    for attempt in (
        lambda: world.call(ANN, "list_projects"),
        lambda: world.create(ANN),
        lambda: world.call(ANN, "create_project", {"name": "new", "type": "imageannotation"}),
    ):
        with pytest.raises(Limited, match=r"limits the rate of the connection main; nothing was done") as refusal:
            await attempt()
        assert (refusal.value.code, refusal.value.retryable) == ("rate_limited", True)
        assert refusal.value.retry_after == pytest.approx(30.2, abs=0.1)
    assert world.creates(MAIN) + world.creates(MAIN_2) == []  # all rest since the read


# Another connection, for creates only


async def test_a_create_moves_to_another_connection_where_the_route_allows_it(world: Routed) -> None:
    world.limit(MAIN, MAIN_2)
    served = await world.create(MOVER)

    assert served.told() == {"connection": "spare", "kind": "live", "moved_from": ["main"]}
    assert Counter([*world.creates(MAIN), *world.creates(MAIN_2)]) == {429: 2}
    assert world.creates(SPARE) == [200]


async def test_a_moved_task_is_found_where_it_went(world: Routed) -> None:
    world.limit(MAIN, MAIN_2)
    task_id = (await world.create(MOVER)).output.task_id  # type: ignore[attr-defined]
    world.limit()
    served = await world.call(MOVER, "get_task", {"task_id": task_id})

    assert served.connection == "spare"
    assert world.asked(MAIN, operation="get_task") + world.asked(MAIN_2, operation="get_task") == []


@pytest.mark.parametrize(
    ("who", "why"),
    [
        (persona("one", "main"), "has no other connection"),
        (persona("two", "main", "spare"), "its route does not allow it"),
        (persona("three", route("main", fallback=True), "trial"), "the other one is of another kind"),
        (persona("four", route("main", fallback=True), route("spare", tools=("get_task",))), "is for other tools"),
    ],
)
async def test_a_create_stays_where_it_may_not_move(world: Routed, who: Persona, why: str) -> None:
    world.limit(MAIN, MAIN_2)
    with pytest.raises(Limited):
        await world.create(who)
    assert world.creates(SPARE) + world.creates(TRIAL) == [], why


async def test_a_create_goes_on_over_several_connections_as_long_as_each_allows_it(world: Routed) -> None:
    who = persona("far", route("main", fallback=True), route("spare", fallback=True), route("third"))
    world.limit(MAIN, MAIN_2, SPARE)
    served = await world.create(who)
    assert (served.connection, served.moved_from) == ("third", ("main", "spare"))

    world.limit(MAIN, MAIN_2, SPARE, THIRD)
    with pytest.raises(Limited, match="connections main, spare, third"):
        await world.create(who)


@pytest.mark.parametrize(
    "bound",
    [
        {"batch": "night"},
        {"attachment": "scaledata://5f0c1d2e3a4b5c6d7e8f9010/5b6f0c1d-2e3a-4b5c-8d7e-8f9010a1b2c3"},
        {"extra_params": {"lidar_task": "65f0c1d2e3a4b5c6d7e8f901"}},
    ],
)
async def test_a_create_that_refers_to_what_is_in_one_account_stays_there(world: Routed, bound: dict[str, Any]) -> None:
    world.limit(MAIN, MAIN_2, route="create_task")
    with pytest.raises(Limited):
        await world.create(MOVER, **bound)
    assert world.creates(SPARE) == []


@pytest.mark.parametrize("tool", ["create_project", "invite_team_member", "import_file"])
async def test_other_writes_stay_where_they_are(world: Routed, tool: str) -> None:
    arguments = {
        "create_project": {"name": "new", "type": "imageannotation"},
        "invite_team_member": {"emails": ["eve@example.com"], "team_role": "labeler"},
        "import_file": {"file_url": "https://example.com/a.jpg"},
    }
    world.limit(MAIN, MAIN_2)
    with pytest.raises(Limited):
        await world.call(MOVER, tool, arguments[tool])
    assert world.asked(SPARE) == []


@pytest.mark.parametrize("kind", ["error_after", "drop_after", "truncated", "malformed", "error_before"])
async def test_a_create_whose_outcome_is_unknown_is_never_moved(world: Routed, kind: str) -> None:
    """It is sent, its answer is lost, and from then on Scale limits everything there: it may have happened."""
    world.sandbox.faults.put(
        [
            {"kind": kind, "route": "create_task", "times": 1},
            {"kind": "rate_limit", "key": MAIN, "retry_after": 30},
            {"kind": "rate_limit", "key": MAIN_2, "retry_after": 30},
        ]
    )
    with pytest.raises(OutcomeUnknown):
        await world.create(MOVER, unique_id="one")
    assert world.asked(SPARE) == []


async def test_repeating_a_create_of_unknown_outcome_goes_where_it_was_sent_even_in_another_replica(
    world: Routed,
) -> None:
    world.sandbox.faults.put(
        [
            {"kind": "error_after", "route": "create_task", "times": 1},
            {"kind": "rate_limit", "key": MAIN, "retry_after": 30},
            {"kind": "rate_limit", "key": MAIN_2, "retry_after": 30},
        ]
    )
    with pytest.raises(OutcomeUnknown):
        await world.create(MOVER, unique_id="one")
    other_accounts, _, router = world.replica()
    other_accounts.seen(await world.revision())
    for other in (world.router, router):
        with pytest.raises(Limited):
            await world.create(MOVER, unique_id="one", router=other)
    await other_accounts.aclose()

    assert world.asked(SPARE) == []
    world.limit()
    world.clock.forward(timedelta(minutes=10))
    assert [row.unique_id for row in (await world.call(ANN, "list_tasks")).output.docs] == ["one"]  # type: ignore[attr-defined]


async def test_repeating_a_create_that_was_moved_goes_where_it_went(world: Routed) -> None:
    world.limit(MAIN, MAIN_2)
    first = await world.create(MOVER, unique_id="one")
    world.limit()
    with pytest.raises(ScaleError, match=first.output.task_id):  # type: ignore[attr-defined]
        await world.create(MOVER, unique_id="one")

    assert world.creates(SPARE) == [200, 409]
    assert 200 not in world.creates(MAIN) + world.creates(MAIN_2)


async def test_two_creates_with_one_unique_id_at_once_never_make_two_tasks(world: Routed) -> None:
    """One of them is limited and could move; the other may be getting through where it was."""
    for times in range(6):
        unique_id = f"number {times}"
        world.limit(MAIN, MAIN_2, times=1, retry_after=0)
        outcomes: list[str] = []

        async def create(unique_id: str = unique_id, outcomes: list[str] = outcomes) -> None:
            try:
                outcomes.append((await world.create(MOVER, unique_id=unique_id)).connection)
            except (ScaleError, Limited) as error:
                outcomes.append(type(error).__name__)

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(create)
        world.limit()
        world.clock.forward(timedelta(minutes=10))
        made = [
            row.unique_id
            for name in ("main", "spare")
            for row in (await (await world.account(name)).api.tasks.page(_all())).docs
        ]
        assert made.count(unique_id) <= 1, outcomes


def _all() -> Any:
    from scale_mcp.models.tasks import TaskFilter

    return TaskFilter()


async def test_a_create_that_the_next_connection_does_not_take_comes_back_and_says_so(world: Routed) -> None:
    await (await world.account("main")).api.projects.create("streets", "imageannotation")
    world.limit(MAIN, MAIN_2)
    with pytest.raises(Limited, match=r'spare does not take it either: .*"streets"'):
        await world.create(MOVER, project="streets", unique_id="one")
    world.limit()
    world.clock.forward(timedelta(minutes=10))
    assert (await world.create(MOVER, project="streets", unique_id="one")).connection == "main"


async def test_a_doubt_at_the_next_connection_is_told_as_doubt(world: Routed) -> None:
    world.sandbox.faults.put(
        [
            {"kind": "rate_limit", "key": MAIN, "retry_after": 30},
            {"kind": "rate_limit", "key": MAIN_2, "retry_after": 30},
            {"kind": "drop_after", "key": SPARE},
        ]
    )
    with pytest.raises(OutcomeUnknown):
        await world.create(MOVER, unique_id="one")


async def test_rate_limits_of_one_connection_leave_the_others_alone(world: Routed) -> None:
    world.limit(MAIN, MAIN_2)
    other = persona("other", "spare")
    for _ in range(10):
        with pytest.raises(Limited):
            await world.call(ANN, "list_projects")
        assert (await world.call(other, "list_projects")).told() == {"connection": "spare", "kind": "live"}
    assert world.asked(SPARE) == [200] * 10
    assert len(world.asked(MAIN) + world.asked(MAIN_2)) == 2


async def test_a_limit_in_doubt_stays_an_error_of_scale(world: Routed) -> None:
    """What a tool did before it was limited may have taken effect, so it is not called undone."""

    async def half_done(api: ScaleApi) -> ToolOutput:
        await api.projects.create("half", "imageannotation")
        world.limit(MAIN, MAIN_2)
        await api.projects.create("whole", "imageannotation")
        raise AssertionError("it was limited")

    card = cards()["create_image_annotation_task"]
    with pytest.raises(RateLimited):
        await world.router.run(MOVER, card, check(card, PICTURE), half_done)
    assert world.asked(SPARE) == []

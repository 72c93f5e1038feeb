"""Where calls go: by the persona's rules, by what is known of tasks and batches, and else by looking for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from scale_mcp.api import NotFound
from scale_mcp.hosting.matching import Facts, agrees, matching
from scale_mcp.hosting.personas import Persona, When
from scale_mcp.hosting.routing import Limited, NoRoute
from scale_mcp.tools.arguments import check
from scale_mcp.tools.registry import hosted_cards
from tests.hosting.routed import LETTER, Routed, persona, route, routed, sqlite

pytestmark = pytest.mark.anyio

STREETS, LETTERS, OTHER = "live_streets", "live_letters", "live_other"
SPLIT = persona("split", route("letters", task_types=("textcollection",)), route("streets"))
BY_PROJECT = persona("by-project", route("letters", projects=("mail",)), route("streets", projects=("roads", "rails")))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Routed]:
    async with routed(sqlite(tmp_path)) as made:
        for name, key in (("streets", STREETS), ("letters", LETTERS), ("other", OTHER)):
            await made.connect(name, key)
        yield made


async def names(world: Routed, who: Persona, tool: str, arguments: dict[str, Any]) -> list[str]:
    card = hosted_cards()[tool]
    return [account.name for account in await world.router.candidates(who, card, check(card, arguments))]


async def write_letter(world: Routed, who: Persona, **more: Any) -> str:
    served = await world.call(who, "create_text_collection_task", {**LETTER, **more})
    task_id: str = served.output.task_id  # type: ignore[attr-defined]
    return task_id


def facts(**more: Any) -> Facts:
    return Facts(**{"tool": "get_task", "toolset": "tasks", **more})


@pytest.mark.parametrize(
    ("when", "call", "verdict"),
    [
        (When(), facts(), True),
        (When(toolsets=("tasks", "files")), facts(), True),
        (When(toolsets=("files",)), facts(), False),
        (When(tools=("get_task",)), facts(), True),
        (When(tools=("list_tasks",)), facts(), False),
        (When(projects=("a",)), facts(project="a"), True),
        (When(projects=("a",)), facts(project="b"), False),
        (When(projects=("a",)), facts(), None),
        (When(task_types=("imageannotation",)), facts(task_type="imageannotation"), True),
        (When(task_types=("imageannotation",)), facts(), None),
        (When(task_types=("imageannotation",), projects=("a",)), facts(project="b"), False),
        (When(toolsets=("files",), projects=("a",)), facts(), False),
    ],
)
def test_a_rule_is_for_calls_that_agree_with_every_list_given(when: When, call: Facts, verdict: bool | None) -> None:
    assert agrees(when, call) is verdict


def test_routes_are_tried_in_their_order_and_each_connection_once() -> None:
    who = persona("x", route("a", tools=("get_task",)), "b", route("a", fallback=True))
    assert [found.connection for found in matching(who, facts())] == ["a", "b"]
    assert [found.connection for found in matching(who, facts(tool="list_tasks"))] == ["b", "a"]


def test_only_what_is_about_a_task_or_batch_may_be_where_nobody_knows_it_to_belong() -> None:
    who = persona("x", route("a", projects=("p",)), "b")
    assert [found.connection for found in matching(who, facts(tool="list_tasks"))] == ["b"]
    assert [found.connection for found in matching(who, facts(task="t"))] == ["b", "a"]
    assert [found.connection for found in matching(who, facts(task="t", project="q"))] == ["b"]


async def test_creates_go_by_task_type(world: Routed) -> None:
    await write_letter(world, SPLIT)
    await world.create(SPLIT)
    assert (world.creates(LETTERS), world.creates(STREETS), world.asked(OTHER)) == ([200], [200], [])


async def test_calls_go_by_project_wherever_the_tool_names_it(world: Routed) -> None:
    for tool, arguments, expected in (
        ("create_project", {"name": "mail", "type": "textcollection"}, ["letters"]),
        ("get_project", {"name": "rails"}, ["streets"]),
        ("list_tasks", {"project": "roads"}, ["streets"]),
        ("create_batch", {"name": "b", "project": "mail"}, ["letters"]),
        ("import_file", {"file_url": "https://example.com/x", "project_name": "mail"}, ["letters"]),
        ("list_assets", {"project": "roads"}, ["streets"]),
    ):
        assert await names(world, BY_PROJECT, tool, arguments) == expected, tool


async def test_calls_go_by_tool_and_toolset(world: Routed) -> None:
    who = persona("x", route("letters", toolsets=("team",)), route("streets", tools=("list_tasks",)), "other")
    assert await names(world, who, "list_teammates", {}) == ["letters", "other"]
    assert await names(world, who, "list_tasks", {}) == ["streets", "other"]
    assert await names(world, who, "list_projects", {}) == ["other"]


async def test_a_call_that_no_route_is_for_is_refused_with_the_cure_and_nothing_is_asked(world: Routed) -> None:
    for who in (persona("x"), BY_PROJECT, persona("x", route("streets", tools=("get_task",)))):
        with pytest.raises(NoRoute, match=r"persona edit NAME --route CONNECTION") as refusal:
            await world.call(who, "list_projects")
        assert refusal.value.code == "no_connection"
    with pytest.raises(NoRoute):
        await world.call(persona("x", "removed-long-ago"), "list_projects")
    assert world.sandbox.log.total == 0


async def test_a_created_task_is_found_by_every_tool_without_looking_for_it(world: Routed) -> None:
    """The first rule would send each of these calls to streets, where the task is not."""
    task_id = await write_letter(world, SPLIT)
    who = persona("split", "streets", "letters")
    for tool, arguments in (
        ("get_task", {}),
        ("add_task_tags", {"tags": ["x"]}),
        ("set_task_metadata", {"metadata": {"a": 1}}),
        ("cancel_task", {}),
    ):
        assert (await world.call(who, tool, {"task_id": task_id, **arguments})).connection == "letters"
    assert world.asked(STREETS) == []


async def test_another_replica_finds_it_too(world: Routed) -> None:
    task_id = await write_letter(world, SPLIT)
    accounts, homes, router = world.replica()
    found = await world.call(persona("split", "streets", "letters"), "get_task", {"task_id": task_id}, router=router)
    home = await homes.find(task_id)
    await accounts.aclose()

    assert found.connection == "letters"
    assert home is not None
    assert (home.project, home.task_type) == (None, "textcollection")
    assert world.asked(STREETS) == []


async def test_a_task_from_elsewhere_is_looked_for_in_the_personas_connections_and_then_known(world: Routed) -> None:
    task_id = await write_letter(world, persona("somebody", "letters"))  # with one route nobody has to note it
    who = persona("split", "streets", "letters", "other")
    for _ in range(2):
        served = await world.call(who, "add_task_tags", {"task_id": task_id, "tags": ["x"]})
        assert served.connection == "letters"

    assert world.asked(STREETS) == [404]
    assert world.asked(LETTERS, operation="get_task") == [200]
    assert world.asked(OTHER) == []


async def test_a_write_is_never_tried_where_its_task_is_not(world: Routed) -> None:
    with pytest.raises(NotFound):
        await world.call(SPLIT, "cancel_task", {"task_id": "5f0c1d2e3a4b5c6d7e8f9010"})
    assert world.asked(LETTERS, operation="cancel_task") == []
    assert world.asked(STREETS, operation="cancel_task") == [404]  # Scale says that it is not there


async def test_a_home_in_a_connection_of_others_is_of_no_use_to_a_persona(world: Routed) -> None:
    """What one persona's calls have taught the router opens nothing to another."""
    task_id = await write_letter(world, SPLIT)
    for who in (persona("x", "streets"), persona("x", "streets", "other")):
        with pytest.raises(NotFound):
            await world.call(who, "get_task", {"task_id": task_id})
    assert world.asked(LETTERS, operation="get_task") == []


async def test_a_route_for_some_task_types_does_not_open_other_tasks_of_its_account(world: Routed) -> None:
    for somebody in (persona("a", "letters"), persona("b", "letters", "streets")):  # the second one's is noted
        task_id = (await world.create(somebody)).output.task_id  # type: ignore[attr-defined]
        with pytest.raises(NotFound):
            await world.call(SPLIT, "get_task", {"task_id": task_id})  # letters are for text, and this is a picture
    assert (await world.call(persona("y", "letters"), "get_task", {"task_id": task_id})).connection == "letters"


async def test_what_is_found_nowhere_is_not_looked_for_again_at_once(world: Routed) -> None:
    for _ in range(3):
        with pytest.raises(NotFound):
            await world.call(SPLIT, "get_task", {"task_id": "5f0c1d2e3a4b5c6d7e8f9010"})
    assert world.asked(LETTERS) == [404]


async def test_a_task_is_not_called_missing_while_an_account_that_may_have_it_is_limited(world: Routed) -> None:
    who = persona("x", "streets", "letters")
    task_id = await write_letter(world, persona("somebody", "letters"))
    world.limit(LETTERS)
    with pytest.raises(Limited, match="streets, letters"):
        await world.call(who, "get_task", {"task_id": task_id})


async def test_a_batch_is_looked_for_and_then_known_and_its_tasks_go_where_it_is(world: Routed) -> None:
    letters = (await world.account("letters")).api
    await letters.projects.create("mail", "imageannotation")
    await letters.batches.create("mail", "night")
    who = persona("x", route("streets", fallback=True), "letters")
    for _ in range(2):
        assert (await world.call(who, "get_batch", {"batch_name": "night"})).connection == "letters"
    assert (await world.create(who, batch="night")).connection == "letters"
    assert (await world.call(who, "finalize_batch", {"batch_name": "night"})).connection == "letters"
    assert world.asked(STREETS) == [404]


async def test_a_batch_of_a_project_that_the_route_is_not_for_is_not_there(world: Routed) -> None:
    streets = (await world.account("streets")).api
    await streets.projects.create("secret", "imageannotation")
    await streets.batches.create("secret", "night")
    assert await names(world, BY_PROJECT, "get_batch", {"batch_name": "night"}) == ["letters"]
    with pytest.raises(NotFound):
        await world.call(BY_PROJECT, "get_batch", {"batch_name": "night"})


@pytest.mark.parametrize(
    "who",
    [
        persona("one", route("streets", projects=("roads",))),
        persona("two", route("streets", projects=("roads",)), route("letters", projects=("mail",))),
        persona("three", route("streets", projects=("roads",)), "letters"),
    ],
)
async def test_a_route_opens_nothing_that_it_is_not_for_wherever_it_stands(world: Routed, who: Persona) -> None:
    streets = (await world.account("streets")).api
    for name in ("secret", "roads"):
        await streets.projects.create(name, "imageannotation")
        await streets.batches.create(name, f"{name} batch")
    owner = persona("owner", "streets")
    secret, open_one, none = [
        (await world.create(owner, **more)).output.task_id  # type: ignore[attr-defined]
        for more in ({"project": "secret"}, {"project": "roads"}, {})
    ]
    for _ in range(2):
        for tool, arguments in (
            ("get_task", {"task_id": secret}),
            ("get_task", {"task_id": none}),
            ("cancel_task", {"task_id": secret}),
            ("get_batch", {"batch_name": "secret batch"}),
            ("finalize_batch", {"batch_name": "secret batch"}),
        ):
            with pytest.raises(NotFound):
                await world.call(who, tool, arguments)
        assert (await world.call(who, "get_task", {"task_id": open_one})).connection == "streets"
        assert (await world.call(who, "get_batch", {"batch_name": "roads batch"})).connection == "streets"
    assert world.asked(STREETS, operation="cancel_task") + world.asked(STREETS, operation="finalize_batch") == []


async def test_a_task_upon_a_lidar_task_goes_by_its_own_type_to_where_that_is(world: Routed) -> None:
    frames = {"attachments": ["https://example.com/1.json"], "attachment_type": "json", "labels": ["car"]}
    who = persona(
        "x", route("other", task_types=("lidarsegmentation",)), route("streets", task_types=("lidarannotation",))
    )
    both = persona("y", route("letters", task_types=("lidarsegmentation",)), "streets")
    built_upon = (await world.call(who, "create_lidar_annotation_task", frames)).output.task_id  # type: ignore[attr-defined]
    new = {"lidar_task": built_upon, "labels": ["road"], "project": "p"}
    assert await names(world, both, "create_lidar_segmentation_task", new) == ["streets"]


async def test_the_tools_of_the_server_itself_need_no_particular_connection(world: Routed) -> None:
    assert await names(world, BY_PROJECT, "list_events", {}) == ["letters", "streets"]


async def test_reads_beside_the_tools_are_told_apart(world: Routed) -> None:
    """A resource and the tool that reads the same have the same arguments, and are not the same answer."""
    await world.call(persona("x", "streets"), "list_projects")
    await world.call(persona("x", "streets"), "list_projects", what="resource")
    assert world.asked(STREETS) == [200, 200]
